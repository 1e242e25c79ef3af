//! `maxmemory-clients`: what all clients hold together, and who is disconnected when that is too much.
//!
//! While there is no limit nothing is summed: whoever would report asks one relaxed load. With one, the
//! owner of a connection reports after each turn what it holds, and whoever puts a message into a mailbox
//! reports too. Who finds the sum above the limit disconnects the largest clients until it is not.

use super::{ClientHandle, Clients, Role, State};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU64, AtomicUsize};

/// What a watched key or a subscription takes beside its name: entries on both sides, and their places in tables.
pub const NAME_OVERHEAD: usize = 96;

/// The sum of what was reported.
#[derive(Default)]
pub(super) struct Ledger {
    /// 0 is no limit.
    limit: AtomicUsize,
    total: AtomicUsize,
    /// Bytes of mailboxes that are on their way.
    pub in_transit: AtomicUsize,
    evicted: AtomicU64,
}

impl Ledger {
    #[inline]
    pub fn is_kept(&self) -> bool {
        self.limit.load(Relaxed) != 0
    }

    fn is_over(&self) -> bool {
        let limit = self.limit.load(Relaxed);
        // A little above it passes: the request that a client is just sending comes and goes.
        limit != 0 && self.total.load(Relaxed) > limit.saturating_add(limit / 4096)
    }
}

impl ClientHandle {
    /// Reports what this client holds now. Replicas and clients on their way out hold nothing.
    pub(super) fn report(&self) {
        let counts =
            matches!(self.role(), Role::Normal | Role::PubSub) && !self.state().contains(State::KILLED);
        self.report_as(if counts { self.memory() } else { 0 });
    }

    /// The swap makes concurrent reports add up: each accounts for what the one before it left.
    fn report_as(&self, now: usize) {
        let before = self.reported.swap(now, Relaxed);
        self.ledger.total.fetch_add(now.wrapping_sub(before), Relaxed);
    }

    pub(super) fn report_gone(&self) {
        self.report_as(0);
    }

    /// Disconnects for memory's sake; false if it was on its way out already.
    fn evict(&self) -> bool {
        let before = State::from_bits_truncate(self.state.fetch_or(State::KILLED.bits(), super::AcqRel));
        self.report_as(0);
        self.waker.wake();
        !before.contains(State::KILLED)
    }
}

impl Clients {
    /// Counts what a client holds, and makes room if all of them hold too much. A load without a limit.
    #[inline]
    pub fn account(&self, client: &ClientHandle) {
        if self.ledger.is_kept() {
            client.report();
            self.make_room();
        }
    }

    /// Bytes of messages for which nothing should be evicted, as they are on their way to their clients.
    #[inline]
    pub fn in_transit(&self) -> u64 {
        self.ledger.in_transit.load(Relaxed) as u64
    }

    /// Follows `maxmemory-clients`; 0 is no limit.
    pub fn set_memory_limit(&self, bytes: u64) {
        self.ledger.limit.store(usize::try_from(bytes).unwrap_or(usize::MAX), Relaxed);
        if bytes > 0 {
            self.list().iter().for_each(|client| client.report());
            self.make_room();
        }
    }

    /// Clients disconnected for memory's sake.
    pub fn evicted(&self) -> u64 {
        self.ledger.evicted.load(Relaxed)
    }

    pub(super) fn reset_evicted(&self) {
        self.ledger.evicted.store(0, Relaxed);
    }

    #[inline]
    fn make_room(&self) {
        if self.ledger.is_over() {
            self.evict();
        }
    }

    /// The largest go first. What is left above the limit belongs to clients with CLIENT NO-EVICT.
    #[cold]
    fn evict(&self) {
        let may_go = |client: &Arc<ClientHandle>| {
            !client.state().intersects(State::NO_EVICT | State::KILLED)
                && matches!(client.role(), Role::Normal | Role::PubSub)
        };
        let mut clients: Vec<_> = self.list().into_iter().filter(may_go).collect();
        clients.sort_unstable_by_key(|client| std::cmp::Reverse(client.reported.load(Relaxed)));
        for client in clients {
            if !self.ledger.is_over() {
                return;
            }
            let bytes = client.reported.load(Relaxed);
            if client.evict() {
                self.ledger.evicted.fetch_add(1, Relaxed);
                tracing::info!(client = client.id, addr = %client.addr, bytes, "client evicted: maxmemory-clients");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::NewClient;
    use super::*;

    fn clients(bytes: &[usize]) -> (Clients, Vec<Arc<ClientHandle>>) {
        let clients = Clients::new(1);
        let admit = |bytes: &usize| {
            let new =
                NewClient { worker: 0, fd: 0, addr: "a".into(), laddr: "l".into(), unix: true, now_ms: 0 };
            let client = clients.admit(100, new).unwrap();
            client.figures.qbuf.store(*bytes, Relaxed);
            client
        };
        let handles = bytes.iter().map(admit).collect();
        (clients, handles)
    }

    fn killed(handles: &[Arc<ClientHandle>]) -> Vec<bool> {
        handles.iter().map(|h| h.state().contains(State::KILLED)).collect()
    }

    #[test]
    fn the_largest_go_until_the_rest_fits() {
        let (clients, handles) = clients(&[10_000, 50_000, 20_000, 40_000]);
        clients.set_memory_limit(1 << 20);
        assert_eq!(clients.evicted(), 0);
        clients.set_memory_limit(40_000);
        assert_eq!(killed(&handles), [false, true, false, true]);
        assert_eq!(clients.evicted(), 2);
        // What was evicted counts no more, even if its owner is late.
        handles[1].report();
        assert!(!clients.ledger.is_over());
        // One that grows beyond the limit goes itself.
        handles[0].figures.out.store(100_000, Relaxed);
        clients.account(&handles[0]);
        assert_eq!(killed(&handles), [true, true, false, true]);
    }

    #[test]
    fn clients_that_must_stay_count_and_stay() {
        let (clients, handles) = clients(&[90_000, 1_000]);
        handles[0].set(State::NO_EVICT);
        clients.set_memory_limit(50_000);
        assert_eq!(killed(&handles), [false, true]);
        handles[0].clear(State::NO_EVICT);
        clients.account(&handles[0]);
        assert_eq!(killed(&handles), [true, true]);
    }

    #[test]
    fn the_sum_is_right_after_a_limit_came_and_went() {
        let (clients, handles) = clients(&[1_000, 2_000]);
        clients.set_memory_limit(1 << 20);
        clients.set_memory_limit(0);
        handles[0].figures.qbuf.store(5_000, Relaxed);
        clients.account(&handles[0]);
        clients.set_memory_limit(1 << 20);
        let all = handles[0].memory() + handles[1].memory();
        assert_eq!(clients.ledger.total.load(Relaxed), all);
        clients.remove(handles[0].id);
        assert_eq!(clients.ledger.total.load(Relaxed), handles[1].memory());
    }

    #[test]
    fn mail_counts_when_it_is_put_in() {
        let (clients, handles) = clients(&[0]);
        clients.set_memory_limit(50_000);
        handles[0].push(|out| out.extend(&[0; 60_000]));
        assert!(clients.ledger.is_over(), "whoever is served next will see it");
        clients.account(&handles[0]);
        assert_eq!(killed(&handles), [true]);
    }
}
