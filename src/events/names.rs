//! Who listens to which channel, and to which pattern of channels.
//!
//! Channels stand in several maps with a lock each, so that workers that publish rarely meet. Patterns
//! share one: they are few, and a message looks only at those that begin as its channel does.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use parking_lot::RwLock;
use smallvec::SmallVec;

use crate::clients::{ClientHandle, ClientId};
use crate::glob;

const PARTS: usize = 16;
/// A map that was this large gives memory back when most of it is empty.
const SHRINK_MIN: usize = 64;

/// Listeners in ascending order of their numbers; one or two need no memory of their own.
#[derive(Default)]
pub struct Listeners(SmallVec<[Arc<ClientHandle>; 2]>);

impl Listeners {
    /// Adds one, who is not there yet.
    pub fn add(&mut self, client: &Arc<ClientHandle>) {
        let at = self.0.partition_point(|other| other.id < client.id);
        self.0.insert(at, Arc::clone(client));
    }

    /// Removes one.
    pub fn remove(&mut self, client: ClientId) {
        if let Ok(at) = self.0.binary_search_by_key(&client, |other| other.id) {
            self.0.remove(at);
        }
    }
}

impl std::ops::Deref for Listeners {
    type Target = [Arc<ClientHandle>];
    fn deref(&self) -> &[Arc<ClientHandle>] {
        &self.0
    }
}

type Part = HashMap<Box<[u8]>, Listeners>;

/// A part on cache lines of its own.
#[derive(Default)]
#[repr(align(64))]
struct Aligned(RwLock<Part>);

/// Channels and their listeners.
#[derive(Default)]
pub struct Channels {
    parts: [Aligned; PARTS],
    len: AtomicUsize,
}

impl Channels {
    /// Number of channels.
    pub fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Only spreads names over locks; the maps have a keyed hash of their own.
    fn part(&self, name: &[u8]) -> &RwLock<Part> {
        let mixed =
            name.iter().rev().take(8).fold(name.len(), |sum, b| sum.wrapping_mul(31) + usize::from(*b));
        &self.parts[mixed % PARTS].0
    }

    /// Adds a listener, who is not one yet.
    pub fn add(&self, name: &[u8], client: &Arc<ClientHandle>) {
        let mut part = self.part(name).write();
        if let Some(listeners) = part.get_mut(name) {
            return listeners.add(client);
        }
        let mut listeners = Listeners::default();
        listeners.add(client);
        part.insert(name.into(), listeners);
        self.len.fetch_add(1, Relaxed);
    }

    /// Removes a listener.
    pub fn remove(&self, name: &[u8], client: ClientId) {
        let mut part = self.part(name).write();
        let Some(listeners) = part.get_mut(name) else { return };
        listeners.remove(client);
        if !listeners.is_empty() {
            return;
        }
        part.remove(name);
        self.len.fetch_sub(1, Relaxed);
        if part.capacity() > SHRINK_MIN && part.len() < part.capacity() / 4 {
            part.shrink_to_fit();
        }
    }

    /// Hands the listeners of a channel to `f`.
    pub fn with<R>(&self, name: &[u8], f: impl FnOnce(&Listeners) -> R) -> Option<R> {
        self.part(name).read().get(name).map(f)
    }

    /// The names that `wanted` says.
    pub fn names(&self, wanted: impl Fn(&[u8]) -> bool) -> Vec<Box<[u8]>> {
        let mut names = Vec::new();
        for part in &self.parts {
            names.extend(part.0.read().keys().filter(|name| wanted(name)).cloned());
        }
        names
    }
}

/// Patterns and their listeners, for all workers.
#[derive(Default)]
pub struct Patterns {
    patterns: RwLock<super::patterns::Patterns>,
    len: AtomicUsize,
}

impl Patterns {
    /// Number of patterns.
    #[inline]
    pub fn len(&self) -> usize {
        self.len.load(Relaxed)
    }

    /// Adds a listener, who is not one yet.
    pub fn add(&self, pattern: &[u8], client: &Arc<ClientHandle>) {
        let mut patterns = self.patterns.write();
        patterns.add(pattern, client);
        self.len.store(patterns.len(), Relaxed);
    }

    /// Removes a listener.
    pub fn remove(&self, pattern: &[u8], client: ClientId) {
        let mut patterns = self.patterns.write();
        patterns.remove(pattern, client);
        self.len.store(patterns.len(), Relaxed);
    }

    /// Hands every pattern that matches a channel to `f`, with its listeners.
    pub fn for_each_match(&self, channel: &[u8], mut f: impl FnMut(&[u8], &Listeners)) {
        if self.len() == 0 {
            return;
        }
        self.patterns.read().for_each_like(channel, |pattern, listeners| {
            if glob::matches(pattern, channel, false) {
                f(pattern, listeners);
            }
        });
    }
}
