//! The queues of waiting clients, and who serves them.
//!
//! Every key that somebody waits for has a queue in order of arrival. A write that changes such
//! a key *signals* it while the key is locked; the worker that signalled serves the queue once its
//! command is over and no key is locked any more. At most one worker serves a key at a time, so
//! waiters are tried one after the other, in order, whichever workers pushed. A signal that comes
//! while a key is being served makes its server go round again.
//!
//! Nothing is lost, since everything happens under locks that both sides take: a client joins the
//! queues under the locks of its keys, after it found nothing there, so a later write finds it;
//! a waiter that one server skips, because another has it in hand, is marked and tried again.
//! This file knows no command and no connection: `tests/blocking_model.rs` compiles it against loom.
//!
//! States of a waiter (changed under the table's mutex, read by its owner without):
//! * WAITING: in its queues; whoever serves one of its keys may take it in hand.
//! * TRIED: in the hands of one server, still in its queues. Its answer may be set meanwhile (a
//!   time-out): that one stands if the trial comes to nothing.
//! * ANSWERED: in no queue; the answer is there, and the owner is told.
//! * GONE: in no queue; its connection ended.

use std::collections::{HashMap, VecDeque};

use super::sync::{Arc, AtomicU8, AtomicUsize, Mutex, Ordering};

const WAITING: u8 = 0;
const TRIED: u8 = 1;
const ANSWERED: u8 = 2;
const GONE: u8 = 3;

/// Sets of kinds of keys that a waiter wants to be tried for.
pub type Kinds = u8;
/// A list is there.
pub const LIST: Kinds = 1;
/// A sorted set.
pub const ZSET: Kinds = 2;
/// A stream.
pub const STREAM: Kinds = 4;
/// No such key, or one of any other type.
pub const OTHER: Kinds = 8;
const KIND_BITS: usize = 4;

/// A key that is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// Its database.
    pub db: u16,
    /// Its bytes.
    pub key: Box<[u8]>,
}

/// A client that waits.
pub struct Waiter<P, A> {
    /// What its owner and its server need to know.
    pub what: P,
    client: u64,
    ticket: u64,
    names: Vec<Name>,
    kinds: Kinds,
    timed: bool,
    state: AtomicU8,
    hand: Mutex<Hand<A>>,
}

/// What is noted about a waiter while it is tried, and its answer.
struct Hand<A> {
    answer: Option<A>,
    /// A server of another of its keys passed it over meanwhile.
    again: bool,
    /// Its connection ended meanwhile.
    abandoned: bool,
}

impl<P, A> Waiter<P, A> {
    /// Whether it wants to be tried for one of these kinds.
    pub fn wants(&self, kinds: Kinds) -> bool {
        self.kinds & kinds != 0
    }

    /// Whether an answer is there, or a server has it in hand and may be about to give one.
    pub fn is_in_hand(&self) -> bool {
        self.state.load(Ordering::Acquire) != WAITING
    }

    /// Whether [`take_answer`](Self::take_answer) has something.
    pub fn is_answered(&self) -> bool {
        self.state.load(Ordering::Acquire) == ANSWERED
    }

    /// The answer, once.
    pub fn take_answer(&self) -> Option<A> {
        if self.is_answered() { self.hand.lock().answer.take() } else { None }
    }
}

/// What a trial that came to nothing means for the waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutBack {
    /// It waits on, where it was.
    Waits,
    /// Another of its keys became ready meanwhile: try again.
    TryAgain,
    /// It was given an answer meanwhile: tell its owner.
    Answered,
    /// Nobody waits any more.
    Gone,
}

/// How much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Clients with a time-out.
    pub timed: usize,
    /// Keys that clients wait for.
    pub keys: usize,
    /// Of these, keys where the absence of the key is waited for too.
    pub keys_on_nokey: usize,
}

struct Queue<P, A> {
    waiters: VecDeque<Arc<Waiter<P, A>>>,
    /// How many of them want each kind.
    wanted: [usize; KIND_BITS],
    /// Signalled, and not taken up since.
    ready: bool,
    /// Somebody serves it.
    served: bool,
}

impl<P, A> Default for Queue<P, A> {
    fn default() -> Self {
        Queue { waiters: VecDeque::new(), wanted: [0; KIND_BITS], ready: false, served: false }
    }
}

impl<P, A> Queue<P, A> {
    fn wants(&self, kind: Kinds) -> bool {
        bits(kind).any(|bit| self.wanted[bit] > 0)
    }
}

fn bits(kinds: Kinds) -> impl Iterator<Item = usize> {
    (0..KIND_BITS).filter(move |bit| kinds & (1 << bit) != 0)
}

/// The queues of one database.
type Queues<P, A> = HashMap<Box<[u8]>, Queue<P, A>>;

struct Inner<P, A> {
    /// By database.
    queues: Vec<Queues<P, A>>,
    /// By client, those without keys included.
    clients: HashMap<u64, Arc<Waiter<P, A>>>,
    /// Keys to serve, in the order in which they became ready.
    ready: VecDeque<Name>,
    next_ticket: u64,
    figures: Figures,
}

/// All that waits.
pub struct Table<P, A> {
    inner: Mutex<Inner<P, A>>,
    /// Number of queues; what a write looks at when nobody waits.
    keys: AtomicUsize,
    /// Keys to serve.
    ready: AtomicUsize,
}

impl<P, A> Default for Table<P, A> {
    fn default() -> Self {
        let inner = Inner {
            queues: Vec::new(),
            clients: HashMap::new(),
            ready: VecDeque::new(),
            next_ticket: 0,
            figures: Figures::default(),
        };
        Table { inner: Mutex::new(inner), keys: AtomicUsize::new(0), ready: AtomicUsize::new(0) }
    }
}

impl<P, A> Inner<P, A> {
    fn queue(&mut self, name: &Name) -> Option<&mut Queue<P, A>> {
        self.queues.get_mut(usize::from(name.db))?.get_mut(&name.key)
    }

    /// Marks a queue; whether there is one.
    fn signal(&mut self, db: u16, key: &[u8]) -> bool {
        let Some(queue) = self.queues.get_mut(usize::from(db)).and_then(|keys| keys.get_mut(key)) else {
            return false;
        };
        if !queue.ready {
            queue.ready = true;
            // Its server looks at the mark when it is done.
            if !queue.served {
                self.ready.push_back(Name { db, key: key.into() });
            }
        }
        true
    }

    fn join(&mut self, waiter: &Arc<Waiter<P, A>>) {
        for name in &waiter.names {
            let db = usize::from(name.db);
            if self.queues.len() <= db {
                self.queues.resize_with(db + 1, HashMap::new);
            }
            let queue = self.queues[db].entry(name.key.clone()).or_default();
            // In order, as tickets are given and used under the same lock.
            queue.waiters.push_back(Arc::clone(waiter));
            let (was_there, on_nokey) = (queue.waiters.len() > 1 || queue.served, queue.wants(OTHER));
            bits(waiter.kinds).for_each(|bit| queue.wanted[bit] += 1);
            self.figures.keys += usize::from(!was_there);
            self.figures.keys_on_nokey += usize::from(!on_nokey && waiter.kinds & OTHER != 0);
        }
        self.figures.timed += usize::from(waiter.timed);
        self.clients.insert(waiter.client, Arc::clone(waiter));
    }

    fn leave(&mut self, waiter: &Waiter<P, A>) {
        for name in &waiter.names {
            let Some(queue) = self.queue(name) else { continue };
            let at = queue.waiters.partition_point(|w| w.ticket < waiter.ticket);
            if queue.waiters.get(at).is_none_or(|w| w.ticket != waiter.ticket) {
                continue;
            }
            queue.waiters.remove(at);
            let on_nokey = queue.wants(OTHER);
            bits(waiter.kinds).for_each(|bit| queue.wanted[bit] -= 1);
            let no_longer = on_nokey && !queue.wants(OTHER);
            self.figures.keys_on_nokey -= usize::from(no_longer);
            self.drop_if_done(name);
        }
        self.figures.timed -= usize::from(waiter.timed);
        self.clients.remove(&waiter.client);
    }

    fn drop_if_done(&mut self, name: &Name) {
        if self.queue(name).is_some_and(|queue| queue.waiters.is_empty() && !queue.served) {
            self.queues[usize::from(name.db)].remove(&name.key);
            self.figures.keys -= 1;
        }
    }

    fn stop_serving(&mut self, name: &Name) {
        let Some(queue) = self.queue(name) else { return };
        queue.served = false;
        if queue.ready && !queue.waiters.is_empty() {
            self.ready.push_back(name.clone());
        }
        self.drop_if_done(name);
    }

    /// Settles a waiter that waits or is tried.
    fn answer(&mut self, waiter: &Waiter<P, A>, answer: Option<A>) {
        self.leave(waiter);
        if let Some(answer) = answer {
            waiter.hand.lock().answer = Some(answer);
        }
        waiter.state.store(ANSWERED, Ordering::Release);
    }

    fn end(&mut self, waiter: &Waiter<P, A>, answer: A) -> bool {
        match waiter.state.load(Ordering::Relaxed) {
            WAITING => {
                self.answer(waiter, Some(answer));
                true
            }
            TRIED => {
                waiter.hand.lock().answer.get_or_insert(answer);
                false
            }
            _ => false,
        }
    }
}

impl<P, A> Table<P, A> {
    /// Whether no key is waited for; one load on the write path.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.keys.load(Ordering::Relaxed) == 0
    }

    /// Whether a key is to be served.
    #[inline]
    pub fn has_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire) > 0
    }

    /// Runs `f` on what is behind the mutex and publishes the two counts.
    fn with<R>(&self, f: impl FnOnce(&mut Inner<P, A>) -> R) -> R {
        let mut inner = self.inner.lock();
        let result = f(&mut inner);
        self.keys.store(inner.figures.keys, Ordering::Relaxed);
        self.ready.store(inner.ready.len(), Ordering::Release);
        result
    }

    /// A client begins to wait; its keys are locked by the caller, who found nothing in them.
    ///
    /// With `behind` it did not look, since others are in front of it: its keys are signalled, so
    /// that somebody looks for it. Then the caller has to serve once its locks are released.
    pub fn join(
        &self,
        client: u64,
        names: Vec<Name>,
        kinds: Kinds,
        timed: bool,
        behind: bool,
        what: P,
    ) -> Arc<Waiter<P, A>> {
        self.with(|inner| {
            inner.next_ticket += 1;
            let waiter = Arc::new(Waiter {
                what,
                client,
                ticket: inner.next_ticket,
                names,
                kinds,
                timed,
                state: AtomicU8::new(WAITING),
                hand: Mutex::new(Hand { answer: None, again: false, abandoned: false }),
            });
            inner.join(&waiter);
            if behind {
                for name in &waiter.names {
                    inner.signal(name.db, &name.key);
                }
            }
            waiter
        })
    }

    /// A key changed; its lock is held by the caller, who has to serve once it is released.
    /// Whether anybody waits for it.
    pub fn signal(&self, db: u16, key: &[u8]) -> bool {
        !self.is_empty() && self.with(|inner| inner.signal(db, key))
    }

    /// A whole database changed.
    pub fn signal_database(&self, db: u16) -> bool {
        if self.is_empty() {
            return false;
        }
        self.with(|inner| {
            let keys: Vec<_> =
                inner.queues.get(usize::from(db)).into_iter().flat_map(|q| q.keys().cloned()).collect();
            keys.iter().filter(|key| inner.signal(db, key)).count() > 0
        })
    }

    /// Whether others will have been served from this key before whoever joins now: it is
    /// signalled or being served.
    pub fn is_contested(&self, db: u16, key: &[u8]) -> bool {
        !self.is_empty()
            && self.with(|inner| {
                let queue = inner.queues.get(usize::from(db)).and_then(|keys| keys.get(key));
                queue.is_some_and(|queue| queue.ready || queue.served)
            })
    }

    /// Takes up the key that has been ready for longest. `None` if there is none, or only such
    /// as others serve already.
    pub fn take_ready(&self) -> Option<Serving<'_, P, A>> {
        self.with(|inner| {
            while let Some(name) = inner.ready.pop_front() {
                let Some(queue) = inner.queue(&name) else { continue };
                if queue.ready && !queue.served {
                    queue.ready = false;
                    queue.served = true;
                    return Some(Serving { table: self, name, after: 0, over: false });
                }
            }
            None
        })
    }

    /// The trial of a waiter gave it this answer. Its owner is to be told.
    pub fn answer(&self, waiter: &Waiter<P, A>, answer: A) {
        self.with(|inner| inner.answer(waiter, Some(answer)));
    }

    /// The trial of a waiter came to nothing.
    pub fn put_back(&self, waiter: &Waiter<P, A>) -> PutBack {
        self.with(|inner| {
            let mut hand = waiter.hand.lock();
            let (again, abandoned, answered) =
                (std::mem::take(&mut hand.again), hand.abandoned, hand.answer.is_some());
            drop(hand);
            if abandoned {
                inner.leave(waiter);
                waiter.state.store(GONE, Ordering::Release);
                PutBack::Gone
            } else if answered {
                inner.answer(waiter, None);
                PutBack::Answered
            } else if again {
                PutBack::TryAgain
            } else {
                waiter.state.store(WAITING, Ordering::Release);
                PutBack::Waits
            }
        })
    }

    /// Ends a wait with an answer from outside (a time-out). Whether that is settled now; if not,
    /// the waiter is in somebody's hands, and this is its answer if nothing better comes.
    pub fn end(&self, waiter: &Waiter<P, A>, answer: A) -> bool {
        self.with(|inner| inner.end(waiter, answer))
    }

    /// The same for the wait of a client, if it waits.
    pub fn end_client(&self, client: u64, answer: A) -> Option<Arc<Waiter<P, A>>> {
        self.with(|inner| {
            let waiter = inner.clients.get(&client).cloned()?;
            inner.end(&waiter, answer);
            Some(waiter)
        })
    }

    /// The connection ended: nobody wants an answer any more.
    pub fn abandon(&self, waiter: &Waiter<P, A>) {
        self.with(|inner| match waiter.state.load(Ordering::Relaxed) {
            WAITING => {
                inner.leave(waiter);
                waiter.state.store(GONE, Ordering::Release);
            }
            TRIED => waiter.hand.lock().abandoned = true,
            _ => {}
        });
    }

    /// How much waits.
    pub fn figures(&self) -> Figures {
        self.inner.lock().figures
    }
}

/// The right to serve one key; given back when it is dropped.
pub struct Serving<'t, P, A> {
    table: &'t Table<P, A>,
    name: Name,
    after: u64,
    over: bool,
}

impl<P, A> Serving<'_, P, A> {
    /// The key.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Takes the next waiter in hand that wants this kind of key. When there is none, the service
    /// of the key is over, in the same step, so that nobody can join in between unseen.
    pub fn next(&mut self, kind: Kinds) -> Option<Arc<Waiter<P, A>>> {
        let (name, after) = (&self.name, self.after);
        let next = self.table.with(|inner| {
            let found = inner.queue(name).and_then(|queue| Self::find(queue, after, kind));
            if found.is_none() {
                inner.stop_serving(name);
            }
            found
        });
        match &next {
            Some(waiter) => self.after = waiter.ticket,
            None => self.over = true,
        }
        next
    }

    fn find(queue: &mut Queue<P, A>, after: u64, kind: Kinds) -> Option<Arc<Waiter<P, A>>> {
        if !queue.wants(kind) {
            return None;
        }
        let from = queue.waiters.partition_point(|w| w.ticket <= after);
        for waiter in queue.waiters.range(from..).filter(|w| w.kinds & kind != 0) {
            match waiter.state.load(Ordering::Relaxed) {
                WAITING => {
                    waiter.state.store(TRIED, Ordering::Relaxed);
                    return Some(Arc::clone(waiter));
                }
                TRIED => waiter.hand.lock().again = true,
                _ => {}
            }
        }
        None
    }
}

impl<P, A> Drop for Serving<'_, P, A> {
    fn drop(&mut self) {
        if !self.over {
            self.table.with(|inner| inner.stop_serving(&self.name));
        }
    }
}
