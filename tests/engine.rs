//! ENGINE, as a person at a redis-cli sees it, against what INFO says, while tables grow and shrink.

mod common;

use std::time::Duration;

use common::{Client, Options, Value, wait_until};

const PATIENCE: Duration = Duration::from_secs(30);

fn map(reply: &Value) -> Vec<(String, Value)> {
    let Value::Map(pairs) = reply else { panic!("not a map: {reply:?}") };
    pairs.iter().map(|(name, value)| (name.text(), value.clone())).collect()
}

fn field(reply: &Value, name: &str) -> Value {
    let found = map(reply).into_iter().find(|(n, _)| n == name);
    found.unwrap_or_else(|| panic!("no {name} in {reply:?}")).1
}

fn number(reply: &Value, name: &str) -> i64 {
    match field(reply, name) {
        Value::Int(n) => n,
        other => panic!("{name} is no integer: {other:?}"),
    }
}

fn settled(client: &mut Client) -> bool {
    let status = client.command("ENGINE STATUS");
    number(&status, "migrations-running") == 0
}

fn fill(client: &mut Client, keys: u32) {
    for first in (0..keys).step_by(1000) {
        let mut args = vec!["MSET".to_owned()];
        args.extend((first..first + 1000).flat_map(|i| [format!("key:{i}"), format!("value:{i}")]));
        assert_eq!(client.call(&args).expect("a reply").value, Value::Simple("OK".into()));
    }
}

#[test]
fn status_shards_and_history_say_what_happened() {
    let server = Options::tandem().start();
    let mut client = server.client();
    client.command("HELLO 3");
    let empty = client.command("ENGINE STATUS");
    assert_eq!(number(&empty, "migrations-done"), 0);
    assert!(map(&field(&empty, "databases")).is_empty());
    assert!(map(&client.command("ENGINE SHARDS")).is_empty());
    assert!(client.command("ENGINE HISTORY").items().is_empty());

    fill(&mut client, 20_000);
    wait_until("the table has grown", PATIENCE, || {
        let status = client.command("ENGINE STATUS");
        let Some((_, db)) = map(&field(&status, "databases")).into_iter().next() else { return false };
        settled(&mut client) && number(&db, "shards") >= 64
    });
    let status = client.command("ENGINE STATUS");
    let db = field(&field(&status, "databases"), "db0");
    assert_eq!(field(&db, "state").text(), "steady");
    assert_eq!(number(&db, "keys"), 20_000);
    assert_eq!(number(&db, "shards"), number(&db, "shards-before"));
    assert!(number(&status, "keys-moved") > 0 && number(&status, "slices") > 0, "{status:?}");
    assert!(number(&status, "bytes-segments") > 0 && number(&status, "bytes-tables") > 0, "{status:?}");

    let shards = client.command("ENGINE SHARDS 0");
    let active = field(&shards, "active");
    assert_eq!(number(&active, "keys"), 20_000);
    assert_eq!(number(&active, "shards"), number(&db, "shards"));
    let by_fill = map(&field(&active, "shards-by-fill"));
    let counted: i64 = by_fill.iter().map(|(_, n)| if let Value::Int(n) = n { *n } else { 0 }).sum();
    assert_eq!(counted, number(&active, "shards"), "{by_fill:?}");
    assert!(number(&active, "keys-per-shard-least") <= number(&active, "keys-per-shard-most"));

    let history = client.command("ENGINE HISTORY 100").items();
    assert_eq!(history.len() as i64, number(&status, "migrations-done"));
    let last = &history[0];
    assert_eq!(field(last, "direction").text(), "growing");
    assert_eq!(number(last, "generation"), number(&db, "generation"));
    assert_eq!(number(last, "shards"), number(&db, "shards"));
    let moved: i64 = history.iter().map(|step| number(step, "keys-moved")).sum();
    assert_eq!(moved, number(&status, "keys-moved"));
    assert_eq!(client.command("ENGINE HISTORY 1").items().len(), 1);
}

#[test]
fn history_tells_shrinking_and_totals_outlive_a_flush() {
    let server = Options::tandem().start();
    let mut client = server.client();
    client.command("HELLO 3");
    fill(&mut client, 10_000);
    wait_until("the table has grown", PATIENCE, || settled(&mut client));
    for first in (100..10_000).step_by(100) {
        let args: Vec<String> = std::iter::once("DEL".to_owned())
            .chain((first..first + 100).map(|i| format!("key:{i}")))
            .collect();
        client.call(&args).expect("a reply");
    }
    wait_until("the table has shrunk", PATIENCE, || {
        let history = client.command("ENGINE HISTORY 1").items();
        settled(&mut client) && field(&history[0], "direction").text() == "shrinking"
    });
    let before = client.command("ENGINE STATUS");
    client.command("FLUSHALL");
    let after = client.command("ENGINE STATUS");
    assert!(map(&field(&after, "databases")).is_empty());
    assert!(number(&after, "keys-moved") >= number(&before, "keys-moved"));
    assert!(number(&after, "migrations-done") >= number(&before, "migrations-done"));
}

#[test]
fn wrong_arguments_are_refused() {
    let server = Options::tandem().workers(1).start();
    let mut client = server.client();
    for (line, wanted) in [
        ("ENGINE", "ERR wrong number of arguments for 'engine' command"),
        ("ENGINE NOSUCH", "ERR unknown subcommand 'NOSUCH'. Try ENGINE HELP."),
        ("ENGINE STATUS 1", "ERR wrong number of arguments for 'engine|status' command"),
        ("ENGINE SHARDS 16", "ERR DB index is out of range"),
        ("ENGINE SHARDS -1", "ERR DB index is out of range"),
        ("ENGINE SHARDS x", "ERR value is not an integer or out of range"),
        (
            "ENGINE SHARDS 1 2",
            "ERR unknown subcommand or wrong number of arguments for 'SHARDS'. Try ENGINE HELP.",
        ),
        ("ENGINE HISTORY -1", "ERR value is out of range, must be positive"),
        ("ENGINE HISTORY x", "ERR value is not an integer or out of range"),
    ] {
        assert_eq!(client.command(line).text(), wanted, "{line}");
    }
    // In RESP2 a map is a flat array.
    assert_eq!(client.command("ENGINE STATUS").items().len() % 2, 0);
}
