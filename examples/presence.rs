//! Presence: who is there, by heartbeats, and an event for each who stops.
//!
//! ```text
//! cargo run --example presence -- /tmp/tandem.sock
//! ```
//!
//! A heartbeat is a SET with a time to live. Whoever misses one is gone in the millisecond after it, and everybody who
//! subscribed hears so: no job goes through a table to find out. Who signs off by DEL leaves without that event.

use std::error::Error;
use std::time::Duration;

use redis::{Client, Commands, Connection, PubSub};

type Outcome<T> = Result<T, Box<dyn Error>>;

const KEYS: &str = "presence:";
const LEAVES: &str = "__expired@0__:presence:";

/// This one is there for as long as that. Whether they just came.
fn beat(redis: &mut Connection, who: &str, ttl: Duration) -> Outcome<bool> {
    let before: Option<String> = redis::cmd("SET")
        .arg(format!("{KEYS}{who}"))
        .arg("here")
        .arg("PX")
        .arg(u64::try_from(ttl.as_millis())?)
        .arg("GET")
        .query(redis)?;
    Ok(before.is_none())
}

/// Who is there now.
fn present(redis: &mut Connection) -> Outcome<Vec<String>> {
    let keys: Vec<String> = redis.scan_match(format!("{KEYS}*"))?.collect();
    let mut names: Vec<String> = keys.iter().map(|key| key[KEYS.len()..].to_owned()).collect();
    names.sort();
    Ok(names)
}

/// Who leaves next, by missing a heartbeat. The name is in the channel; the message has the times, too.
fn next_to_leave(leaves: &mut PubSub<'_>) -> Outcome<String> {
    let message = leaves.get_message()?;
    Ok(message.get_channel_name()[LEAVES.len()..].to_owned())
}

/// Shows all of it against the server at this socket.
pub fn run(socket: &str) -> Outcome<()> {
    let client = Client::open(format!("unix://{socket}"))?;
    let (mut redis, mut watching) = (client.get_connection()?, client.get_connection()?);
    let mut leaves = watching.as_pubsub();
    leaves.psubscribe(format!("{LEAVES}*"))?;
    leaves.set_read_timeout(Some(Duration::from_secs(20)))?;

    let long = Duration::from_secs(3600);
    assert!(beat(&mut redis, "ada", long)?, "she just came");
    assert!(!beat(&mut redis, "ada", long)?, "she was there");
    beat(&mut redis, "alan", long)?;
    println!("here: {}", present(&mut redis)?.join(", "));

    beat(&mut redis, "grace", Duration::from_millis(50))?;
    println!("{} is gone", next_to_leave(&mut leaves)?);
    assert_eq!(present(&mut redis)?, ["ada", "alan"]);

    let _: () = redis.del(format!("{KEYS}alan"))?;
    beat(&mut redis, "kurt", Duration::from_millis(1))?;
    let gone = next_to_leave(&mut leaves)?;
    assert_eq!(gone, "kurt", "alan signed off, which is no event");
    println!("here: {}", present(&mut redis)?.join(", "));
    Ok(())
}

#[allow(dead_code, reason = "a test calls `run`")]
fn main() -> Outcome<()> {
    let socket = std::env::args().nth(1).unwrap_or_else(|| "/tmp/tandem.sock".to_owned());
    run(&socket)
}
