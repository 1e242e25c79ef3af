//! Messages go out in portions, so that a message for very many subscribers does not hold up the requests of others.
//!
//! A worker runs its tasks in the order in which they were woken. A thousand subscribers who are told something at once are a
//! thousand tasks, with a system call each, before any request that comes in meanwhile. So only a portion of them
//! may send between two looks at the sockets; the others wait here, first come, first served.

use tokio::sync::{Notify, Semaphore};

/// Mailboxes that are emptied between two looks at the sockets: about 100 µs, as a slice of expiry.
const PORTION: usize = 32;

/// Who may send messages in this turn of a worker.
pub struct MailTurns {
    places: Semaphore,
    /// Somebody waits.
    wanted: Notify,
}

impl MailTurns {
    /// A first turn, with all its places.
    pub fn new() -> MailTurns {
        MailTurns { places: Semaphore::new(PORTION), wanted: Notify::new() }
    }

    /// Waits for a place. At once, unless many want one.
    pub async fn take(&self) {
        if let Ok(place) = self.places.try_acquire() {
            return place.forget();
        }
        self.wanted.notify_one();
        if let Ok(place) = self.places.acquire().await {
            place.forget();
        }
    }

    /// Gives out places, turn by turn, while somebody waits. Runs until the worker ends.
    pub async fn run(&self) {
        loop {
            self.wanted.notified().await;
            loop {
                // The sockets are looked at before this goes on.
                tokio::task::yield_now().await;
                self.places.add_permits(PORTION - self.places.available_permits().min(PORTION));
                if self.places.available_permits() > 0 {
                    break;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    #[tokio::test]
    async fn everybody_has_a_turn_in_order_and_others_are_in_between() {
        let (turns, order) = (Rc::new(MailTurns::new()), Rc::new(RefCell::new(Vec::new())));
        let local = tokio::task::LocalSet::new();
        let giving = Rc::clone(&turns);
        local.spawn_local(async move { giving.run().await });
        let all = 5 * PORTION;
        for i in 0..all {
            let (turns, order) = (Rc::clone(&turns), Rc::clone(&order));
            local.spawn_local(async move {
                turns.take().await;
                order.borrow_mut().push(i);
            });
        }
        let seen = Rc::clone(&order);
        local
            .run_until(async move {
                let mut before = 0;
                while before < all {
                    tokio::task::yield_now().await;
                    let now = seen.borrow().len();
                    assert!(
                        now - before <= 2 * PORTION,
                        "{} between two turns of another task",
                        now - before
                    );
                    before = now;
                }
            })
            .await;
        assert_eq!(*order.borrow(), (0..all).collect::<Vec<_>>());
    }
}
