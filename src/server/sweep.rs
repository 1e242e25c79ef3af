//! Time limits of connections: idle ones, half-sent requests, slow readers.
//!
//! One task looks at all clients when the first of them can be beyond a limit, on a whole second, so that many share a
//! look. While no limit is in force on any client it sleeps for good: connected clients that say nothing cost no tick.
//!
//! Whoever brings a limit into force ([`came_into_force`]) says until when the task may sleep at the most. What ends a
//! limit, or puts off its end, tells nobody: the task then finds nothing overdue, and when to look next.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicU64, fence};
use std::time::Duration;

use tokio::sync::Notify;

use crate::clients::{ClientHandle, Role, State, output_limit};
use crate::clock;
use crate::config::Config;
use crate::server::connection::panic_text;
use crate::shared::Shared;

/// Looks are on multiples of this. A client may outlast its limit by so much.
const GRID_MS: u64 = 1000;
/// No look is due.
const NEVER: u64 = u64::MAX;

/// When the clients are to be looked at next.
pub struct TimeLimits {
    /// Milliseconds of the monotonic clock.
    next_ms: AtomicU64,
    /// Told when that became earlier.
    earlier: Notify,
}

impl Default for TimeLimits {
    fn default() -> TimeLimits {
        TimeLimits { next_ms: AtomicU64::new(NEVER), earlier: Notify::new() }
    }
}

impl TimeLimits {
    /// The settings changed: all clients are looked at, now.
    pub fn look(&self) {
        self.look_by(0);
    }

    /// A load, unless the next look would be later than this.
    fn look_by(&self, at_ms: u64) {
        let at = at_ms.checked_next_multiple_of(GRID_MS).unwrap_or(NEVER);
        if at < self.next_ms.load(Relaxed) && at < self.next_ms.fetch_min(at, SeqCst) {
            self.earlier.notify_one();
        }
    }

    /// Sleeps until a look is due.
    async fn due(&self) {
        loop {
            let at = self.next_ms.load(SeqCst);
            let Some(rest) = at.checked_sub(clock::mono_ms()).filter(|rest| *rest > 0) else { return };
            // Made earlier since, it is told already.
            let earlier = self.earlier.notified();
            if at == NEVER {
                earlier.await;
            } else {
                let _ = tokio::time::timeout(Duration::from_millis(rest), earlier).await;
            }
        }
    }
}

/// Why a client is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    Unfinished,
    Idle,
    OverSoft,
    OverHard,
}

impl Why {
    fn text(self) -> &'static str {
        match self {
            Why::Unfinished => "its request stayed unfinished for too long",
            Why::Idle => "it was idle for too long",
            Why::OverSoft => "its replies waited beyond the soft limit for too long",
            Why::OverHard => "more replies wait than the hard limit allows",
        }
    }
}

/// Called after anything by which this client can be beyond a limit earlier than before was published: it has connected,
/// a request of it is half-sent, its output is above a soft limit. It takes one load if a look will be in time.
pub fn came_into_force(client: &ClientHandle, shared: &Shared) {
    // Either the look that is going on sees what was published, or what comes now sees that there has to be another one.
    // Before the settings are read, for the same reason.
    fence(SeqCst);
    if let Some((at, _)) = deadline(client, &shared.config.load(), clock::mono_ms()) {
        shared.time_limits.look_by(at);
    }
}

/// Called by the owner after a write that left `waiting` bytes.
pub fn note_output(handle: &ClientHandle, waiting: usize, shared: &Shared) {
    let since = &handle.figures.over_soft_since_ms;
    if !is_over_soft(handle, waiting, &shared.config.load()) {
        since.store(0, Relaxed);
        return;
    }
    if since.load(Relaxed) == 0 {
        since.store(clock::mono_ms().max(1), Relaxed);
    }
    // Each time, as the limit is another one after SUBSCRIBE.
    came_into_force(handle, shared);
}

fn is_over_soft(client: &ClientHandle, waiting: usize, config: &Config) -> bool {
    let soft = output_limit(config, client.role()).soft;
    soft > 0 && waiting as u64 > soft
}

/// Runs on one worker for the life of the process.
pub async fn run(shared: Arc<Shared>) {
    loop {
        shared.time_limits.due().await;
        // A panic is a bug; it must not be the end of all time limits.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| round(&shared, clock::mono_ms()))) {
            tracing::error!("the watch over time limits ended in a panic: {}", panic_text(&*payload));
            shared.time_limits.look_by(clock::mono_ms() + GRID_MS);
        }
    }
}

/// Closes who is beyond a limit, and sets when the next look is due.
fn round(shared: &Shared, now: u64) {
    // First: what comes into force from here on asks for a look of its own, if this one may not see it.
    shared.time_limits.next_ms.swap(NEVER, SeqCst);
    fence(SeqCst);
    let config = shared.config.load_full();
    for client in shared.clients.list() {
        begin_soft(&client, &config, now);
        match deadline(&client, &config, now) {
            Some((at, why)) if at <= now => {
                tracing::debug!(client = client.id, "closing client: {}", why.text());
                if matches!(why, Why::OverSoft | Why::OverHard) {
                    client.set(State::OVER_LIMIT);
                }
                client.kill();
            }
            Some((at, _)) => shared.time_limits.look_by(at),
            None => {}
        }
    }
}

/// A soft limit that was set below what waits already is exceeded from now on: the owner, who would say so, may have nothing
/// more to send.
fn begin_soft(client: &ClientHandle, config: &Config, now: u64) {
    let figures = &client.figures;
    if is_over_soft(client, figures.out.load(Relaxed), config) {
        let _ = figures.over_soft_since_ms.compare_exchange(0, now.max(1), Relaxed, Relaxed);
    }
}

/// When this client is beyond the first of its limits, if nothing changes.
fn deadline(client: &ClientHandle, config: &Config, now: u64) -> Option<(u64, Why)> {
    let (state, role, figures) = (client.state(), client.role(), &client.figures);
    if state.contains(State::KILLED) {
        return None;
    }
    let blocked = state.contains(State::BLOCKED);
    let limit = u64::from(config.partial_frame_timeout);
    let since = figures.partial_since_ms.load(Relaxed);
    let unfinished = (limit > 0 && since > 0 && !blocked).then(|| (since + limit, Why::Unfinished));
    let limit = u64::from(config.timeout) * 1000;
    // Whoever is no longer exempt has just done something, or got an answer.
    let exempt = blocked || state.contains(State::MONITOR) || role != Role::Normal;
    let since = if exempt { now } else { figures.last_ms.load(Relaxed) };
    let idle = (limit > 0).then_some((since + limit, Why::Idle));
    let output = output_limit(config, role);
    let hard = output.hard > 0 && figures.out.load(Relaxed) as u64 > output.hard;
    let hard = hard.then(|| (now.saturating_sub(1), Why::OverHard));
    let limit = output.seconds.saturating_mul(1000);
    let since = figures.over_soft_since_ms.load(Relaxed);
    let over = (limit > 0 && since > 0).then(|| (since.saturating_add(limit), Why::OverSoft));
    let last = [hard, unfinished, idle, over].into_iter().flatten().min_by_key(|(last, _)| *last);
    last.map(|(last, why)| (last.saturating_add(1), why))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::NewClient;
    use crate::keyspace::{Keyspace, Options};

    const NOW: u64 = 1_000_000;

    fn shared(settings: &[(&[u8], &[u8])]) -> Shared {
        let keyspace = Keyspace::new(Options { reserve_bytes: 1 << 20, ..Options::default() }).unwrap();
        Shared::new(config(settings), keyspace, 1)
    }

    fn config(settings: &[(&[u8], &[u8])]) -> Config {
        crate::config::set(&Config::default(), settings, true).unwrap().0
    }

    fn client(shared: &Shared, last_ms: u64) -> Arc<ClientHandle> {
        let (addr, laddr) = (Box::default(), Box::default());
        let new = NewClient { worker: 0, fd: 0, addr, laddr, unix: true, now_ms: last_ms };
        shared.clients.admit(1000, new).unwrap()
    }

    fn next(shared: &Shared) -> Option<u64> {
        Some(shared.time_limits.next_ms.load(Relaxed)).filter(|next| *next != NEVER)
    }

    fn is_told(shared: &Shared) -> bool {
        let mut earlier = std::pin::pin!(shared.time_limits.earlier.notified());
        earlier.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())).is_ready()
    }

    #[test]
    fn without_a_limit_in_force_there_is_no_deadline() {
        let shared = shared(&[]);
        let it = client(&shared, NOW);
        assert_eq!(deadline(&it, &Config::default(), NOW + 1_000_000_000), None);
        round(&shared, NOW);
        assert_eq!(next(&shared), None);
        came_into_force(&it, &shared);
        assert_eq!((next(&shared), is_told(&shared)), (None, false));
    }

    #[test]
    fn the_first_of_all_limits_counts() {
        let soft = b"client-output-buffer-limit".as_slice();
        let all = config(&[(b"timeout", b"20"), (soft, b"normal 0 1mb 5 pubsub 0 1mb 3")]);
        let shared = shared(&[]);
        let it = client(&shared, NOW);
        let after = |now| deadline(&it, &all, now).map(|(at, why)| (at - NOW, why));
        assert_eq!(after(NOW), Some((20_001, Why::Idle)));
        it.figures.partial_since_ms.store(NOW + 5, Relaxed);
        assert_eq!(after(NOW), Some((10_006, Why::Unfinished)));
        it.figures.over_soft_since_ms.store(NOW + 7, Relaxed);
        assert_eq!(after(NOW), Some((5_008, Why::OverSoft)));
        it.set(State::PUBSUB);
        assert_eq!(after(NOW), Some((3_008, Why::OverSoft)), "its class has another limit");
        it.figures.over_soft_since_ms.store(0, Relaxed);
        it.figures.partial_since_ms.store(0, Relaxed);
        assert_eq!(after(NOW + 9_000_000), Some((9_020_001, Why::Idle)), "exempt, but it may not stay so");
        it.clear(State::PUBSUB);
        it.set(State::BLOCKED);
        it.figures.partial_since_ms.store(NOW, Relaxed);
        assert_eq!(after(NOW + 50), Some((20_051, Why::Idle)), "what it sent waits, too");
        it.set(State::KILLED);
        assert_eq!(after(NOW), None);
    }

    #[test]
    fn limits_without_end_do_not_overflow() {
        let largest = [
            (b"timeout".as_slice(), b"2147483647".as_slice()),
            (b"partial-frame-timeout", b"2147483647"),
            (b"client-output-buffer-limit", b"normal 0 1 2147483647"),
        ];
        let (shared, config) = (shared(&[]), config(&largest));
        let it = client(&shared, NOW);
        it.figures.over_soft_since_ms.store(NOW, Relaxed);
        assert_eq!(deadline(&it, &config, NOW), Some((NOW + 2_147_483_647_001, Why::Idle)));
        shared.time_limits.look_by(u64::MAX - 1);
        assert_eq!(next(&shared), None);
    }

    #[test]
    fn who_is_overdue_is_closed_and_the_next_look_is_for_the_next_one() {
        let shared = shared(&[(b"timeout", b"10")]);
        let clients = [0, 1, 2500, 2600, 9000].map(|ms| client(&shared, NOW + ms));
        round(&shared, NOW + 10_001);
        let killed = || clients.iter().filter(|client| client.state().contains(State::KILLED)).count();
        assert_eq!(killed(), 1, "the second one has been idle for exactly as long as it may");
        assert_eq!(next(&shared), Some(NOW + 11_000));
        round(&shared, NOW + 11_000);
        assert_eq!((killed(), next(&shared)), (2, Some(NOW + 13_000)), "two share a look");
        round(&shared, NOW + 13_000);
        assert_eq!((killed(), next(&shared)), (4, Some(NOW + 20_000)));
        clients[4].figures.last_ms.store(NOW + 18_000, Relaxed);
        round(&shared, NOW + 20_000);
        assert_eq!((killed(), next(&shared)), (4, Some(NOW + 29_000)), "it was not idle");
        round(&shared, NOW + 29_000);
        assert_eq!((killed(), next(&shared)), (5, None), "nobody is left");
    }

    #[test]
    fn only_what_is_earlier_than_the_next_look_wakes() {
        let shared = shared(&[]);
        let limits = &shared.time_limits;
        limits.look_by(NOW + 4_001);
        assert_eq!((next(&shared), is_told(&shared)), (Some(NOW + 5_000), true));
        for later in [4_001, 4_500, 5_000, 5_001, 90_000] {
            limits.look_by(NOW + later);
            assert_eq!((next(&shared), is_told(&shared)), (Some(NOW + 5_000), false));
        }
        limits.look_by(NOW + 4_000);
        assert_eq!((next(&shared), is_told(&shared)), (Some(NOW + 4_000), true));
        limits.look();
        assert_eq!((next(&shared), is_told(&shared)), (Some(0), true));
    }

    #[test]
    fn slow_readers_ask_for_a_look_as_long_as_they_are_slow() {
        let shared = shared(&[(b"client-output-buffer-limit", b"normal 0 1kb 30 pubsub 0 1kb 10")]);
        let it = client(&shared, NOW);
        note_output(&it, 1024, &shared);
        assert_eq!(next(&shared), None);
        note_output(&it, 1025, &shared);
        let first = next(&shared).expect("a look");
        it.set(State::PUBSUB);
        note_output(&it, 1025, &shared);
        assert!(next(&shared).is_some_and(|next| next < first), "of its new class");
        note_output(&it, 0, &shared);
        round(&shared, clock::mono_ms());
        assert_eq!(next(&shared), None);
    }

    /// While one thread looks, another publishes: it is seen, or there is another look.
    #[test]
    #[cfg_attr(miri, ignore = "many rounds")]
    fn nothing_comes_into_force_between_a_look_and_the_sleep() {
        let shared = shared(&[]);
        let it = client(&shared, NOW);
        let meet = std::sync::Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..20_000 {
                    meet.wait();
                    it.figures.partial_since_ms.store(clock::mono_ms() + 1, Relaxed);
                    came_into_force(&it, &shared);
                    meet.wait();
                }
            });
            for _ in 0..20_000 {
                shared.time_limits.look();
                meet.wait();
                round(&shared, 0);
                meet.wait();
                assert!(next(&shared).is_some_and(|next| next > 0));
                it.figures.partial_since_ms.store(0, Relaxed);
            }
        });
    }
}
