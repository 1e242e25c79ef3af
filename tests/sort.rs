//! SORT where its keys meet each other: the rest is compared with redis-server by `tests/differential`.

mod common;

use common::{Options, Value};

#[test]
fn patterns_may_lead_to_the_source_and_the_destination() {
    let server = Options::tandem().set("notify-keyspace-events", "KEA").workers(4).start();
    let mut client = server.client();
    let mut events = server.client();
    events.command("PSUBSCRIBE __keyevent*");
    client.command("RPUSH l1 3 1 2");
    client.command("SET l3 three");
    for (command, stored) in [
        ("SORT l1 BY l* ALPHA GET l* STORE l1", ["", "", "three"]),
        ("SORT l1 BY l* ALPHA GET # STORE l2", ["", "", "three"]),
        ("SORT l2 BY l*->f GET l* GET # STORE l3", ["", "", ""]),
    ] {
        let reply = client.command(command);
        assert!(matches!(reply, Value::Int(_)), "{command}: {reply:?}");
        let into = command.rsplit(' ').next().expect("the destination");
        let items: Vec<String> =
            client.command(&format!("LRANGE {into} 0 2")).items().iter().map(Value::text).collect();
        assert_eq!(items, stored, "{command}");
    }
    // A weight past its deadline is no weight; that it is gone is told.
    client.command("SET w_a 9 PX 1");
    client.command("RPUSH l a b");
    client.command("SET w_b 5");
    common::wait_until("the weight is gone", std::time::Duration::from_secs(10), || {
        client.command("SORT l BY w_* GET w_*").items() == [Value::Null, Value::Bulk(b"5".to_vec())]
    });
    client.command("PUBLISH __keyevent@end end");
    let mut seen = Vec::new();
    loop {
        let message = events.read().expect("a message").value.items();
        if message[3].text() == "end" {
            break;
        }
        seen.push(format!(
            "{} {}",
            message[2].text().trim_start_matches("__keyevent@0__:"),
            message[3].text()
        ));
    }
    let stores: Vec<_> = seen.iter().filter(|event| event.starts_with("sortstore")).collect();
    assert_eq!(stores, ["sortstore l1", "sortstore l2", "sortstore l3"]);
    assert_eq!(seen.iter().filter(|event| *event == "expired w_a").count(), 1, "{seen:?}");
}

#[test]
fn what_names_all_its_keys_runs_in_a_transaction() {
    let server = Options::tandem().workers(4).start();
    let mut client = server.client();
    for command in ["MULTI", "RPUSH l 2 1", "SORT l STORE d", "SORT l BY w_* GET #", "SORT_RO d DESC"] {
        client.command(command);
    }
    let replies = client.command("EXEC").items();
    assert_eq!(replies.len(), 4);
    let texts = |reply: &Value| reply.items().iter().map(Value::text).collect::<Vec<_>>();
    assert_eq!(replies[1], Value::Int(2));
    assert_eq!(texts(&replies[2]), ["1", "2"]);
    assert_eq!(texts(&replies[3]), ["2", "1"]);
}
