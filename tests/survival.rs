//! A load of several times what a container grants: nothing is refused, and the process never takes more memory than it
//! may, whatever the sizes of the values.
#![allow(clippy::disallowed_methods, reason = "tests measure real time and have no src/clock.rs")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::resp::encode;
use common::rng::Rng;
use common::{Client, Options, Server, Value, wait_until};

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
                batch.extend(encode(&[b"SET".as_slice(), &key, &value[..len]]));
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

/// A cgroup of this test's own, below the one that it runs in.
struct Group {
    folder: PathBuf,
    /// Where the kernel counts whom it killed.
    events: &'static str,
}

impl Group {
    /// None where none may be made, or where it would not bound memory.
    fn new(limit: usize) -> Option<Group> {
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        own.lines().find_map(|line| {
            let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
            let (root, file, events) = match controllers {
                "" => ("/sys/fs/cgroup", "memory.max", "memory.events"),
                "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.oom_control"),
                _ => return None,
            };
            let name = format!("tandem-survival-{}", std::process::id());
            let folder = Path::new(root).join(path.trim_start_matches('/')).join(name);
            fs::create_dir(&folder).ok()?;
            let group = Group { folder, events };
            // In version 2 there is no such file where memory is not counted for each group below.
            let bounded = group.folder.join(file).exists() && group.write(file, &limit.to_string()).is_some();
            bounded.then_some(group)
        })
    }

    fn write(&self, file: &str, text: &str) -> Option<()> {
        fs::write(self.folder.join(file), text).ok()
    }

    fn killed(&self) -> u64 {
        let text = fs::read_to_string(self.folder.join(self.events)).expect("its events");
        let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        count.expect("oom_kill").trim().parse().expect("a number")
    }

    /// The server in the group, with the settings of a sidecar.
    fn start(&self, socket: &Path) -> Child {
        let script = format!(
            "echo $$ > '{}/cgroup.procs' && exec '{}' --port 0 --unixsocket '{}' --workers 2 --maxmemory auto \
             --maxmemory-policy allkeys-arc",
            self.folder.display(),
            common::tandem_binary().display(),
            socket.display()
        );
        let mut sh = Command::new("sh");
        sh.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        sh.spawn().expect("sh")
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It is empty a moment after its last process has ended.
        let end = Instant::now() + Duration::from_secs(5);
        while fs::remove_dir(&self.folder).is_err() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// One of the requests of an application: most are strings of all sizes, now and then one of a megabyte.
fn request(rng: &mut Rng, thread: usize, n: usize, value: &[u8]) -> Vec<Vec<u8>> {
    let bytes = |text: &str| text.as_bytes().to_vec();
    let len = [10, 100, 300, 900, 3_000, 5_000, 20_000, 40_000][rng.below(8)];
    let words = match rng.below(1000) {
        0 => vec![bytes("SET"), format!("b:{thread}:{}", rng.below(20)).into(), value.to_vec()],
        1..700 => vec![bytes("SET"), format!("k:{thread}:{n}").into(), value[..len].to_vec()],
        700..800 => {
            let key = format!("k:{thread}:{}", rng.below(n + 1)).into();
            vec![bytes("SET"), key, value[..len].to_vec(), bytes("PX"), bytes("500")]
        }
        800..900 => {
            let mut words = vec![bytes("HSET"), format!("h:{thread}:{}", rng.below(2_000)).into()];
            for _ in 0..10 {
                words.push(format!("field:{}", rng.below(300)).into());
                words.push(value[..[10, 50, 200][rng.below(3)]].to_vec());
            }
            words
        }
        900..950 => {
            let mut words = vec![bytes("RPUSH"), format!("l:{thread}:{}", rng.below(500)).into()];
            words.resize(12, value[..100].to_vec());
            words
        }
        _ => vec![bytes("GET"), format!("k:{thread}:{}", rng.below(n + 1)).into()],
    };
    assert!(words.len() > 1);
    words
}

/// Sends requests until so many bytes went.
fn load(socket: &Path, thread: usize, bytes: usize) {
    let mut client = Client::unix(socket).expect("connect");
    let (mut rng, value) = (Rng::new(thread as u64), vec![b'v'; 1 << 20]);
    let (mut sent, mut n) = (0, 0);
    while sent < bytes {
        let mut batch = Vec::new();
        for _ in 0..100 {
            n += 1;
            batch.extend(encode(&request(&mut rng, thread, n, &value)));
        }
        client.send_raw(&batch).expect("it lives and reads");
        for _ in 0..100 {
            let reply = client.read().expect("it lives and answers").value;
            assert!(!matches!(reply, Value::Error(_)), "{}", reply.text());
        }
        sent += batch.len();
    }
}

#[test]
fn a_container_of_64_mib_is_enough_for_any_load() {
    const LIMIT: usize = 64 << 20;
    let Some(group) = Group::new(LIMIT) else {
        eprintln!("skipped: no cgroup that bounds memory may be made");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("s");
    let mut server = group.start(&socket);
    let serves = || Client::unix(&socket).is_ok_and(|mut c| c.call(&["PING"]).is_ok());
    wait_until("it serves", Duration::from_secs(30), serves);
    let done = std::panic::catch_unwind(|| {
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let socket = &socket;
                scope.spawn(move || load(socket, thread, LIMIT));
            }
        });
    });
    let (killed, ended) = (group.killed(), server.try_wait().expect("a state"));
    let _ = server.kill();
    let _ = server.wait();
    assert!(killed == 0 && ended.is_none(), "{killed} killed, {ended:?}");
    assert!(done.is_ok(), "a client failed");
}
