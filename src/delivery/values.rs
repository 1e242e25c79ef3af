//! What keys hold after a change, to those who follow them (`__value@N__:<key>`).
//!
//! Read under the locks of the command that changed them, so each follower sees the values in their order.

use smallvec::SmallVec;

use crate::delivery::{plain, value_max};
use crate::effects::audience::Interest;
use crate::effects::{Class, Effects};
use crate::keys::{Guards, Keys};
use crate::keyspace::{Batch, DbId, EntryRef};
use crate::shared::Shared;

/// Said of keys whose whole database was emptied or exchanged.
const DATABASE: &str = "database";

/// The keys that a command changed, each once, under the first event that it stated for them.
#[cold]
pub(super) fn changed(shared: &Shared, keys: &mut Keys<'_, '_>, fx: &Effects) {
    let mut changed: SmallVec<[(usize, &'static str); 4]> = SmallVec::new();
    if fx.dirty > 0 {
        for event in fx.events.iter().filter(|event| event.class != Class::KEY_MISS) {
            add(&mut changed, keys, usize::from(event.key), event.name);
        }
    }
    let expired: SmallVec<[(usize, &'static str); 4]> = keys
        .expired()
        .map(|i| (i, "expired"))
        .chain(keys.expired_parts().map(|(i, _)| (i, "hexpired")))
        .collect();
    for (i, event) in expired {
        add(&mut changed, keys, i, event);
    }
    for (i, event) in changed {
        tell(shared, keys, i, event);
    }
    if let Guards::Open(batch) = &keys.guards {
        for &db in fx.databases() {
            database(shared, batch, db, keys.now());
        }
    }
}

/// Adds a key, unless it is there. A key may stand in the view twice.
fn add(
    changed: &mut SmallVec<[(usize, &'static str); 4]>,
    keys: &Keys<'_, '_>,
    i: usize,
    event: &'static str,
) {
    let same = |j: usize| j == i || keys.db(j) == keys.db(i) && keys.key(j) == keys.key(i);
    // A command of very many keys names each once, or tells of one twice: looking for it would be quadratic.
    let near = &changed[changed.len().saturating_sub(NEAR)..];
    if !near.iter().any(|(j, _)| same(*j)) {
        changed.push((i, event));
    }
}

/// How far back a key is looked for that was told of already.
const NEAR: usize = 16;

fn tell(shared: &Shared, keys: &mut Keys<'_, '_>, i: usize, event: &'static str) {
    // Locks are let go early only by commands that change nothing.
    if matches!(keys.guards, Guards::None) {
        return;
    }
    let (db, key) = (keys.db(i), keys.key(i).to_vec());
    let there = keys.with_entry(i, |entry| now(shared, db, Some(&entry), &key, event));
    if there.is_none() {
        gone(shared, db, &key, event);
    }
}

/// A key is gone.
pub(super) fn gone(shared: &Shared, db: DbId, key: &[u8], event: &'static str) {
    now(shared, db, None, key, event);
}

/// A key holds what is in this entry now; without one, it is gone.
pub(super) fn now(shared: &Shared, db: DbId, entry: Option<&EntryRef<'_>>, key: &[u8], event: &'static str) {
    if !shared.audience.wants(Interest::VALUES) {
        return;
    }
    let held = entry.and_then(EntryRef::value);
    let content =
        || (entry.and_then(|e| plain(e, held.as_deref())), entry.and_then(|entry| entry.deadline()));
    shared.feeds.changed(db, key, event, value_max(shared), content);
}

/// A whole database was emptied or exchanged. Behind the gate, so everything can be looked at.
fn database(shared: &Shared, batch: &Batch<'_>, db: DbId, now_ms: u64) {
    for key in shared.feeds.followed(db) {
        let hash = batch.hash_key(&key);
        let guard = batch.lock(db, hash);
        let entry = guard.find(hash, &key).map(|pos| guard.entry(pos));
        let entry = entry.filter(|e| e.deadline().is_none_or(|at| at >= now_ms));
        now(shared, db, entry.as_ref(), &key, DATABASE);
    }
    shared.feeds.database_changed(db, DATABASE);
}
