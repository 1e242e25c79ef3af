//! Models of the hand-over between clients that wait and workers that push, through every
//! interleaving that loom finds within three preemptions.
//!
//! The table is the real file, compiled against loom. `Server` stands for what is around it: a
//! list behind a lock per key as in `src/keyspace`, `pop_or_wait` as in `src/commands/list/moves.rs`,
//! `serve` and `attempt` as in `src/commands/waiting.rs`.
#![allow(dead_code, unreachable_pub)] // the table offers more than a model uses

#[path = "common/loom_mutex.rs"]
mod loom_mutex;
#[path = "common/model.rs"]
mod model;

mod sync {
    //! Loom's types with the interface that the table uses.
    pub use super::loom_mutex::Mutex;
    pub use loom::sync::Arc;
    pub use loom::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
}

#[path = "../src/blocking/table.rs"]
mod table;

use std::collections::VecDeque;

use loom::thread;
use model::model;
use sync::{Arc, Mutex};
use table::{LIST, Name, OTHER, PutBack, Table, Waiter};

/// `None` is a time-out.
type Answer = Option<u32>;
type Client = Waiter<Vec<usize>, Answer>;

struct Server {
    lists: Vec<Mutex<VecDeque<u32>>>,
    waiting: Table<Vec<usize>, Answer>,
}

/// What became of a blocking pop at once.
enum Popped {
    Got(u32),
    Waits(Arc<Client>),
}

impl Server {
    fn new(keys: usize) -> Arc<Server> {
        let lists = (0..keys).map(|_| Mutex::new(VecDeque::new())).collect();
        Arc::new(Server { lists, waiting: Table::default() })
    }

    fn name(key: usize) -> Name {
        Name { db: 0, key: Box::from([key as u8]) }
    }

    /// RPUSH, and what follows it.
    fn push(&self, key: usize, element: u32) {
        let mut list = self.lists[key].lock();
        list.push_back(element);
        let signalled = self.waiting.signal(0, &Server::name(key).key);
        drop(list);
        if signalled {
            self.serve();
        }
    }

    /// BLPOP of a client's keys, in ascending order.
    fn pop_or_wait(&self, client: u64, keys: &[usize]) -> Popped {
        let mut lists: Vec<_> = keys.iter().map(|&key| self.lists[key].lock()).collect();
        let first = lists.iter().position(|list| !list.is_empty());
        let behind = first.is_some_and(|i| self.waiting.is_contested(0, &Server::name(keys[i]).key));
        if let Some(i) = first.filter(|_| !behind) {
            return Popped::Got(lists[i].pop_front().expect("looked"));
        }
        let names = keys.iter().map(|&key| Server::name(key)).collect();
        let waiter = self.waiting.join(client, names, LIST, true, behind, keys.to_vec());
        drop(lists);
        if behind {
            self.serve();
        }
        Popped::Waits(waiter)
    }

    fn wait(&self, client: u64, keys: &[usize]) -> Arc<Client> {
        match self.pop_or_wait(client, keys) {
            Popped::Waits(waiter) => waiter,
            Popped::Got(_) => panic!("nothing is there"),
        }
    }

    fn serve(&self) {
        while let Some(mut serving) = self.waiting.take_ready() {
            loop {
                let key = usize::from(serving.name().key[0]);
                let kind = if self.lists[key].lock().is_empty() { OTHER } else { LIST };
                let Some(waiter) = serving.next(kind) else { break };
                if !self.attempt(&waiter) {
                    break;
                }
            }
        }
    }

    fn attempt(&self, waiter: &Client) -> bool {
        loop {
            let mut lists: Vec<_> = waiter.what.iter().map(|&key| self.lists[key].lock()).collect();
            let element = lists.iter_mut().find_map(|list| list.pop_front());
            drop(lists);
            if element.is_some() {
                self.waiting.answer(waiter, element);
                return true;
            }
            match self.waiting.put_back(waiter) {
                PutBack::TryAgain => {}
                PutBack::Answered => return true,
                PutBack::Waits | PutBack::Gone => return false,
            }
        }
    }

    fn left(&self) -> usize {
        self.lists.iter().map(|list| list.lock().len()).sum()
    }

    /// Nothing is left over when nobody waits.
    fn expect_quiet(&self) {
        assert!(self.waiting.is_empty() && !self.waiting.has_ready());
        assert_eq!(self.waiting.figures(), table::Figures::default());
    }
}

#[test]
fn a_push_while_a_client_begins_to_wait_is_not_lost() {
    model(|| {
        let server = Server::new(1);
        let other = Arc::clone(&server);
        let pusher = thread::spawn(move || other.push(0, 7));
        let popped = server.pop_or_wait(1, &[0]);
        pusher.join().expect("no panic");
        match popped {
            Popped::Got(element) => assert_eq!(element, 7),
            Popped::Waits(waiter) => assert_eq!(waiter.take_answer(), Some(Some(7))),
        }
        assert_eq!(server.left(), 0);
        server.expect_quiet();
    });
}

/// Two workers push at once: who came first gets what was pushed first.
#[test]
fn clients_are_served_in_the_order_in_which_they_came() {
    model(|| {
        let server = Server::new(1);
        let (first, second) = (server.wait(1, &[0]), server.wait(2, &[0]));
        let other = Arc::clone(&server);
        let pusher = thread::spawn(move || {
            let mut list = other.lists[0].lock();
            let element = if list.is_empty() && !other.waiting.is_contested(0, &[0]) { 0 } else { 1 };
            list.push_back(element);
            let signalled = other.waiting.signal(0, &[0]);
            drop(list);
            if signalled {
                other.serve();
            }
        });
        server.push(0, 5);
        pusher.join().expect("no panic");
        let answers = (first.take_answer(), second.take_answer());
        // 0 was pushed before the 5, so it is the first client's; else the 5 is.
        match answers {
            (Some(Some(0)), Some(Some(5))) | (Some(Some(5)), Some(Some(1 | 0))) => {}
            other => panic!("{other:?}"),
        }
        server.expect_quiet();
    });
}

/// A client waits for two keys and both get something: it takes one thing, and the rest stays.
#[test]
fn a_client_that_waits_for_two_keys_is_served_once() {
    model(|| {
        let server = Server::new(2);
        let waiter = server.wait(1, &[0, 1]);
        let other = Arc::clone(&server);
        let pusher = thread::spawn(move || other.push(1, 8));
        server.push(0, 7);
        pusher.join().expect("no panic");
        assert!(matches!(waiter.take_answer(), Some(Some(7 | 8))));
        assert_eq!(server.left(), 1);
        server.expect_quiet();
    });
}

/// What one server finds taken in hand by another is not forgotten: somebody else pops what the
/// first server was called for, while the other key gets something.
#[test]
fn a_client_in_other_hands_is_tried_again() {
    model(|| {
        let server = Server::new(2);
        let waiter = server.wait(1, &[0, 1]);
        let other = Arc::clone(&server);
        let pusher = thread::spawn(move || other.push(1, 8));
        // RPUSH and LPOP of one worker, with the service of the push after both.
        let mut list = server.lists[0].lock();
        list.push_back(7);
        let signalled = server.waiting.signal(0, &[0]);
        drop(list);
        let taken = server.lists[0].lock().pop_front();
        if signalled {
            server.serve();
        }
        pusher.join().expect("no panic");
        let answer = waiter.take_answer();
        assert!(answer.is_some(), "lost wake-up");
        assert_eq!(usize::from(taken.is_some()) + 1 + server.left(), 2);
        server.expect_quiet();
    });
}

/// A time-out against a push: one of them is the answer, and an element is never lost.
#[test]
fn a_time_out_takes_nothing_away() {
    model(|| {
        let server = Server::new(1);
        let waiter = server.wait(1, &[0]);
        let (other, mine) = (Arc::clone(&server), Arc::clone(&waiter));
        let clock = thread::spawn(move || {
            other.waiting.end(&mine, None);
        });
        server.push(0, 7);
        clock.join().expect("no panic");
        match waiter.take_answer() {
            Some(Some(7)) => assert_eq!(server.left(), 0),
            Some(None) => assert_eq!(server.left(), 1),
            other => panic!("{other:?}"),
        }
        server.expect_quiet();
    });
}

/// A connection that ends is no longer served, and leaves nothing behind.
#[test]
fn a_client_that_goes_leaves_nothing_behind() {
    model(|| {
        let server = Server::new(1);
        let waiter = server.wait(1, &[0]);
        let (other, mine) = (Arc::clone(&server), Arc::clone(&waiter));
        let owner = thread::spawn(move || other.waiting.abandon(&mine));
        server.push(0, 7);
        owner.join().expect("no panic");
        assert_eq!(server.left(), usize::from(!waiter.is_answered()));
        server.expect_quiet();
    });
}

/// A client that comes between a push and its service does not overtake who waited before.
#[test]
fn nobody_overtakes() {
    model(|| {
        let server = Server::new(1);
        let old = server.wait(1, &[0]);
        let other = Arc::clone(&server);
        let newcomer = thread::spawn(move || match other.pop_or_wait(2, &[0]) {
            Popped::Got(_) => panic!("overtaken"),
            Popped::Waits(waiter) => waiter,
        });
        server.push(0, 7);
        let newcomer = newcomer.join().expect("no panic");
        assert_eq!(old.take_answer(), Some(Some(7)));
        assert!(!newcomer.is_answered());
        server.waiting.abandon(&newcomer);
        server.expect_quiet();
    });
}

/// The same when there is enough for both: the newcomer, who stood back, is not forgotten.
#[test]
fn who_stands_back_is_served_too() {
    model(|| {
        let server = Server::new(1);
        let old = server.wait(1, &[0]);
        let other = Arc::clone(&server);
        let newcomer = thread::spawn(move || other.pop_or_wait(2, &[0]));
        let mut list = server.lists[0].lock();
        list.extend([7, 8]);
        let signalled = server.waiting.signal(0, &[0]);
        drop(list);
        if signalled {
            server.serve();
        }
        let got = match newcomer.join().expect("no panic") {
            Popped::Got(element) => Some(Some(element)),
            Popped::Waits(waiter) => waiter.take_answer(),
        };
        assert_eq!((old.take_answer(), got), (Some(Some(7)), Some(Some(8))));
        assert_eq!(server.left(), 0);
        server.expect_quiet();
    });
}
