//! Large hashes and sets that are read whole while others write to them.

mod common;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use common::{Client, Options, Value};

const MEMBERS: usize = 20_000;

fn fill(client: &mut Client, verb: &str, key: &str) {
    for from in (0..MEMBERS).step_by(1000) {
        let names: Vec<String> = (from..from + 1000).map(|i| format!("m{i}")).collect();
        let mut args = vec![verb, key];
        for name in &names {
            args.push(name);
            if verb == "HSET" {
                args.push("0");
            }
        }
        assert_eq!(client.call(&args).expect("reply").value, Value::Int(1000));
    }
}

/// A writer moves one member back and forth and increments a field; every reply that is read
/// meanwhile is the collection as it was at one moment.
#[test]
fn a_whole_reply_is_of_one_moment() {
    for workers in [1, 4] {
        let server = Options::tandem().workers(workers).start();
        let mut reader = server.client();
        fill(&mut reader, "SADD", "s");
        fill(&mut reader, "HSET", "h");
        let done = Arc::new(AtomicBool::new(false));
        let (mut writer, end) = (server.client(), Arc::clone(&done));
        let writing = std::thread::spawn(move || {
            let mut turns = 0;
            while !end.load(Relaxed) {
                let (old, new) = if turns % 2 == 0 { ("m7", "other") } else { ("other", "m7") };
                writer.command("MULTI");
                writer.command(&format!("SREM s {old}"));
                writer.command(&format!("SADD s {new}"));
                writer.command("HINCRBY h m1 1");
                writer.command("HINCRBY h m19999 1");
                assert_eq!(
                    writer.command("EXEC"),
                    Value::Array(
                        vec![Value::Int(1); 2].into_iter().chain(vec![Value::Int(turns + 1); 2]).collect()
                    )
                );
                turns += 1;
            }
            turns
        });
        for round in 0..8 {
            let members = reader.command("SMEMBERS s").items();
            let distinct: HashSet<String> = members.iter().map(Value::text).collect();
            assert_eq!((members.len(), distinct.len()), (MEMBERS, MEMBERS), "{round}");
            assert!(distinct.contains("m7") != distinct.contains("other"));
            let pairs = reader.command("HGETALL h").items();
            assert_eq!(pairs.len(), 2 * MEMBERS);
            let of = |name: &str| {
                let at = pairs.iter().step_by(2).position(|f| f.text() == name).expect("a field");
                pairs[2 * at + 1].text()
            };
            assert_eq!(of("m1"), of("m19999"));
            assert_eq!(reader.command("HKEYS h").items().len(), MEMBERS);
        }
        done.store(true, Relaxed);
        assert!(writing.join().expect("the writer") > 0);
        // Behind the gate, and after a reading.
        reader.command("MULTI");
        reader.command("SMEMBERS s");
        reader.command("SREM s m1");
        reader.command("SMEMBERS s");
        let replies = reader.command("EXEC").items();
        assert_eq!((replies[0].items().len(), replies[2].items().len()), (MEMBERS, MEMBERS - 1));
    }
}
