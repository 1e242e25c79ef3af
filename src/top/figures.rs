//! What is asked for, and what it comes to since the last time.

use std::collections::BTreeMap;
use std::io;

use super::wire::{Ask, Reply};

/// Rows kept of each list.
const ROWS_MAX: usize = 16;
/// Seconds of the throughput that are shown as a line.
const HISTORY_MAX: usize = 240;

/// One look at the server.
#[derive(Debug, Default, Clone)]
pub(super) struct Look {
    info: BTreeMap<String, String>,
    pub status: Option<Reply>,
    pub steps: Vec<Reply>,
    pub slow: Vec<Reply>,
    pub clients: Vec<BTreeMap<String, String>>,
    /// By command: upper ends of buckets in microseconds, and the calls up to there since the start.
    histograms: BTreeMap<String, Vec<(f64, f64)>>,
    /// When it was taken, in monotonic milliseconds.
    pub at_ms: u64,
}

impl Look {
    /// Asks for everything in one round trip.
    pub fn take(server: &mut dyn Ask, at_ms: u64) -> io::Result<Look> {
        let replies = server.ask(&[
            &["INFO", "everything"],
            &["ENGINE", "STATUS"],
            &["ENGINE", "HISTORY", "8"],
            &["SLOWLOG", "GET", "8"],
            &["CLIENT", "LIST"],
            &["LATENCY", "HISTOGRAM"],
        ])?;
        let [info, status, steps, slow, clients, histograms] = replies.as_slice() else {
            return Err(io::Error::other("not all was answered"));
        };
        if let Reply::Error(error) = info {
            return Err(io::Error::other(error.clone()));
        }
        Ok(Look {
            info: pairs(info.text().lines(), ':'),
            // Another server than tandem has no engines.
            status: matches!(status, Reply::Items(_)).then(|| status.clone()),
            steps: steps.items().to_vec(),
            slow: slow.items().to_vec(),
            clients: clients.text().lines().map(|line| pairs(line.split(' '), '=')).collect(),
            // An old server has none.
            histograms: histograms.items().chunks_exact(2).map(histogram).collect(),
            at_ms,
        })
    }

    /// A field of INFO.
    pub fn text(&self, field: &str) -> &str {
        self.info.get(field).map_or("", String::as_str)
    }

    /// A number of INFO; 0 if there is none.
    pub fn number(&self, field: &str) -> f64 {
        self.text(field).parse().unwrap_or(0.0)
    }

    /// Keys, and those with a deadline, of all databases.
    pub fn keys(&self) -> (f64, f64) {
        let databases = self.info.iter().filter(|(name, _)| {
            name.strip_prefix("db").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
        });
        databases.fold((0.0, 0.0), |sum, (_, line)| {
            let parts = pairs(line.split(','), '=');
            let number = |name| parts.get(name).and_then(|n: &String| n.parse::<f64>().ok()).unwrap_or(0.0);
            (sum.0 + number("keys"), sum.1 + number("expires"))
        })
    }

    /// Calls, microseconds and failures of each command.
    fn commands(&self) -> impl Iterator<Item = (&str, [f64; 3])> {
        self.info.iter().filter_map(|(name, line)| {
            let parts = pairs(line.split(','), '=');
            let number = |field| parts.get(field).and_then(|n: &String| n.parse::<f64>().ok()).unwrap_or(0.0);
            let failed = number("failed_calls") + number("rejected_calls");
            Some((name.strip_prefix("cmdstat_")?, [number("calls"), number("usec"), failed]))
        })
    }

    /// Calls of a command that took up to so many microseconds, since the start.
    fn calls_within(&self, command: &str, micros: f64) -> f64 {
        let buckets = self.histograms.get(command).map_or(&[][..], Vec::as_slice);
        // Buckets without calls are left out: what is up to here is what the last one below has.
        buckets.iter().rev().find(|(end, _)| *end <= micros).map_or(0.0, |(_, calls)| *calls)
    }
}

/// A command and its buckets out of LATENCY HISTOGRAM.
fn histogram(pair: &[Reply]) -> (String, Vec<(f64, f64)>) {
    let number = |reply: &Reply| reply.text().parse::<f64>().unwrap_or(0.0);
    let buckets = pair[1].get("histogram_usec").map_or(&[][..], Reply::items);
    let buckets = buckets.chunks_exact(2).map(|bucket| (number(&bucket[0]), number(&bucket[1])));
    (pair[0].text().to_owned(), buckets.collect())
}

fn pairs<'t>(parts: impl Iterator<Item = &'t str>, between: char) -> BTreeMap<String, String> {
    let split = parts.filter_map(|part| part.split_once(between));
    split.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// A command since the last look.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub name: String,
    /// Calls per second.
    pub rate: f64,
    /// Percent of a core.
    pub core: f64,
    /// Mean microseconds of a call since the last look.
    pub mean: f64,
    pub failed: f64,
}

/// The last look, the one before it, and the throughput.
#[derive(Default)]
pub(super) struct Figures {
    pub now: Look,
    before: Option<Look>,
    pub history: Vec<f64>,
}

impl Figures {
    /// Takes over a new look.
    pub fn add(&mut self, look: Look) {
        let before = std::mem::replace(&mut self.now, look);
        self.before = (before.at_ms > 0).then_some(before);
        self.history.push(self.rate("total_commands_processed"));
        if self.history.len() > HISTORY_MAX {
            self.history.remove(0);
        }
    }

    fn seconds(&self) -> Option<f64> {
        let passed = self.now.at_ms.saturating_sub(self.before.as_ref()?.at_ms);
        (passed > 0).then_some(passed as f64 / 1000.0)
    }

    /// By how much a counter grew per second.
    pub fn rate(&self, field: &str) -> f64 {
        let (Some(before), Some(seconds)) = (&self.before, self.seconds()) else { return 0.0 };
        ((self.now.number(field) - before.number(field)) / seconds).max(0.0)
    }

    /// Hits of all look-ups since the last look, in percent.
    pub fn hit_percent(&self) -> Option<f64> {
        let (hits, misses) = (self.rate("keyspace_hits"), self.rate("keyspace_misses"));
        (hits + misses > 0.0).then(|| hits * 100.0 / (hits + misses))
    }

    /// What this share of a command's calls took at most since the last look, in microseconds; 0 if there was none. The
    /// server's buckets double, so within one the calls are taken to lie evenly.
    pub fn percentile(&self, command: &str, share: f64) -> f64 {
        let Some(before) = &self.before else { return 0.0 };
        let buckets = self.now.histograms.get(command).map_or(&[][..], Vec::as_slice);
        let since = |(end, calls): &(f64, f64)| (*end, (calls - before.calls_within(command, *end)).max(0.0));
        let all = buckets.last().map_or(0.0, |last| since(last).1);
        if all == 0.0 {
            return 0.0;
        }
        let (mut begin, mut below) = (0.0, 0.0);
        for (end, calls) in buckets.iter().map(since) {
            if calls >= all * share {
                // A bucket begins at half of its end, or where the last one with calls ended.
                let from = f64::max(begin, end / 2.0);
                return from + (end - from) * (all * share - below) / (calls - below).max(1.0);
            }
            (begin, below) = (end, calls);
        }
        begin
    }

    /// Commands by their time since the last look.
    pub fn commands(&self) -> Vec<Row> {
        let before: BTreeMap<&str, [f64; 3]> = self.before.iter().flat_map(Look::commands).collect();
        let seconds = self.seconds();
        let mut rows: Vec<Row> = Vec::new();
        for (name, [calls, micros, failed]) in self.now.commands() {
            let then = before.get(name).copied().unwrap_or_default();
            let per_second = |now: f64, then: f64| seconds.map_or(0.0, |s| ((now - then) / s).max(0.0));
            let (rate, core) = (per_second(calls, then[0]), per_second(micros, then[1]) / 1e4);
            // Over CONFIG RESETSTAT there is no difference to be had.
            let (calls, micros) = ((calls - then[0]).max(0.0), (micros - then[1]).max(0.0));
            rows.push(Row { name: name.to_owned(), rate, core, mean: micros / calls.max(1.0), failed });
        }
        rows.sort_by(|a, b| b.core.total_cmp(&a.core).then(b.rate.total_cmp(&a.rate)));
        rows.truncate(ROWS_MAX);
        rows
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A server that answers what it is given.
    pub struct Script(pub Vec<Reply>);

    impl Ask for Script {
        fn ask(&mut self, _: &[&[&str]]) -> io::Result<Vec<Reply>> {
            Ok(self.0.clone())
        }
    }

    pub fn look(at_ms: u64, calls: u64) -> Look {
        let text = |text: &str| Reply::Text(text.to_owned());
        let list = |items: &[&str]| Reply::Items(items.iter().map(|item| text(item)).collect());
        let info = format!(
            "# Server\r\ntandem_version:0.1.0\r\nuptime_in_seconds:3700\r\nused_memory:1048576\r\nused_memory_rss:2097152\r\n\
             total_commands_processed:{calls}\r\nkeyspace_hits:{calls}\r\nkeyspace_misses:0\r\nconnected_clients:1\r\n\
             db0:keys=1500,expires=20,avg_ttl=5\r\ncmdstat_get:calls={calls},usec={calls},usec_per_call=1,rejected_calls=0,failed_calls=2\r\n"
        );
        let db = list(&[
            "state",
            "growing",
            "generation",
            "5",
            "shards",
            "16",
            "shards-before",
            "8",
            "progress-percent",
            "50",
            "keys",
            "1500",
            "load-percent",
            "61.5",
        ]);
        let status = Reply::Items(vec![
            text("migrations-done"),
            text("4"),
            text("keys-moved"),
            text("12345"),
            text("databases"),
            Reply::Items(vec![text("db0"), db]),
        ]);
        let slow = Reply::Items(vec![Reply::Items(vec![
            text("1"),
            text("1700000000"),
            text("15000"),
            list(&["SET", "secret-key", "secret-value"]),
            text("127.0.0.1:5"),
            text("web\u{1b}[31m"),
        ])]);
        let clients =
            text("id=3 addr=127.0.0.1:5 name=web age=10 idle=0 db=0 cmd=get tot-mem=2048 tot-cmds=9\n");
        // Since the start 10 calls took long; all others half a microsecond to one.
        let quick = (calls - 10).to_string();
        let buckets = list(&["1", &quick, "1024", &calls.to_string()]);
        let get = Reply::Items(vec![text("calls"), text("0"), text("histogram_usec"), buckets]);
        let histograms = Reply::Items(vec![text("get"), get]);
        let mut server =
            Script(vec![text(&info), status, Reply::Items(Vec::new()), slow, clients, histograms]);
        Look::take(&mut server, at_ms).unwrap()
    }

    #[test]
    fn rates_are_between_two_looks() {
        let mut figures = Figures::default();
        figures.add(look(1_000, 100));
        assert_eq!(figures.rate("total_commands_processed"), 0.0);
        figures.add(look(3_000, 2_100));
        assert_eq!(figures.rate("total_commands_processed"), 1_000.0);
        assert_eq!(figures.hit_percent(), Some(100.0));
        assert_eq!(figures.now.keys(), (1500.0, 20.0));
        let get = Row { name: "get".into(), rate: 1_000.0, core: 0.1, mean: 1.0, failed: 2.0 };
        assert_eq!(figures.commands(), [get]);
        assert_eq!([figures.percentile("get", 0.5), figures.percentile("get", 0.99)], [0.75, 0.995]);
        assert_eq!(figures.percentile("nosuch", 0.5), 0.0);
        assert_eq!(figures.history, [0.0, 1_000.0]);
    }

    #[test]
    fn a_server_that_refuses_says_why() {
        let refused = Reply::Error("NOAUTH Authentication required.".into());
        let error = Look::take(&mut Script(vec![refused; 6]), 1).unwrap_err();
        assert_eq!(error.to_string(), "NOAUTH Authentication required.");
    }
}
