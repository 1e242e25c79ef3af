//! Clients that cache what they read are told of what changed.

use crate::delivery::By;
use crate::effects::Effects;
use crate::effects::changes::NOBODY;
use crate::keys::Keys;
use crate::shared::Shared;

/// Tells those who may have cached what a command changed. Whether its client itself was told something.
pub(super) fn invalidate(shared: &Shared, keys: &Keys<'_, '_>, fx: &Effects, by: By<'_>) -> bool {
    let tracking = &shared.tracking;
    let mut told_itself = false;
    if !fx.databases().is_empty() {
        let (told, forgotten) = tracking.invalidate_all(by.client.id);
        told_itself |= told;
        if !forgotten.is_empty() {
            shared.helper.discard(Box::new(forgotten));
            shared.keyspace.wake_helper();
        }
    }
    for i in keys.expired().chain(keys.expired_parts().map(|(i, _)| i)) {
        let (hash, key) = (keys.hash(i).0, keys.key(i));
        told_itself |= tracking.invalidate(hash, key, NOBODY, Some(&mut *by.changes));
    }
    if fx.dirty > 0 {
        for event in &fx.events {
            let i = usize::from(event.key);
            let (hash, key) = (keys.hash(i).0, keys.key(i));
            told_itself |= tracking.invalidate(hash, key, by.client.id, Some(&mut *by.changes));
        }
    }
    told_itself
}

/// A key went or changed without anybody's command.
pub(super) fn invalidate_one(shared: &Shared, key: &[u8]) {
    if !shared.tracking.is_idle() {
        shared.tracking.invalidate(shared.keyspace.hash_key(key).0, key, NOBODY, None);
    }
}
