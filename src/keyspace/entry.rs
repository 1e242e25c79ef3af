//! The packed entry: a key with what it holds, in one place of a segment.
//!
//! ```text
//! 0  klen u8     bytes of the key area
//! 1  flags u8    TTL 01  OUT 02  MARK 04  DEAD 08  kind 70  LONG 80
//! 2  vlen u16    bytes of the value area
//! 4  access u16  LRU/LFU bits
//! 6  deadline 48 bits, unix ms; 12 armed u32      only if TTL
//! 6 or 16        key area: the key; if LONG its hash (8) and a pointer to it (8)
//! then           value area: the bytes; if OUT padding to a multiple of 8 and the `Value`
//! ```
//!
//! klen, TTL, LONG and the key area stay as they were written for as long as the entry
//! is in its place, and so does the number of units: compaction reads these without the
//! shard's lock. The rest of the header is read by it too (DEAD, vlen) and so is always
//! accessed atomically. Everything else is guarded by the lock of the entry's shard.
//!
//! The `Value` of a collection or a long string stands in the entry: nothing is between the key
//! and the collection's own memory, and no allocation is spent on a head. Entries start at
//! multiples of 8 and their size is one, so the padding takes what rounding up would take.
//!
//! A small collection that is left alone becomes packed (pack.rs): its one run of bytes is the value area, and is read
//! there. To be changed it is copied; what keeps the entry's size is written back, anything else brings it out of line.
//!
//! MARK says of a string that OBJECT ENCODING is raw; of a packed set that its bytes are an intset; and of another packed
//! collection, and of a value out of line, that it was changed since pack.rs last came by.
//!
//! A living entry owns its value and its key's box. A dead one owns nothing.
#![allow(unsafe_code)] // typed access to raw places

mod change;
mod incoming;
mod short;

pub(super) use change::EntryMut;
pub use change::InPlace;
pub(super) use incoming::{KeyPart, NewEntry, Owned, ValuePart, discard_key, discard_value, key_part};
use short::{copy, is_same};

use super::Meta;
use super::arena::Delta;
use super::hash::{Hasher, KeyHash};
use super::segment::{Ref, Segments, UNIT};
use crate::values::{Kind, Lent, PACKED_MAX, Packed, Value};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU8, AtomicU16, AtomicU32, Ordering::Relaxed};

const TTL: u8 = 0x01;
const OUT: u8 = 0x02;
const MARK: u8 = 0x04;
const DEAD: u8 = 0x08;
const KIND_SHIFT: u8 = 4;
const KIND: u8 = 0x70;
const LONG: u8 = 0x80;

const HEADER: usize = 6;
const HEADER_TTL: usize = 16;
const LONG_AREA: usize = 16;

/// Longest key that stands in its entry.
pub(super) const KEY_PACKED_MAX: usize = 255;
/// Longest string that stands in its entry.
pub(super) const VALUE_PACKED_MAX: usize = 1024;
/// Most bytes of a collection that stand in its entry. A segment has room for sixteen of them, so what is left over at its
/// end is less than an allocator would round up.
pub(super) const COLLECTION_PACKED_MAX: usize = PACKED_MAX;
/// Deadlines end here (the year 10889).
pub(super) const DEADLINE_MAX: u64 = (1 << 48) - 1;

const _: () = assert!(
    (HEADER_TTL + KEY_PACKED_MAX + COLLECTION_PACKED_MAX).div_ceil(UNIT) <= super::segment::UNITS_MAX
);
const _: () = assert!(size_of::<usize>() == 8, "entries hold 64-bit pointers");
const _: () = assert!(align_of::<Value>() <= UNIT && size_of::<Value>().is_multiple_of(UNIT));

/// A key that is too long for its entry.
type LongKey = Box<[u8]>;

const fn header(ttl: bool) -> usize {
    if ttl { HEADER_TTL } else { HEADER }
}

/// Where a value stands behind a key that ends here.
const fn out_at(key_end: usize) -> usize {
    key_end.next_multiple_of(UNIT)
}

const fn units(ttl: bool, key_area: usize, value_area: usize) -> usize {
    (header(ttl) + key_area + value_area).div_ceil(UNIT)
}

/// An address with header access. Atomic, so harmless without a lock.
#[derive(Clone, Copy)]
struct Raw(NonNull<u8>);

impl Raw {
    #[inline(always)]
    fn at(self, offset: usize) -> *mut u8 {
        self.0.as_ptr().wrapping_add(offset)
    }

    #[inline(always)]
    fn byte<'x>(self, offset: usize) -> &'x AtomicU8 {
        // SAFETY: header offsets lie in the first unit; the mapping outlives every caller in
        // this module, and header fields are accessed atomically everywhere.
        unsafe { AtomicU8::from_ptr(self.at(offset)) }
    }

    #[inline(always)]
    fn half<'x>(self, offset: usize) -> &'x AtomicU16 {
        // SAFETY: as `byte`; places are 8-byte aligned and the offsets even.
        unsafe { AtomicU16::from_ptr(self.at(offset).cast()) }
    }

    #[inline(always)]
    fn word<'x>(self, offset: usize) -> &'x AtomicU32 {
        // SAFETY: as `byte`; only used at 8 and 12 of an entry with TTL (16 bytes at least).
        unsafe { AtomicU32::from_ptr(self.at(offset).cast()) }
    }

    #[inline(always)]
    fn flags(self) -> u8 {
        self.byte(1).load(Relaxed)
    }

    #[inline(always)]
    fn key_area(self) -> usize {
        self.byte(0).load(Relaxed).into()
    }

    #[inline(always)]
    fn value_area(self) -> usize {
        self.half(2).load(Relaxed).into()
    }

    #[inline(always)]
    fn key_at(self) -> usize {
        header(self.flags() & TTL != 0)
    }

    fn units(self) -> usize {
        units(self.flags() & TTL != 0, self.key_area(), self.value_area())
    }

    fn set_deadline(self, deadline: u64, armed: u32) {
        let deadline = deadline.min(DEADLINE_MAX);
        self.half(6).store(deadline as u16, Relaxed);
        self.word(8).store((deadline >> 16) as u32, Relaxed);
        self.word(12).store(armed, Relaxed);
    }

    /// # Safety
    /// The value area at `offset` is inside this entry's place, and nobody else looks at it.
    #[inline(always)]
    unsafe fn write_value(self, offset: usize, value: ValuePart<'_>) {
        let to = self.at(offset);
        // SAFETY: by the contract.
        unsafe {
            match value {
                ValuePart::Packed(bytes) => copy(bytes, to),
                ValuePart::Out(value) => self.at(out_at(offset)).cast::<Owned>().write(value),
            }
        }
    }

    /// # Safety
    /// The entry is alive and LONG.
    unsafe fn long_key(self) -> *mut LongKey {
        // SAFETY: by the contract the key area is hash and pointer.
        unsafe { self.at(self.key_at() + 8).cast::<*mut LongKey>().read_unaligned() }
    }

    /// # Safety
    /// The entry is alive and OUT, and its shard is locked.
    #[inline(always)]
    unsafe fn out_value(self) -> *mut Value {
        self.at(out_at(self.key_at() + self.key_area())).cast()
    }
}

/// What a key holds that is no packed string, to be read.
pub enum Held<'g> {
    /// Out of line.
    There(&'g Value),
    /// A collection that is packed.
    Packed(Lent<'g>),
}

impl std::ops::Deref for Held<'_> {
    type Target = Value;
    #[inline]
    fn deref(&self) -> &Value {
        match self {
            Held::There(value) => value,
            Held::Packed(value) => value,
        }
    }
}

/// A key and what it holds, seen under its shard's lock.
#[derive(Clone, Copy)]
pub struct EntryRef<'g> {
    raw: Raw,
    _lock: PhantomData<&'g [u8]>,
}

impl<'g> EntryRef<'g> {
    /// # Safety
    /// A living entry whose shard stays locked, and is not changed, for `'g`.
    #[inline(always)]
    pub(super) unsafe fn new(segments: &Segments, place: Ref) -> Self {
        EntryRef { raw: Raw(segments.address(place)), _lock: PhantomData }
    }

    #[inline(always)]
    fn slice(&self, offset: usize, len: usize) -> &'g [u8] {
        // SAFETY: inside the entry by the layout; unchanged for 'g by the lock.
        unsafe { std::slice::from_raw_parts(self.raw.at(offset), len) }
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &'g [u8] {
        if self.raw.flags() & LONG != 0 {
            // SAFETY: alive and LONG; the box lives as long as the entry.
            return unsafe { &*self.raw.long_key() };
        }
        self.slice(self.raw.key_at(), self.raw.key_area())
    }

    /// The hash of the key.
    #[inline]
    pub(super) fn hash(&self, hasher: &Hasher) -> KeyHash {
        key_hash(self.raw, hasher)
    }

    /// Whether this is the entry of `key`.
    #[inline(always)]
    pub(super) fn is(&self, hash: KeyHash, key: &[u8]) -> bool {
        let flags = self.raw.flags();
        let key_at = header(flags & TTL != 0);
        if flags & LONG != 0 {
            return self.slice(key_at, 8) == hash.0.to_ne_bytes() && self.key() == key;
        }
        self.raw.key_area() == key.len() && is_same(self.slice(key_at, key.len()), key)
    }

    /// The type of what the key holds.
    #[inline]
    pub fn kind(&self) -> Kind {
        Kind::from_u8((self.raw.flags() >> KIND_SHIFT) & 7).expect("invariant: entries hold known kinds")
    }

    /// Whether the value stands in the entry, as bytes.
    #[inline]
    pub fn is_packed(&self) -> bool {
        self.raw.flags() & OUT == 0
    }

    /// The bytes of a packed string.
    #[inline]
    pub fn bytes(&self) -> Option<&'g [u8]> {
        (self.raw.flags() & (OUT | KIND) == 0).then(|| self.value_bytes())
    }

    /// The value area, which an entry that is not OUT has.
    #[inline]
    fn value_bytes(&self) -> &'g [u8] {
        let value_at = header(self.raw.flags() & TTL != 0) + self.raw.key_area();
        self.slice(value_at, self.raw.value_area())
    }

    /// The value that stands out of line.
    #[inline]
    pub fn out_of_line(&self) -> Option<&'g Value> {
        if self.is_packed() {
            return None;
        }
        // SAFETY: alive, OUT and locked for 'g; entries and the offset are multiples of 8.
        Some(unsafe { &*self.raw.out_value() })
    }

    /// What a key holds that is no packed string.
    #[inline]
    pub fn value(&self) -> Option<Held<'g>> {
        match self.out_of_line() {
            Some(value) => Some(Held::There(value)),
            None => self.packed().map(|packed| Held::Packed(packed.lend(self.kind()))),
        }
    }

    /// A packed collection.
    #[inline]
    pub fn packed(&self) -> Option<Packed<'g>> {
        let flags = self.raw.flags();
        const INTS: u8 = (Kind::Set as u8) << KIND_SHIFT | MARK;
        (flags & OUT == 0 && flags & KIND != 0)
            .then(|| Packed { bytes: self.value_bytes(), ints: flags & (KIND | MARK) == INTS })
    }

    /// When the key is due, in unix milliseconds.
    #[inline]
    pub fn deadline(&self) -> Option<u64> {
        (self.raw.flags() & TTL != 0).then(|| {
            u64::from(self.raw.half(6).load(Relaxed)) | u64::from(self.raw.word(8).load(Relaxed)) << 16
        })
    }

    /// The tick at which the wheel has this key armed; 0 without a deadline.
    #[inline]
    pub fn armed(&self) -> u32 {
        if self.raw.flags() & TTL != 0 { self.raw.word(12).load(Relaxed) } else { 0 }
    }

    /// The tick at which the wheel has the fields of this hash armed.
    #[inline]
    pub fn fields_armed(&self) -> Option<u32> {
        self.hash_of_fields()?.armed()
    }

    /// The earliest deadline of this hash's fields.
    pub fn next_field_deadline(&self) -> Option<u64> {
        self.hash_of_fields()?.next_deadline()
    }

    #[inline]
    fn hash_of_fields(&self) -> Option<&'g crate::values::Hash> {
        // The flags spare the look at the value of everything else.
        if self.kind() != Kind::Hash {
            return None;
        }
        if let Some(Value::Hash(hash)) = self.out_of_line() { Some(hash) } else { None }
    }

    /// The LRU/LFU bits.
    #[inline]
    pub fn access(&self) -> u16 {
        self.raw.half(4).load(Relaxed)
    }

    /// Stores the LRU/LFU bits if they differ.
    #[inline]
    pub fn set_access(&self, access: u16) {
        if self.access() != access {
            self.raw.half(4).store(access, Relaxed);
        }
    }

    /// Whether a string answers OBJECT ENCODING raw, whatever its length.
    #[inline]
    pub fn raw_encoding(&self) -> bool {
        self.mark()
    }

    /// The mark, whatever it says of a value of this kind.
    #[inline]
    fn mark(&self) -> bool {
        self.raw.flags() & MARK != 0
    }

    /// All of deadline, armed, access and mark.
    #[inline]
    pub fn meta(&self) -> Meta {
        Meta { deadline: self.deadline(), armed: self.armed(), access: self.access(), mark: self.mark() }
    }

    /// Bytes of segment that the entry takes.
    pub fn packed_bytes(&self) -> usize {
        self.raw.units() * UNIT
    }

    /// The key part, for another entry that takes its place; the box goes over with it.
    pub(super) fn key_part(&self, hasher: &Hasher) -> KeyPart<'g> {
        if self.raw.flags() & LONG != 0 {
            // SAFETY: alive and LONG.
            KeyPart::Long(self.hash(hasher).0, unsafe { self.raw.long_key() })
        } else {
            KeyPart::Packed(self.key())
        }
    }

    /// The value part, for another entry that takes its place; the value goes over with it.
    pub(super) fn value_part(&self) -> ValuePart<'g> {
        if self.is_packed() {
            return ValuePart::Packed(self.value_bytes());
        }
        // SAFETY: alive, OUT and locked.
        ValuePart::Out(unsafe { self.raw.out_value().cast::<Owned>().read() })
    }

    fn delta(&self) -> Delta {
        let flags = self.raw.flags();
        Delta {
            keys: -1,
            expires: -isize::from(flags & TTL != 0),
            boxed: -isize::from(flags & (OUT | LONG) != 0),
            loose: -isize::from(is_loose(flags)),
        }
    }
}

#[inline]
fn key_hash(raw: Raw, hasher: &Hasher) -> KeyHash {
    // SAFETY: klen, TTL, LONG and the key area never change while the entry is in its place.
    let area = unsafe { std::slice::from_raw_parts(raw.at(raw.key_at()), raw.key_area()) };
    if raw.flags() & LONG != 0 {
        let mut hash = [0; 8];
        hash.copy_from_slice(&area[..8]);
        return KeyHash(u64::from_ne_bytes(hash));
    }
    hasher.hash(area)
}

/// Whether flags are those of a collection that stands out of line.
fn is_loose(flags: u8) -> bool {
    flags & OUT != 0 && flags & KIND != 0
}

/// What compaction may see of an entry without its shard's lock.
pub(super) struct Glimpse {
    pub units: usize,
    /// None if it is dead.
    pub hash: Option<KeyHash>,
}

/// Looks at a place of a segment that is being evacuated (or of a database that nobody
/// else can reach). It must be the start of an entry.
pub(super) fn glimpse(segments: &Segments, place: Ref, hasher: &Hasher) -> Glimpse {
    let raw = Raw(segments.address(place));
    let dead = raw.flags() & DEAD != 0;
    Glimpse { units: raw.units(), hash: (!dead).then(|| key_hash(raw, hasher)) }
}

/// Drops what a living entry owns. Gives the size in units of whatever stands there.
///
/// # Safety
/// The start of an entry of a database that nobody can reach any more; once per entry.
pub(super) unsafe fn drop_boxes(segments: &Segments, place: Ref) -> usize {
    let raw = Raw(segments.address(place));
    let flags = raw.flags();
    if flags & DEAD == 0 {
        // SAFETY: alive; marked dead at once, so key and value are dropped once.
        unsafe {
            if flags & LONG != 0 {
                drop(Box::from_raw(raw.long_key()));
            }
            if flags & OUT != 0 {
                raw.out_value().drop_in_place();
            }
        }
        raw.byte(1).store(flags | DEAD, Relaxed);
    }
    raw.units()
}
