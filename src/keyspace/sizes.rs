//! How large the values of a database are, type by type: each key looked at in a small database, some in a large one.
//!
//! Nothing is counted while commands run: whoever asks walks. What that may cost is bounded, and a shard's lock is held
//! for one bucket's keys after the other, as by SCAN.

use super::batch::Batch;
use super::{DbId, EntryRef};
use crate::values::{Kind, Value};

/// Sizes 0, 1, 2 to 3, 4 to 7 and so on.
const SIZE_CLASSES: usize = 65;

/// Parts of hash space from which a large database is estimated, evenly apart.
const PARTS: usize = 64;
/// Keys by which the memory of a database that is emptied is estimated.
const WEIGHED_MAX: usize = 512;
/// Cursors of SCAN are below this.
const CURSORS: u64 = 1 << 44;
/// Steps in which all of a small database is looked at; a table that has just been emptied may need many.
const STEPS_MAX: usize = 256;

/// Values by type and size: bytes of strings, elements of everything else.
#[derive(Clone, Debug)]
pub struct Sizes {
    by_kind: [[u64; SIZE_CLASSES]; Kind::ALL.len()],
    seen: u64,
    keys: u64,
}

impl Sizes {
    /// Looks at `most` keys at most, and some more of the buckets that these stand in. `shift` moves the parts that are
    /// looked at in a large database.
    pub(super) fn of(batch: &Batch<'_>, db: DbId, most: usize, shift: u64) -> Sizes {
        let mut sizes =
            Sizes { by_kind: [[0; SIZE_CLASSES]; Kind::ALL.len()], seen: 0, keys: batch.len(db) as u64 };
        if batch.len(db) <= most {
            sizes.count_all(batch, db, most);
        } else {
            sizes.estimate(batch, db, most, shift);
        }
        sizes
    }

    fn count_all(&mut self, batch: &Batch<'_>, db: DbId, most: usize) {
        let mut cursor = 0;
        for _ in 0..STEPS_MAX {
            cursor = batch.scan(db, cursor, most.max(1), &mut |entry| self.add(&entry));
            if cursor == 0 {
                // All there were: keys may have come and gone since they were counted.
                self.keys = self.seen;
                return;
            }
        }
    }

    fn estimate(&mut self, batch: &Batch<'_>, db: DbId, most: usize, shift: u64) {
        let apart = CURSORS / PARTS as u64;
        for part in 0..PARTS as u64 {
            let from = (shift % apart) + part * apart;
            batch.scan(db, from, most.div_ceil(PARTS), &mut |entry| self.add(&entry));
        }
    }

    fn add(&mut self, entry: &EntryRef<'_>) {
        let class = size(entry).checked_ilog2().map_or(0, |log| log as usize + 1);
        self.by_kind[entry.kind() as usize][class] += 1;
        self.seen += 1;
    }

    /// Whether every key was looked at.
    pub fn is_exact(&self) -> bool {
        self.seen >= self.keys
    }

    /// Keys that were looked at.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// By the name of each type: the smallest size of each class that has keys, and how many it has; about, unless this is
    /// exact.
    pub fn by_type(&self) -> impl Iterator<Item = (&'static str, Vec<(u64, u64)>)> {
        let scale = if self.is_exact() { 1.0 } else { self.keys as f64 / self.seen.max(1) as f64 };
        Kind::ALL.iter().zip(&self.by_kind).map(move |(kind, classes)| {
            let there = classes.iter().enumerate().filter(|(_, keys)| **keys > 0);
            let from = |class: usize| if class == 0 { 0 } else { 1_u64 << (class - 1) };
            let class = |(class, keys): (usize, &u64)| (from(class), (*keys as f64 * scale).round() as u64);
            (kind.name(), there.map(class).collect())
        })
    }
}

/// Bytes that the values of a database take out of line: all of them, or estimated from a few hundred keys.
pub(super) fn out_of_line(batch: &Batch<'_>, db: DbId) -> usize {
    let (mut seen, mut bytes) = (0_usize, 0_usize);
    let mut add = |entry: EntryRef<'_>| {
        seen += 1;
        bytes += entry.out_of_line().map_or(0, Value::memory);
    };
    let keys = batch.len(db);
    if keys <= WEIGHED_MAX {
        let mut cursor = 0;
        for _ in 0..STEPS_MAX {
            cursor = batch.scan(db, cursor, WEIGHED_MAX, &mut add);
            if cursor == 0 {
                break;
            }
        }
        return bytes;
    }
    for part in 0..PARTS as u64 {
        batch.scan(db, part * (CURSORS / PARTS as u64), WEIGHED_MAX / PARTS, &mut add);
    }
    (bytes as f64 / seen.max(1) as f64 * keys as f64) as usize
}

/// Bytes of a string, elements of a collection.
fn size(entry: &EntryRef<'_>) -> u64 {
    let held = entry.value();
    let len = match held.as_deref() {
        None => entry.bytes().map_or(0, <[u8]>::len),
        Some(Value::Str(blob)) => blob.len(),
        Some(Value::List(list)) => list.len(),
        Some(Value::Set(set)) => set.len(),
        Some(Value::Hash(hash)) => hash.len(),
        Some(Value::ZSet(zset)) => zset.len(),
        Some(Value::Stream(stream)) => return stream.len(),
    };
    len as u64
}
