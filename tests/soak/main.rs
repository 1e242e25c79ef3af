//! Many connections use all types while the tables grow and shrink without a pause. Every reply is compared with that
//! of a model, and at the end no key is lost and none invented.
//!
//! `TANDEM_SOAK_SECONDS` says for how long; `TANDEM_SEED` makes another run of it.
#![allow(clippy::disallowed_methods, reason = "a test of real time, for as long as it is told")]

#[path = "../common/mod.rs"]
mod common;
mod model;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Client, Options, Server, env_number, wait_until};
use model::{Model, Step};

const CONNECTIONS: usize = 8;
/// Requests that are on their way at the same time on one connection.
const PIPELINE: usize = 24;
/// Names of one connection when there are most, and fewest.
const SPANS: [usize; 2] = [12_000, 100];
/// Rounds of a pipeline until the number of names turns round.
const ROUNDS_PER_SWING: usize = 1_500;

fn exchange(client: &mut Client, steps: &[Step]) {
    let bytes: Vec<u8> = steps.iter().flat_map(|step| common::resp::encode(&step.args)).collect();
    client.send_raw(&bytes).expect("send");
    for step in steps {
        let reply = client.read().expect("a reply").value;
        let shown = || -> Vec<String> { step.args.iter().map(|arg| common::resp::escape(arg)).collect() };
        assert_eq!(reply, step.expected, "{:?}", shown());
    }
}

/// One connection until the time is over.
fn play(server: &Server, connection: usize, seed: u64, end: Instant) -> Model {
    let mut client = server.client();
    let mut model = Model::new(connection, seed);
    let mut round = connection * ROUNDS_PER_SWING / CONNECTIONS;
    while Instant::now() < end {
        let growing = (round / ROUNDS_PER_SWING).is_multiple_of(2);
        model.set_span(SPANS[usize::from(!growing)]);
        let mut steps: Vec<Step> = Vec::with_capacity(PIPELINE + 1);
        // Where there were many names the others go, a few with each batch, as users' deletions come.
        if !growing {
            steps.extend(model.drop_beyond(40));
        }
        steps.extend((0..PIPELINE).map(|_| model.step()));
        exchange(&mut client, &steps);
        round += 1;
    }
    model
}

/// Resizes without any reason, besides those that the load asks for.
fn resize(server: &Server, stop: &AtomicBool, mut turn: u64) {
    let mut client = server.client();
    while !stop.load(Relaxed) {
        turn = turn.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let way = if turn >> 63 == 0 { "GROW" } else { "SHRINK" };
        assert_eq!(client.command(&format!("DEBUG ENGINES {way} 0")).text(), "OK");
        // As the engine takes them: a request for a resize while one is running is passed over.
        wait_until("the resize is over", Duration::from_secs(60), || {
            stop.load(Relaxed)
                || client.command("INFO engines").text().contains("engine_migrations_running:0")
        });
    }
}

fn all_names(client: &mut Client) -> Vec<Vec<u8>> {
    let (mut cursor, mut names) = ("0".to_owned(), Vec::new());
    loop {
        let reply = client.command(&format!("SCAN {cursor} COUNT 1000")).items();
        names.extend(reply[1].items().iter().map(|name| name.text().into_bytes()));
        cursor = reply[0].text();
        if cursor == "0" {
            return names;
        }
    }
}

#[test]
fn no_reply_is_wrong_and_no_key_lost_or_invented_while_engines_come_and_go() {
    let seconds = env_number("TANDEM_SOAK_SECONDS", 20);
    let seed = env_number("TANDEM_SEED", 1);
    let server = Options::tandem().workers(3).set("enable-debug-command", "yes").start();
    let end = Instant::now() + Duration::from_secs(seconds);
    let stop = AtomicBool::new(false);
    let models: Vec<Model> = std::thread::scope(|scope| {
        let (server, stop) = (&server, &stop);
        let resizer = scope.spawn(move || resize(server, stop, seed));
        let players: Vec<_> =
            (0..CONNECTIONS).map(|n| scope.spawn(move || play(server, n, seed, end))).collect();
        let models = players.into_iter().map(|player| player.join()).collect::<Vec<_>>();
        stop.store(true, Relaxed);
        resizer.join().expect("resizes");
        models.into_iter().map(|model| model.expect("a connection")).collect()
    });

    let mut client = server.client();
    let expected: BTreeSet<Vec<u8>> = models.iter().flat_map(Model::names).cloned().collect();
    assert_eq!(expected.len(), models.iter().map(Model::len).sum::<usize>());
    let names = all_names(&mut client);
    let found: BTreeSet<Vec<u8>> = names.iter().cloned().collect();
    let (lost, invented) = (expected.difference(&found).count(), found.difference(&expected).count());
    assert_eq!((lost, invented), (0, 0), "of {} keys", expected.len());
    assert_eq!(client.command("DBSIZE").int(), i64::try_from(expected.len()).ok());
    let engines = client.command("INFO engines").text();
    let done =
        engines.lines().find_map(|line| line.strip_prefix("engine_migrations_done:")).expect("the field");
    assert!(
        done.trim().parse::<u64>().expect("a number") > seconds,
        "tables were resized all the time: {engines}"
    );
}
