//! The consequences of a command, in their fixed order, while its keys are still locked.

mod caches;
mod values;

use crate::clients::ClientHandle;
use crate::effects::audience::Interest;
use crate::effects::changes::Changes;
use crate::effects::ended::{Ended, EndedField, Kept, KeptPart, Reason};
use crate::effects::{Class, Effects};
use crate::keys::{Keys, Parts};
use crate::keyspace::{DbId, EntryRef, Taken};
use crate::rdb::Plain;
use crate::shared::Shared;
use crate::values::Value;

/// Whose command it is, for those who are told of changes by others only.
pub struct By<'c> {
    /// The client.
    pub client: &'c ClientHandle,
    /// Where its worker collects what is broadcast after the batch.
    pub changes: &'c mut Changes,
}

/// Delivers what a command stated. Keys that it found expired come first. True if there is something
/// to see to once the locks are released: clients that wait for one of its keys, entries that wait for
/// their stream, or news for the client itself.
#[inline]
#[must_use]
pub fn apply(shared: &Shared, keys: &mut Keys<'_, '_>, fx: &Effects, by: By<'_>) -> bool {
    if fx.is_empty() && !keys.any_expired() {
        return false;
    }
    if !shared.anyone_listens() {
        return false;
    }
    deliver(shared, keys, fx, by)
}

#[cold]
#[inline(never)]
fn deliver(shared: &Shared, keys: &mut Keys<'_, '_>, fx: &Effects, by: By<'_>) -> bool {
    for i in keys.expired() {
        key_expired(shared, keys.db(i), keys.key(i));
    }
    for (i, parts) in keys.expired_parts() {
        fields_gone(shared, keys.db(i), keys.key(i), parts == Parts::All);
    }
    if keys.any_expired() {
        deliver_kept(shared, keys);
    }
    if shared.notify_classes().contains(Class::NEW) {
        for i in keys.created() {
            key_event(shared, keys.db(i), keys.key(i), Class::NEW, "new");
        }
    }
    for (db, key) in fx.replaced_keys() {
        shared.watches.touch(*db, key);
    }
    if fx.dirty > 0 {
        for event in &fx.events {
            let i = usize::from(event.key);
            shared.watches.touch(keys.db(i), keys.key(i));
        }
    }
    let told_itself = !shared.tracking.is_idle() && caches::invalidate(shared, keys, fx, by);
    for event in &fx.events {
        let i = usize::from(event.key);
        key_event(shared, keys.db(i), keys.key(i), event.class, event.name);
    }
    if shared.audience.wants(Interest::VALUES) {
        values::changed(shared, keys, fx);
    }
    (!shared.waiters.is_empty() && signal(shared, keys, fx)) | told_itself | shared.outbox.has_pending()
}

/// What the command removed as its time had come, with what it held.
fn deliver_kept(shared: &Shared, keys: &mut Keys<'_, '_>) {
    let fired_ms = keys.now();
    for Kept { db, key, what } in keys.take_kept() {
        match what {
            KeptPart::Key(taken, due_ms) => {
                let content = match &taken {
                    Taken::Bytes(bytes) => Plain::Text(bytes),
                    Taken::Value(value) => Plain::Value(value),
                };
                let reason = Reason::Access;
                ended(shared, &Ended { db, key: &key, field: None, content, due_ms, fired_ms, reason });
                if let Taken::Value(value) = taken {
                    keys.drop_later(value);
                }
            }
            KeptPart::Field(field) => field_ended(shared, db, &key, &field, fired_ms),
        }
    }
}

/// Signals every key that changed. What became of it, and for whom that is good, is seen when its
/// waiters are served; so no handler can forget to make a key ready.
fn signal(shared: &Shared, keys: &Keys<'_, '_>, fx: &Effects) -> bool {
    let mut any = false;
    for &db in fx.databases() {
        any |= shared.waiters.signal_database(db);
    }
    let changed = fx.events.iter().filter(|_| fx.dirty > 0).map(|event| event.key);
    for i in changed.chain(fx.ready.iter().copied()) {
        let i = usize::from(i);
        any |= shared.waiters.signal(keys.db(i), keys.key(i));
    }
    for i in keys.expired() {
        any |= shared.waiters.signal(keys.db(i), keys.key(i));
    }
    any
}

/// A key's time came, and a timer, a migration or eviction saw it. It is still there.
pub fn expired(shared: &Shared, db: DbId, entry: &EntryRef<'_>, reason: Reason, now_ms: u64) {
    if !shared.anyone_listens() {
        return;
    }
    let key = entry.key();
    caches::invalidate_one(shared, key);
    key_expired(shared, db, key);
    values::gone(shared, db, key, "expired");
    let held = entry.value();
    if let (Some(content), Some(due_ms)) = (plain(entry, held.as_deref()), entry.deadline()) {
        ended(shared, &Ended { db, key, field: None, content, due_ms, fired_ms: now_ms, reason });
    }
}

/// The time of fields of a hash came. The key is still there, and goes with them if they were `all`.
/// `fields` are they, if somebody wants to know.
pub fn fields_expired(
    shared: &Shared,
    db: DbId,
    entry: &EntryRef<'_>,
    all: bool,
    fields: &[EndedField],
    now_ms: u64,
) {
    if !shared.anyone_listens() {
        return;
    }
    caches::invalidate_one(shared, entry.key());
    fields_gone(shared, db, entry.key(), all);
    values::now(shared, db, (!all).then_some(entry), entry.key(), "hexpired");
    for field in fields {
        field_ended(shared, db, entry.key(), field, now_ms);
    }
}

/// Names of an expired key, to those who listen for names.
fn key_expired(shared: &Shared, db: DbId, key: &[u8]) {
    shared.watches.expired(db, key);
    key_event(shared, db, key, Class::EXPIRED, "expired");
    shared.pubsub.publish_expired(db, key);
    shared.waiters.signal(db, key);
}

/// The same of a hash of which fields expired.
fn fields_gone(shared: &Shared, db: DbId, key: &[u8], all: bool) {
    shared.watches.touch(db, key);
    key_event(shared, db, key, Class::HASH, "hexpired");
    if all {
        key_event(shared, db, key, Class::GENERIC, "del");
    }
}

fn field_ended(shared: &Shared, db: DbId, key: &[u8], field: &EndedField, fired_ms: u64) {
    let content = Plain::Text(&field.value);
    let (name, due_ms, reason) = (Some(&*field.name), field.due_ms, Reason::Field);
    ended(shared, &Ended { db, key, field: name, content, due_ms, fired_ms, reason });
}

/// To those who want to know what went.
fn ended(shared: &Shared, ended: &Ended<'_>) {
    if shared.audience.wants(Interest::ENDED) {
        shared.feeds.ended(ended, value_max(shared));
    }
    if shared.audience.wants(Interest::RULES) {
        let config = shared.config.load();
        shared.outbox.add(&config.expiry_rules, ended, value_max(shared));
    }
}

pub(super) fn value_max(shared: &Shared) -> usize {
    usize::try_from(shared.config.load().event_value_max).unwrap_or(usize::MAX)
}

/// What an entry holds, of which `held` is the value.
pub fn plain<'a>(entry: &EntryRef<'a>, held: Option<&'a Value>) -> Option<Plain<'a>> {
    entry.bytes().map(Plain::Text).or_else(|| held.map(Plain::Value))
}

/// A key went because memory was wanted.
pub fn evicted(shared: &Shared, db: DbId, key: &[u8]) {
    if !shared.anyone_listens() {
        return;
    }
    shared.watches.touch(db, key);
    caches::invalidate_one(shared, key);
    key_event(shared, db, key, Class::EVICTED, "evicted");
    values::gone(shared, db, key, "evicted");
    shared.waiters.signal(db, key);
}

/// Publishes one keyspace notification, if its class is configured.
pub fn key_event(shared: &Shared, db: DbId, key: &[u8], class: Class, event: &'static str) {
    let wanted = shared.notify_classes();
    if !wanted.intersects(class) || shared.pubsub.is_silent() {
        return;
    }
    if wanted.contains(Class::KEYSPACE) {
        let mut channel = format!("__keyspace@{db}__:").into_bytes();
        channel.extend_from_slice(key);
        shared.pubsub.publish(&channel, event.as_bytes());
    }
    if wanted.contains(Class::KEYEVENT) {
        let channel = format!("__keyevent@{db}__:{event}");
        shared.pubsub.publish(channel.as_bytes(), key);
    }
}
