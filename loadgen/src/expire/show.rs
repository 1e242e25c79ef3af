//! What `loadgen expire` prints and draws.

use serde::Serialize;

use super::listen::Listener;
use super::{ExpireArgs, Run};
use crate::compare::{Table, count, us};
use crate::plot;
use crate::proc::Cpu;
use crate::report::Latency;

/// One server's figures.
#[derive(Serialize)]
pub struct Outcome {
    pub server: String,
    /// Keys that were due.
    pub due: u64,
    pub delivered: u64,
    pub twice: u64,
    pub early: u64,
    /// Lateness in milliseconds over all keys that were due; none where the event was not there
    /// when loadgen stopped waiting.
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub p999_ms: Option<f64>,
    pub max_ms: Option<f64>,
    /// A burst: from the deadline to the last event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worked_off_ms: Option<f64>,
    /// A burst: the longest CPU time from one slice of expiry to the next, where the server tells of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longest_turn_us: Option<u64>,
    /// The other requests; with a burst, those due before it.
    pub requests: Latency,
    /// With a burst, the other requests due from then on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_after: Option<Latency>,
    /// Share of a core.
    pub cpu: f64,
    pub waited_ms: f64,
    /// Lateness in milliseconds and the percentage of the keys that were not later.
    pub distribution: Vec<(f64, f64)>,
}

impl Outcome {
    pub fn new(run: &Run<'_>, listener: &Listener, cpu: Cpu, took_ns: f64) -> Self {
        let (heard, due) = (&listener.heard, run.made.get());
        let at = |percentile: f64| {
            let rank = (due as f64 * percentile / 100.0).ceil().max(1.0);
            let share = rank / heard.delivered as f64;
            (share <= 1.0).then(|| heard.lateness.value_at_quantile(share) as f64 / 1e6)
        };
        let mut sum = 0;
        let steps = heard.lateness.iter_recorded().map(|v| {
            sum += v.count_since_last_iteration();
            (v.value_iterated_to() as f64 / 1e6, sum as f64 * 100.0 / due.max(1) as f64)
        });
        Outcome {
            server: run.server.name.clone(),
            due,
            delivered: heard.delivered,
            twice: heard.twice,
            early: heard.early,
            p50_ms: at(50.0),
            p99_ms: at(99.0),
            p999_ms: at(99.9),
            max_ms: at(100.0),
            worked_off_ms: None,
            longest_turn_us: None,
            requests: Latency::of(&listener.before),
            requests_after: run.args.burst.map(|_| Latency::of(&listener.after)),
            cpu: cpu.used_ns as f64 / took_ns,
            waited_ms: cpu.waited_ns as f64 / 1e6,
            distribution: steps.collect(),
        }
    }

    pub fn curve(&self) -> plot::Curve<'_> {
        plot::Curve { name: &self.server, points: &self.distribution }
    }
}

pub fn caption(args: &ExpireArgs) -> String {
    let beside = format!(
        "{} other requests/s, {} other keys with far deadlines",
        count(args.ops as u64),
        count(args.far)
    );
    match args.burst {
        None => format!("{} expiries/s, {beside}", count(args.expiries as u64)),
        Some(n) => format!("{} keys due in the same millisecond, {beside}", count(n)),
    }
}

pub fn markdown(args: &ExpireArgs, outcomes: &[Outcome]) -> String {
    let mut head =
        vec!["server", "due", "delivered", "p50 ms", "p99 ms", "p99.9 ms", "max ms", "twice", "early"];
    let requests = ["requests p50", "p99", "p99.9", "max"];
    let after = ["after: p50", "p99", "p99.9", "max"];
    head.extend(requests);
    if args.burst.is_some() {
        head.extend(after);
        head.extend(["worked off ms", "longest turn µs"]);
    }
    head.extend(["CPU", "waited ms"]);
    let mut table = Table::new(head);
    let late = |ms: Option<f64>| ms.map_or("never".to_owned(), us);
    for o in outcomes {
        let mut row = vec![
            o.server.clone(),
            o.due.to_string(),
            format!("{:.2} %", o.delivered as f64 * 100.0 / o.due.max(1) as f64),
            late(o.p50_ms),
            late(o.p99_ms),
            late(o.p999_ms),
            late(o.max_ms),
            o.twice.to_string(),
            o.early.to_string(),
        ];
        for l in std::iter::once(&o.requests).chain(&o.requests_after) {
            row.extend([l.p50_us, l.p99_us, l.p999_us, l.max_us].map(us));
        }
        if args.burst.is_some() {
            row.push(late(o.worked_off_ms));
            row.push(o.longest_turn_us.map_or("–".to_owned(), |turn| turn.to_string()));
        }
        row.extend([format!("{:.0} %", o.cpu * 100.0), format!("{:.0}", o.waited_ms)]);
        table.row(row);
    }
    format!(
        "### expire: {}\n\nLateness of events over all keys that were due; `never` is an event that was not there {} s \
         after the last deadline. Latency of the other requests in µs from when each was due{}.\n\n{}",
        caption(args),
        args.patience.as_secs_f64(),
        if args.burst.is_some() {
            ", before the burst and from its deadline until its last event"
        } else {
            ""
        },
        table.markdown()
    )
}
