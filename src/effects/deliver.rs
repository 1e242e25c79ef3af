//! The consequences of a command, in their fixed order, while its keys are still locked.

use crate::commands::keys::{Keys, Parts};
use crate::effects::{Class, Effects};
use crate::keyspace::DbId;
use crate::shared::Shared;

/// Delivers what a command stated. Keys that it found expired come first. True if clients wait
/// for one of its keys: they are to be served once the locks are released.
#[inline]
#[must_use]
pub fn apply(shared: &Shared, keys: &Keys<'_, '_>, fx: &Effects) -> bool {
    if fx.is_empty() && !keys.any_expired() {
        return false;
    }
    if !shared.anyone_listens() {
        return false;
    }
    deliver(shared, keys, fx)
}

#[cold]
#[inline(never)]
fn deliver(shared: &Shared, keys: &Keys<'_, '_>, fx: &Effects) -> bool {
    for i in keys.expired() {
        expired(shared, keys.db(i), keys.key(i));
    }
    for (i, parts) in keys.expired_parts() {
        fields_expired(shared, keys.db(i), keys.key(i), parts == Parts::All);
    }
    if shared.notify_classes().contains(Class::NEW) {
        for i in keys.created() {
            key_event(shared, keys.db(i), keys.key(i), Class::NEW, "new");
        }
    }
    for (db, key) in &fx.replaced {
        shared.watches.touch(*db, key);
    }
    if fx.dirty > 0 {
        for event in &fx.events {
            let i = usize::from(event.key);
            shared.watches.touch(keys.db(i), keys.key(i));
        }
    }
    for event in &fx.events {
        let i = usize::from(event.key);
        key_event(shared, keys.db(i), keys.key(i), event.class, event.name);
    }
    !shared.waiters.is_empty() && signal(shared, keys, fx)
}

/// Signals every key that changed. What became of it, and for whom that is good, is seen when its
/// waiters are served; so no handler can forget to make a key ready.
fn signal(shared: &Shared, keys: &Keys<'_, '_>, fx: &Effects) -> bool {
    let mut any = false;
    for &db in &fx.databases {
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

/// A key's time came, whoever found out: a command, the wheel or a migration.
pub fn expired(shared: &Shared, db: DbId, key: &[u8]) {
    if !shared.anyone_listens() {
        return;
    }
    shared.watches.expired(db, key);
    key_event(shared, db, key, Class::EXPIRED, "expired");
    shared.pubsub.publish_expired(db, key);
    shared.waiters.signal(db, key);
}

/// The time of fields of a hash came, whoever found out. The key went with them if they were `all`.
pub fn fields_expired(shared: &Shared, db: DbId, key: &[u8], all: bool) {
    if !shared.anyone_listens() {
        return;
    }
    shared.watches.touch(db, key);
    key_event(shared, db, key, Class::HASH, "hexpired");
    if all {
        key_event(shared, db, key, Class::GENERIC, "del");
    }
}

/// A key went because memory was wanted.
pub fn evicted(shared: &Shared, db: DbId, key: &[u8]) {
    if !shared.anyone_listens() {
        return;
    }
    shared.watches.touch(db, key);
    key_event(shared, db, key, Class::EVICTED, "evicted");
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
