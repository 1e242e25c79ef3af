//! `maxmemory-clients`: clients that hold too much are disconnected, the largest first; the others never notice.

mod common;

use std::io::Write;
use std::time::Duration;

use common::{Client, Options, Server, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn evicted(client: &mut Client) -> u64 {
    let text = client.command("INFO stats").text();
    let line = text.lines().find_map(|line| line.strip_prefix("evicted_clients:")).expect("the field");
    line.trim().parse().expect("a number")
}

fn names(client: &mut Client) -> Vec<String> {
    let list = client.command("CLIENT LIST").text();
    let name = |line: &str| line.split(' ').find_map(|word| word.strip_prefix("name=").map(str::to_owned));
    list.lines().filter_map(name).filter(|name| !name.is_empty()).collect()
}

/// A client that has sent so many bytes of a request which it never completes.
fn holding(
    server: &Server,
    control: &mut Client,
    name: &str,
    bytes: usize,
) -> std::os::unix::net::UnixStream {
    let mut stream = server.stream().expect("connect");
    let request = format!("CLIENT SETNAME {name}\r\n*2\r\n$3\r\nGET\r\n${}\r\n", bytes + 10);
    stream.write_all(request.as_bytes()).expect("the beginning");
    stream.write_all(&vec![b'x'; bytes]).expect("the bytes");
    wait_until("they have arrived", PATIENCE, || {
        let list = control.command("CLIENT LIST").text();
        let line = list.lines().find(|line| line.contains(&format!("name={name} ")));
        let Some(line) = line else { return false };
        let qbuf = line.split(' ').find_map(|word| word.strip_prefix("qbuf=")).expect("qbuf");
        qbuf.parse::<usize>().expect("a number") >= bytes
    });
    stream
}

#[test]
fn the_largest_go_first_and_only_as_many_as_needed() {
    for workers in [1, 3] {
        let server = Options::tandem().workers(workers).start();
        let mut control = server.client();
        control.command("CLIENT SETNAME control");
        let sizes = [("a", 300_000), ("b", 1_500_000), ("c", 800_000), ("d", 100_000)];
        let held: Vec<_> =
            sizes.iter().map(|(name, bytes)| holding(&server, &mut control, name, *bytes)).collect();
        control.command("CONFIG SET maxmemory-clients 1mb");
        assert_eq!(names(&mut control), ["control", "a", "d"]);
        assert_eq!(evicted(&mut control), 2);
        control.command("CONFIG SET maxmemory-clients 350000");
        assert_eq!(names(&mut control), ["control", "d"]);
        drop(held);
    }
}

#[test]
fn one_that_must_not_go_stays_until_it_may() {
    let server = Options::tandem().workers(2).start();
    let mut control = server.client();
    control.command("CLIENT NO-EVICT ON");
    let mut exempt = server.client();
    exempt.command("CLIENT SETNAME exempt");
    exempt.command("CLIENT NO-EVICT ON");
    // Watched names are held for it.
    for i in 0..40 {
        exempt.command(&format!("WATCH {}{i}", "k".repeat(4096)));
    }
    control.command("CONFIG SET maxmemory-clients 100kb");
    assert_eq!(names(&mut control), ["exempt"]);
    assert!(exempt.call(&["PING"]).is_ok());
    let _ = exempt.call(&["CLIENT", "NO-EVICT", "OFF"]);
    wait_until("it is gone", PATIENCE, || names(&mut control).is_empty());
    assert_eq!(evicted(&mut control), 1);
}

#[test]
fn a_subscriber_that_does_not_read_goes_and_the_publisher_stays() {
    let server = Options::tandem().workers(2).set("maxmemory-clients", "4mb").start();
    let mut control = server.client();
    let mut slow = server.stream().expect("connect");
    slow.write_all(b"SUBSCRIBE news\r\n").expect("subscribe");
    wait_until("it listens", PATIENCE, || control.command("PUBSUB NUMSUB news").items()[1].text() == "1");
    let message = "m".repeat(100_000);
    wait_until("it is evicted", PATIENCE, || {
        control.call(&["PUBLISH", "news", &message]).expect("the publisher stays");
        evicted(&mut control) == 1
    });
    wait_until("nobody listens", PATIENCE, || control.command("PUBSUB NUMSUB news").items()[1].text() == "0");
}

#[test]
fn a_share_of_maxmemory_follows_it() {
    let server = Options::tandem().workers(1).set("maxmemory", "100mb").start();
    let mut control = server.client();
    control.command("CONFIG SET maxmemory-clients 5%");
    let held = holding(&server, &mut control, "held", 2_000_000);
    assert_eq!(names(&mut control), ["held"]);
    control.command("CONFIG SET maxmemory 30mb");
    assert!(names(&mut control).is_empty());
    drop(held);
}
