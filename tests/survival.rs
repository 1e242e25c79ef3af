//! A load of several times what a container grants: nothing is refused, and the process never takes more memory than it
//! may, whatever the sizes of the values.

mod common;

use std::fs;

use common::rng::Rng;
use common::{Options, Server};

/// What the container would grant, and the part of it that keys may take.
const GRANTED: usize = 48 << 20;
const MAXMEMORY: &str = "24mb";
/// Bytes of values stored in all.
const LOAD: usize = 4 * GRANTED;
/// Requests that are on their way at the same time.
const PIPELINE: usize = 200;

/// Memory that is no file's: what is mapped of the binary depends on how it was built.
fn anonymous_bytes(server: &Server) -> usize {
    let status = fs::read_to_string(format!("/proc/{}/status", server.pid())).expect("its status");
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("RssAnon");
    let kib: usize = line.split_whitespace().next().and_then(|kib| kib.parse().ok()).expect("KiB");
    kib * 1024
}

#[test]
fn four_times_the_memory_granted_is_neither_refused_nor_fatal() {
    for policy in ["allkeys-arc", "allkeys-lru"] {
        let server =
            Options::tandem().workers(2).set("maxmemory", MAXMEMORY).set("maxmemory-policy", policy).start();
        let mut client = server.client();
        let mut rng = Rng::new(7);
        let value = vec![b'v'; 40_000];
        let (mut stored, mut n, mut most) = (0, 0, 0);
        while stored < LOAD {
            let mut batch = Vec::new();
            for _ in 0..PIPELINE {
                let len = [20, 100, 300, 900, 5_000, 40_000][rng.below(6)];
                let key = format!("key:{n}").into_bytes();
                batch.extend(common::resp::encode(&[b"SET".as_slice(), &key, &value[..len]]));
                (stored, n) = (stored + len, n + 1);
            }
            client.send_raw(&batch).expect("send");
            for _ in 0..PIPELINE {
                assert_eq!(client.read().expect("a reply").value.text(), "OK", "{policy}");
            }
            most = most.max(anonymous_bytes(&server));
        }
        assert!(most < GRANTED, "{policy}: {most} bytes of {GRANTED}");
        let left = client.command("DBSIZE").int().expect("a number");
        assert!(left > 500, "{policy} left {left} keys of {n}");
    }
}
