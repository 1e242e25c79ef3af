//! What one client may not do to another: a bug that ends in a panic, and commands about all clients, with one worker
//! and with four.

mod common;

use std::time::Duration;

use common::{Client, Options, Server, Value, wait_until};

const PATIENCE: Duration = Duration::from_secs(20);

fn server(workers: usize) -> Server {
    Options::tandem().workers(workers).set("enable-debug-command", "yes").start()
}

/// One client on each worker, and a second one.
fn clients(server: &Server, workers: usize) -> Vec<Client> {
    let mut all: Vec<Client> = (0..2 * workers).map(|_| server.client()).collect();
    all.iter_mut().for_each(|client| assert_eq!(client.command("PING").text(), "PONG"));
    all
}

#[test]
fn a_panic_in_a_command_costs_its_connection_only() {
    for workers in [1, 4] {
        let mut server = server(workers);
        let mut others = clients(&server, workers);
        others[0].command("SET k before");
        others[1].command("SET expiring x PX 400");
        let mut listener = server.client();
        listener.command("SUBSCRIBE ~Ex");
        for round in 0..3 * workers {
            let mut bad = server.client();
            bad.command("WATCH k");
            // What came before it in the same packet was answered by a worker that is fine.
            bad.send_raw(b"SET before panic\r\nDEBUG FAULT HANDLER k\r\nSET after panic\r\n").expect("send");
            let _ = bad.read_to_end();
            for other in &mut others {
                assert_eq!(other.command("GET k").text(), "half done", "round {round}");
                assert_eq!(other.command("SETRANGE k 0 half").text(), "9", "the key is free");
                assert_eq!(other.command("EXISTS after"), Value::Int(0));
            }
            assert_eq!(others[round % workers].command("FLUSHDB").text(), "OK", "the gate is free");
            others[0].command("SET expiring x PX 400");
        }
        assert_eq!(listener.read().expect("expiry goes on").value.items()[2].text(), "expiring");
        let listed = others[0].command("CLIENT LIST").text().lines().count();
        assert_eq!(listed, others.len() + 1, "a client that is gone is still listed");
        assert!(server.is_running());
        assert_eq!(server.log().matches("a request ended in a panic").count(), 3 * workers);
    }
}

#[test]
fn a_panic_in_expiry_or_in_the_helper_is_survived() {
    let server = server(1);
    let mut client = server.client();
    for round in 1..=3 {
        assert_eq!(client.command("DEBUG FAULT EXPIRY").text(), "OK");
        client.command("SET k x PX 1");
        wait_until("expiry has panicked", PATIENCE, || {
            server.log().matches("expiry ended in a panic").count() == round
        });
        wait_until("keys expire all the same", PATIENCE, || client.command("DBSIZE") == Value::Int(0));
    }
    for round in 1..=3 {
        assert_eq!(client.command("DEBUG FAULT HELPER").text(), "OK");
        wait_until("the helper has panicked", PATIENCE, || {
            server.log().matches("the helper thread ended in a panic").count() == round
        });
        // What only the helper does: growth to the end, and frees.
        assert_eq!(client.command("DEBUG POPULATE 20000").text(), "OK");
        wait_until("the engine has grown", PATIENCE, || {
            let info = client.command("INFO engines").text();
            info.contains("state=steady") && !info.contains("migrations_done=0,")
        });
        assert_eq!(client.command("DBSIZE"), Value::Int(20_000));
        assert_eq!(client.command("FLUSHALL").text(), "OK");
    }
}

#[test]
fn a_monitor_sees_the_commands_of_all_workers() {
    for workers in [1, 4] {
        let server = server(workers);
        let mut monitor = server.client();
        assert_eq!(monitor.command("MONITOR").text(), "OK");
        let mut others = clients(&server, workers);
        for (number, client) in others.iter_mut().enumerate() {
            assert_eq!(client.command(&format!("SET key:{number} value")).text(), "OK");
        }
        let mut seen = Vec::new();
        while seen.len() < others.len() {
            let line = monitor.read().expect("a line").value.text();
            if let Some(at) = line.find("\"SET\" \"key:") {
                seen.push(line[at..].to_owned());
            }
        }
        let expected: Vec<String> =
            (0..others.len()).map(|number| format!("\"SET\" \"key:{number}\" \"value\"")).collect();
        assert_eq!(seen, expected, "in the order in which they ran");
        // It stops with its connection.
        drop(monitor);
        wait_until("nobody is in MONITOR", PATIENCE, || {
            !others[0].command("CLIENT LIST").text().contains("flags=O")
        });
        assert_eq!(others[0].command("PING").text(), "PONG");
    }
}

/// Bytes that the server has received; more with each call.
fn received(client: &mut Client) -> usize {
    let info = client.command("INFO stats").text();
    let bytes = info.lines().find_map(|line| line.strip_prefix("total_net_input_bytes:"));
    bytes.and_then(|bytes| bytes.trim().parse().ok()).expect("total_net_input_bytes")
}

#[test]
fn a_pause_holds_the_writes_of_all_workers() {
    for workers in [1, 4] {
        let server = server(workers);
        let mut admin = server.client();
        let mut others = clients(&server, workers);
        let mut expected = received(&mut admin);
        assert_eq!(admin.command("CLIENT PAUSE 100000 WRITE").text(), "OK");
        for (number, client) in others.iter_mut().enumerate() {
            assert_eq!(client.command("GET k"), Value::Null, "reads go on");
            let held = format!("SET key:{number} v\r\nINCR counter\r\n");
            client.send_raw(held.as_bytes()).expect("send");
            expected += held.len();
        }
        wait_until("all of it was received", PATIENCE, || received(&mut admin) > expected);
        assert_eq!(admin.command("DBSIZE"), Value::Int(0));
        assert_eq!(admin.command("CLIENT UNPAUSE").text(), "OK");
        for client in &mut others {
            assert_eq!(client.read().expect("after the pause").value.text(), "OK");
            assert!(matches!(client.read().expect("in order").value, Value::Int(_)));
        }
        assert_eq!(admin.command("GET counter").int(), i64::try_from(others.len()).ok());
        // All: even reads wait, but for those who can end it.
        assert_eq!(admin.command("CLIENT PAUSE 100000 ALL").text(), "OK");
        others.iter_mut().for_each(|client| client.send(&["GET", "counter"]).expect("send"));
        assert_eq!(admin.command("CLIENT UNPAUSE").text(), "OK");
        for client in &mut others {
            assert!(client.read().expect("after the pause").value.int().is_some());
        }
    }
}

#[test]
fn silent_clients_get_messages_but_no_replies() {
    for workers in [1, 4] {
        let server = server(workers);
        for mut client in clients(&server, workers) {
            client
                .send_raw(b"HELLO 3\r\nSUBSCRIBE news\r\nCLIENT REPLY OFF\r\nSET k off\r\nGET k\r\n")
                .expect("send");
            let mut admin = server.client();
            wait_until("it has run", PATIENCE, || admin.command("GET k").text() == "off");
            wait_until("it listens", PATIENCE, || admin.command("PUBLISH news here") == Value::Int(1));
            assert!(matches!(client.read().expect("HELLO").value, Value::Map(_)));
            assert_eq!(client.read().expect("confirmation").value.items()[0].text(), "subscribe");
            assert_eq!(client.read().expect("a push").value.items()[2].text(), "here");
            client.send_raw(b"CLIENT REPLY ON\r\nCLIENT REPLY SKIP\r\nGET k\r\nPING end\r\n").expect("send");
            assert_eq!(client.read().expect("of REPLY ON").value.text(), "OK");
            assert_eq!(client.read().expect("of PING").value.text(), "end");
            admin.command("DEL k");
            drop(client);
            wait_until("it is gone", PATIENCE, || {
                admin.command("PUBSUB NUMSUB news").items()[1] == Value::Int(0)
            });
        }
    }
}
