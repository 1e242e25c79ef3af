//! Who looks on, and the ticks that they all see.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::mpsc::error::TrySendError;

use super::durations::Durations;
use super::figures::{self, Point};
use super::lists::Lists;
use crate::observe::http::{Body, Sender, Site};

/// Time between two frames.
const TICK: Duration = Duration::from_millis(250);
/// Ticks between two frames of lists and two points of the history.
const TICKS_PER_SECOND: u64 = 4;
/// Points of the history that a new viewer is given: one a second, as long as somebody looked.
const HISTORY_MAX: usize = 300;

/// The viewers, and what lets one frame say what happened since the one before.
#[derive(Default)]
pub(in crate::observe::http) struct Feed {
    viewers: RefCell<Vec<Sender>>,
    running: Cell<bool>,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    ticks: u64,
    /// Somebody came since the last frame.
    joined: bool,
    durations: Durations,
    lists: Lists,
    history: VecDeque<Point>,
}

/// Adds a viewer, and begins to tick if it is the first; none if there are too many.
pub(super) fn join(site: &Rc<Site>) -> Option<Body> {
    let (sender, body) = site.stream()?;
    let feed = &site.feed;
    // An empty queue takes it.
    let _ = sender.try_send(event("history", &figures::history(&feed.state.borrow().history)));
    feed.viewers.borrow_mut().push(sender);
    feed.state.borrow_mut().joined = true;
    if !feed.running.replace(true) {
        let running = Running(Rc::clone(site));
        tokio::task::spawn_local(async move {
            while running.0.feed.tick(&running.0) {
                tokio::time::sleep(TICK).await;
            }
        });
    }
    Some(body)
}

/// Ends the streams if the task that feeds them ends, however it ends: their readers connect again.
struct Running(Rc<Site>);

impl Drop for Running {
    fn drop(&mut self) {
        let feed = &self.0.feed;
        feed.running.set(false);
        feed.viewers.borrow_mut().clear();
        let history = std::mem::take(&mut feed.state.borrow_mut().history);
        // What was kept to make differences is old when somebody comes again.
        *feed.state.borrow_mut() = State { history, ..State::default() };
    }
}

impl Feed {
    /// Makes a frame and sends it; false if nobody looks any more.
    fn tick(&self, site: &Site) -> bool {
        self.viewers.borrow_mut().retain(|viewer| !viewer.is_closed());
        if self.viewers.borrow().is_empty() {
            return false;
        }
        let state = &mut *self.state.borrow_mut();
        let now = site.snapshot();
        let lately = state.durations.lately(now.mono_ms, &now.counters.commands);
        let point = Point::new(&now, &lately);
        let mut frames = vec![event("tick", &figures::tick(&now, &lately, &site.fields(figures::CELLS_MAX)))];
        if state.ticks.is_multiple_of(TICKS_PER_SECOND) || state.joined {
            frames.push(event("lists", &state.lists.take(&now, site)));
        }
        if state.ticks.is_multiple_of(TICKS_PER_SECOND) {
            if state.history.len() == HISTORY_MAX {
                state.history.pop_front();
            }
            state.history.push_back(point);
        }
        state.ticks += 1;
        state.joined = false;
        for frame in frames {
            // Who has not read the last frames misses this one.
            self.viewers
                .borrow_mut()
                .retain(|viewer| !matches!(viewer.try_send(frame.clone()), Err(TrySendError::Closed(_))));
        }
        true
    }
}

/// An event as the stream has it. JSON has no line breaks.
fn event(name: &str, data: &str) -> Bytes {
    Bytes::from(format!("event: {name}\ndata: {data}\n\n"))
}
