//! Collections that are packed, or may be, under the lock of their shard.

use super::{Pos, ShardGuard};
use crate::keyspace::entry::{NewEntry, ValuePart};
use crate::keyspace::hash::KeyHash;
use crate::keyspace::pack::Packing;
use crate::keyspace::{Content, Meta, OutOfSpace};
use crate::values::{Scratch, Value};
use smallvec::SmallVec;

impl ShardGuard<'_> {
    /// Changes what a key holds that is no packed string (None of that). A packed collection comes out of line if it does
    /// not keep its size, or is changed again before the next walk; if there is no room for that, nothing has changed.
    pub fn change<R>(
        &mut self,
        pos: Pos,
        hash: KeyHash,
        f: impl FnOnce(&mut Value) -> R,
    ) -> Result<Option<(R, Pos)>, OutOfSpace> {
        let entry = self.entry(pos);
        let Some(mut value) = entry.packed().map(|packed| packed.unpack(entry.kind())) else {
            return Ok(self.value_mut(pos).map(|value| (f(value), pos)));
        };
        let result = f(&mut value);
        if self.locked.entry_mut(pos.place).rewrite_collection(&value) {
            return Ok(Some((result, pos)));
        }
        let meta = Meta { mark: true, ..self.entry(pos).meta() };
        let (pos, _) = self.replace(pos, hash, Content::Value(value), meta)?;
        Ok(Some((result, pos)))
    }

    /// The keys of a bucket's chain.
    pub(in crate::keyspace) fn chain(&self, front: usize) -> SmallVec<[Pos; 32]> {
        let block = self.locked.block();
        let entries = block.iter().flat_map(|b| b.chain_entries(front));
        entries.map(|(at, _, place)| Pos { at, place }).collect()
    }

    /// Packs a collection out of line that is small and was not changed since this was asked last.
    pub(in crate::keyspace) fn pack(&mut self, pos: Pos) -> Result<Packing, OutOfSpace> {
        let entry = self.locked.entry_mut(pos.place);
        if !entry.view().out_of_line().is_some_and(Value::is_small) {
            entry.was_walked();
            return Ok(Packing::Cannot);
        }
        if entry.take_mark() {
            return Ok(Packing::Later);
        }
        // Written elsewhere first: the value is moved out of the entry on the way.
        let mut scratch = Scratch::new();
        let view = entry.view();
        let Some(packed) = view.out_of_line().and_then(|value| value.pack(&mut scratch)) else {
            return Ok(Packing::Cannot);
        };
        let old = self.detached(pos.place);
        let hasher = self.batch.hasher();
        let new = NewEntry {
            key: old.key_part(hasher),
            value: ValuePart::Packed(packed.bytes),
            kind: old.kind(),
            meta: Meta { mark: packed.ints, ..old.meta() },
        };
        self.overwrite(pos, old.hash(hasher), &new, false)?;
        Ok(Packing::Done(packed.bytes.len()))
    }
}
