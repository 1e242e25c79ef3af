//! Many connections use all types while the tables grow and shrink without a pause and what stands out of line is moved
//! about. Every reply is compared with that of a model, and at the end no key is lost and none invented. Beside them keys
//! expire, SCAN goes round, and a client waits for what another one pushes.
//!
//! `TANDEM_SOAK_SECONDS` says for how long (ten minutes by hand); `TANDEM_SEED` makes another run of it.
#![allow(clippy::disallowed_methods, reason = "a test of real time, for as long as it is told")]

mod beside;
#[path = "../common/mod.rs"]
mod common;
mod further;
mod model;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Client, Options, Server, Value, env_number, wait_until};
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
        let mut reply = client.read().expect("a reply").value;
        let mut expected = step.expected.clone();
        if step.any_order {
            for value in [&mut reply, &mut expected] {
                if let Value::Array(items) = value {
                    items.sort();
                }
            }
        }
        let shown = || -> Vec<String> { step.args.iter().map(|arg| common::resp::escape(arg)).collect() };
        assert_eq!(reply, expected, "{:?}", shown());
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
        steps.extend((0..PIPELINE).flat_map(|_| model.steps()));
        exchange(&mut client, &steps);
        round += 1;
    }
    model
}

/// Packs collections all the time, also those that were changed just now.
fn pack(server: &Server, stop: &AtomicBool) {
    let mut client = server.client();
    while !stop.load(Relaxed) {
        assert_eq!(client.command("MEMORY PURGE").text(), "OK");
        std::thread::sleep(Duration::from_millis(20));
    }
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
    let seconds = env_number("TANDEM_SOAK_SECONDS", 60);
    let seed = env_number("TANDEM_SEED", 1);
    let server = Options::tandem()
        .workers(3)
        .set("enable-debug-command", "yes")
        // Whenever anything was freed.
        .set("active-defrag-ignore-bytes", "1")
        .set("active-defrag-threshold-lower", "0")
        .start();
    beside::store_lasting(&mut server.client());
    let end = Instant::now() + Duration::from_secs(seconds);
    let stop = AtomicBool::new(false);
    let models: Vec<Model> = std::thread::scope(|scope| {
        let (server, stop) = (&server, &stop);
        let others = [
            scope.spawn(move || resize(server, stop, seed)),
            scope.spawn(move || pack(server, stop)),
            scope.spawn(move || beside::scan(server, stop)),
            scope.spawn(move || beside::expire(server, seed, end)),
            scope.spawn(move || beside::wait(server, stop)),
        ];
        let players: Vec<_> =
            (0..CONNECTIONS).map(|n| scope.spawn(move || play(server, n, seed, end))).collect();
        let models = players.into_iter().map(|player| player.join()).collect::<Vec<_>>();
        stop.store(true, Relaxed);
        others.into_iter().for_each(|other| other.join().expect("what runs beside"));
        models.into_iter().map(|model| model.expect("a connection")).collect()
    });

    let mut client = server.client();
    let lasting = (0..beside::LASTING).map(beside::lasting);
    let expected: BTreeSet<Vec<u8>> = models.iter().flat_map(Model::names).cloned().chain(lasting).collect();
    assert_eq!(expected.len(), models.iter().map(Model::len).sum::<usize>() + beside::LASTING);
    let names = all_names(&mut client);
    let found: BTreeSet<Vec<u8>> = names.iter().cloned().collect();
    let (lost, invented) = (expected.difference(&found).count(), found.difference(&expected).count());
    assert_eq!((lost, invented), (0, 0), "of {} keys", expected.len());
    assert_eq!(client.command("DBSIZE").int(), i64::try_from(expected.len()).ok());
    let engines = client.command("INFO engines").text();
    let done =
        engines.lines().find_map(|line| line.strip_prefix("engine_migrations_done:")).expect("the field");
    assert!(
        done.trim().parse::<u64>().expect("a number") > 10,
        "tables were resized all the time: {engines}"
    );
}
