//! Buckets, and the block of them that a shard has.
//!
//! ```text
//! Bucket   64 bytes, one cache line
//!   0   tags [u8; 12]    low 8 bits of the hash of each slot's key
//!   12  live u16         bit i: slot i is taken (12 bits); upper 4 bits: see below
//!   14  next u16         index in the block of the overflow bucket, 0 is none
//!   16  refs [u32; 12]   places of the entries
//! Block    32 buckets, then the overflow buckets that are in use or spare
//! word     the block's address, in its low 6 bits the class of its capacity; 0 is none
//! ```
//!
//! The number of overflow buckets in use stands in the upper 4 bits of `live` of the
//! first four buckets: it is needed only where a bucket overflows, and a field of its own
//! would cost a line per block. A block never shrinks in place; one that is full is
//! replaced by a larger copy.
//!
//! All fields are atomics, read and written relaxed: they are guarded by the lock of the
//! shard, but prefetching looks at them without it. Such a look may see anything; what
//! keeps it from touching freed memory is the epoch.
#![allow(unsafe_code)] // blocks are allocated by hand, and prefetching is an intrinsic

use super::segment::Ref;
use crate::memory::allocator::Allocation;
use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Entries of a bucket.
pub(super) const SLOTS: usize = 12;
/// Buckets that the hash chooses among.
pub(super) const BUCKETS: usize = 32;
/// Entries of a shard without overflow.
pub(super) const SHARD_SLOTS: usize = SLOTS * BUCKETS;

const LIVE_ALL: u16 = (1 << SLOTS) - 1;
const ALIGN: usize = 64;
const CLASS_MASK: usize = ALIGN - 1;

/// Buckets of a block by class; sizes that jemalloc has, then steps of about a quarter.
const CAPACITY: [u16; 32] = {
    let mut c = [0_u16; 32];
    let first = [32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448];
    let mut i = 0;
    while i < 32 {
        c[i] = if i < 16 {
            first[i]
        } else {
            let n = (c[i - 1] as u32 * 13 / 8 / 64 + 1) * 64;
            if n > 65_472 { 65_472 } else { n as u16 }
        };
        i += 1;
    }
    c
};

const _: () =
    assert!(CAPACITY[0] as usize >= BUCKETS, "each block has the buckets that a hash chooses among");

/// A block as a shard's header has it: address and class.
pub(super) type Word = *mut Bucket;

/// Twelve slots and a link; one cache line.
#[repr(C, align(64))]
pub(super) struct Bucket {
    /// Tags 0 to 7; then tags 8 to 11, live, next.
    head: [AtomicU64; 2],
    refs: [AtomicU32; SLOTS],
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// The slots (a bit each) of a bucket that may hold a key with this tag.
#[inline(always)]
fn matching(low: u64, high: u64, tag: u8) -> u16 {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_mm_cmpeq_epi8, _mm_movemask_epi8, _mm_set_epi64x, _mm_set1_epi8};
        // SAFETY: SSE2 is part of x86-64.
        let bits = unsafe {
            let head = _mm_set_epi64x(high.cast_signed(), low.cast_signed());
            _mm_movemask_epi8(_mm_cmpeq_epi8(head, _mm_set1_epi8(tag.cast_signed())))
        };
        bits as u16 & (high >> 32) as u16 & LIVE_ALL
    }
    #[cfg(not(target_arch = "x86_64"))]
    matching_portable(low, high, tag)
}

#[cfg(any(test, not(target_arch = "x86_64")))]
fn matching_portable(low: u64, high: u64, tag: u8) -> u16 {
    let mut bits = 0_u16;
    for (i, byte) in low.to_le_bytes().iter().chain(&high.to_le_bytes()[..4]).enumerate() {
        bits |= u16::from(*byte == tag) << i;
    }
    bits & (high >> 32) as u16 & LIVE_ALL
}

impl Bucket {
    #[inline(always)]
    fn live(&self) -> u16 {
        (self.head[1].load(Relaxed) >> 32) as u16 & LIVE_ALL
    }

    #[inline(always)]
    fn next(&self) -> u16 {
        (self.head[1].load(Relaxed) >> 48) as u16
    }

    /// The bucket in which the chain goes on.
    #[inline(always)]
    pub fn overflow(&self) -> Option<usize> {
        Some(usize::from(self.next())).filter(|&next| next != 0)
    }

    #[inline(always)]
    pub fn matching(&self, tag: u8) -> u16 {
        matching(self.head[0].load(Relaxed), self.head[1].load(Relaxed), tag)
    }

    /// What the slot says, living or not.
    #[inline(always)]
    pub fn raw(&self, slot: usize) -> u32 {
        self.refs[slot].load(Relaxed)
    }

    /// The entry of a slot, if it is taken.
    #[inline(always)]
    pub fn get(&self, slot: usize) -> Option<Ref> {
        (slot < SLOTS && self.live() >> slot & 1 == 1).then(|| Ref(self.raw(slot)))
    }

    /// Points a taken slot to where its entry is now.
    #[inline]
    pub fn set(&self, slot: usize, place: Ref) {
        self.refs[slot].store(place.0, Relaxed);
    }

    #[inline]
    fn fill(&self, slot: usize, tag: u8, place: Ref) {
        self.refs[slot].store(place.0, Relaxed);
        let half = &self.head[slot / 8];
        let shift = slot % 8 * 8;
        half.store(half.load(Relaxed) & !(0xff << shift) | u64::from(tag) << shift, Relaxed);
        let high = &self.head[1];
        high.store(high.load(Relaxed) | 1 << (32 + slot), Relaxed);
    }

    /// Frees a slot.
    #[inline]
    pub fn clear(&self, slot: usize) {
        let high = &self.head[1];
        high.store(high.load(Relaxed) & !(1 << (32 + slot)), Relaxed);
    }

    fn set_next(&self, next: u16) {
        let high = &self.head[1];
        high.store(high.load(Relaxed) & !(0xffff << 48) | u64::from(next) << 48, Relaxed);
    }

    fn tag(&self, slot: usize) -> u8 {
        (self.head[slot / 8].load(Relaxed) >> (slot % 8 * 8)) as u8
    }
}

/// A block, owned. `into_word` and `from_word` carry it through a shard's header.
pub(super) struct Block {
    base: NonNull<Bucket>,
    class: usize,
}

// SAFETY: the buckets are atomics, and the block is owned.
unsafe impl Send for Block {}

impl Block {
    fn layout(class: usize) -> Layout {
        let bytes = usize::from(CAPACITY[class]) * size_of::<Bucket>();
        Layout::from_size_align(bytes, ALIGN).expect("invariant: a block is small")
    }

    fn of_class(class: usize) -> Block {
        let layout = Self::layout(class);
        // SAFETY: the layout is not empty.
        let p = unsafe { alloc_zeroed(layout) }.cast::<Bucket>();
        // All zero is an empty bucket.
        let Some(base) = NonNull::new(p) else { handle_alloc_error(layout) };
        Block { base, class }
    }

    /// An empty block with room for so many overflow buckets; None beyond what an index can name.
    pub fn new(overflow: usize) -> Option<Block> {
        let class = CAPACITY.iter().position(|&c| usize::from(c) >= BUCKETS + overflow)?;
        Some(Self::of_class(class))
    }

    pub fn bytes(&self) -> usize {
        usize::from(CAPACITY[self.class]) * size_of::<Bucket>()
    }

    /// Gives the ownership to a header.
    pub fn into_word(self) -> Word {
        let word = self.base.as_ptr().map_addr(|a| a | self.class);
        std::mem::forget(self);
        word
    }

    /// Takes the ownership back.
    ///
    /// # Safety
    /// A word of `into_word`, once; nobody may use the block through another view later on.
    pub unsafe fn from_word(word: Word) -> Option<Block> {
        let base = NonNull::new(word.map_addr(|a| a & !CLASS_MASK))?;
        Some(Block { base, class: word.addr() & CLASS_MASK })
    }

    pub fn view(&self) -> BlockView<'_> {
        BlockView { base: self.base, capacity: CAPACITY[self.class], _life: PhantomData }
    }

    /// The entries of a block in one that has no more overflow buckets than they need, whichever class that is; None if
    /// that would be no smaller and `always` is not set.
    pub fn rebuilt(view: BlockView<'_>, always: bool) -> Option<Block> {
        let buckets = |front| view.chain_entries(front).count().div_ceil(SLOTS).saturating_sub(1);
        let needed = (0..BUCKETS).map(buckets).sum::<usize>();
        let class = CAPACITY.iter().position(|&c| usize::from(c) >= BUCKETS + needed)?;
        if !always && CAPACITY[class] >= view.capacity {
            return None;
        }
        let block = Self::of_class(class);
        for (front, _, tag, place) in view.entries() {
            block.view().insert(front, tag, place)?;
        }
        Some(block)
    }

    /// A copy in the next larger class.
    pub fn enlarged(view: BlockView<'_>) -> Option<Block> {
        let class = CAPACITY.iter().position(|&c| c > view.capacity)?;
        let block = Self::of_class(class);
        for (from, to) in view.buckets().iter().zip(block.view().buckets()) {
            for (f, t) in from.head.iter().zip(&to.head) {
                t.store(f.load(Relaxed), Relaxed);
            }
            for (f, t) in from.refs.iter().zip(&to.refs) {
                t.store(f.load(Relaxed), Relaxed);
            }
        }
        Some(block)
    }
}

// SAFETY: the block was allocated, and lives as long as the view.
unsafe impl Allocation for BlockView<'_> {
    fn address(&self) -> Option<NonNull<u8>> {
        Some(self.base.cast())
    }

    fn bytes(&self) -> usize {
        usize::from(self.capacity) * size_of::<Bucket>()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout, and owned.
        unsafe { dealloc(self.base.as_ptr().cast(), Self::layout(self.class)) };
    }
}

/// A slot of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub bucket: u16,
    pub slot: u16,
}

/// The buckets of a block that somebody else keeps alive for `'a`.
#[derive(Clone, Copy)]
pub(super) struct BlockView<'a> {
    base: NonNull<Bucket>,
    capacity: u16,
    _life: PhantomData<&'a Bucket>,
}

impl<'a> BlockView<'a> {
    /// # Safety
    /// A word of `Block::into_word` whose block lives for `'a`: its shard is locked, or the epoch pinned.
    #[inline(always)]
    pub unsafe fn from_word(word: Word) -> Option<BlockView<'a>> {
        let base = NonNull::new(word.map_addr(|a| a & !CLASS_MASK))?;
        Some(BlockView { base, capacity: CAPACITY[word.addr() & 31], _life: PhantomData })
    }

    #[inline(always)]
    fn buckets(self) -> &'a [Bucket] {
        // SAFETY: `capacity` buckets were allocated and zeroed; they live for 'a.
        unsafe { std::slice::from_raw_parts(self.base.as_ptr(), self.capacity.into()) }
    }

    #[inline(always)]
    pub fn bucket(self, index: usize) -> &'a Bucket {
        &self.buckets()[index]
    }

    /// The bucket that a hash chooses. Every block has all of these, whatever its class.
    #[inline(always)]
    pub fn front(self, index: usize) -> &'a Bucket {
        debug_assert!(index < BUCKETS);
        // SAFETY: the smallest class has BUCKETS buckets, allocated and zeroed; they live for 'a.
        unsafe { self.base.add(index % BUCKETS).as_ref() }
    }

    /// The buckets of a chain with their indexes, the one in front first.
    pub fn chain(self, bucket: usize) -> Chain<'a> {
        Chain { view: self, next: Some(bucket) }
    }

    /// All slots that are taken, chain after chain: (bucket of the hash, where, tag, entry).
    pub fn entries(self) -> impl Iterator<Item = (usize, At, u8, Ref)> + 'a {
        (0..BUCKETS)
            .flat_map(move |front| self.chain_entries(front).map(move |(at, tag, r)| (front, at, tag, r)))
    }

    /// The taken slots of one chain.
    pub fn chain_entries(self, front: usize) -> impl Iterator<Item = (At, u8, Ref)> + 'a {
        self.chain(front).flat_map(|(index, bucket)| {
            (0..SLOTS).filter_map(move |slot| {
                let place = bucket.get(slot)?;
                Some((At { bucket: index as u16, slot: slot as u16 }, bucket.tag(slot), place))
            })
        })
    }

    /// Puts an entry into the chain; None if that needs a bucket and the block is full.
    #[inline]
    pub fn insert(self, front: usize, tag: u8, place: Ref) -> Option<At> {
        let bucket = self.bucket(front);
        let free = !bucket.live() & LIVE_ALL;
        if free != 0 {
            let slot = free.trailing_zeros() as u16;
            bucket.fill(slot.into(), tag, place);
            return Some(At { bucket: front as u16, slot });
        }
        self.insert_overflow(front, tag, place)
    }

    #[cold]
    #[inline(never)]
    fn insert_overflow(self, front: usize, tag: u8, place: Ref) -> Option<At> {
        let mut last = front;
        for (index, bucket) in self.chain(front) {
            let free = !bucket.live() & LIVE_ALL;
            if free != 0 {
                let slot = free.trailing_zeros() as u16;
                bucket.fill(slot.into(), tag, place);
                return Some(At { bucket: index as u16, slot });
            }
            last = index;
        }
        let used = self.overflow_used();
        let index = BUCKETS + used;
        if index >= self.capacity.into() {
            return None;
        }
        self.set_overflow_used(used + 1);
        self.bucket(index).fill(0, tag, place);
        self.bucket(last).set_next(index as u16);
        Some(At { bucket: index as u16, slot: 0 })
    }

    fn overflow_used(self) -> usize {
        (0..4).map(|i| (self.bucket(i).head[1].load(Relaxed) >> 44 & 0xf) << (4 * i)).sum::<u64>() as usize
    }

    fn set_overflow_used(self, n: usize) {
        for i in 0..4 {
            let high = &self.bucket(i).head[1];
            let nibble = (n as u64 >> (4 * i) & 0xf) << 44;
            high.store(high.load(Relaxed) & !(0xf << 44) | nibble, Relaxed);
        }
    }
}

/// Iterator over a chain.
pub(super) struct Chain<'a> {
    view: BlockView<'a>,
    next: Option<usize>,
}

impl<'a> Iterator for Chain<'a> {
    type Item = (usize, &'a Bucket);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let index = self.next?;
        let bucket = self.view.bucket(index);
        let next = usize::from(bucket.next());
        self.next = (next != 0).then_some(next);
        Some((index, bucket))
    }
}

/// Asks for a cache line that is soon read.
#[inline(always)]
pub(super) fn prefetch<T>(p: *const T) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a hint; any address will do.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(p.cast());
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = p;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn capacities_rise_and_keep_to_the_index() {
        assert!(CAPACITY.windows(2).all(|w| w[0] < w[1] || w[1] == 65_472));
        assert_eq!(CAPACITY[31], 65_472);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 256 }, ..ProptestConfig::default() })]
        #[test]
        fn matching_agrees_with_its_portable_twin(low: u64, high: u64, tag: u8) {
            prop_assert_eq!(matching(low, high, tag), matching_portable(low, high, tag));
        }

        #[test]
        fn a_block_is_a_multimap(ops in proptest::collection::vec((any::<bool>(), 0..40_usize, any::<u8>()), 1..if cfg!(miri) { 60 } else { 400 })) {
            let mut block = Block::new(0).expect("a block");
            let mut twin: Vec<(usize, u8, Ref)> = Vec::new();
            for (i, (insert, bucket, tag)) in ops.into_iter().enumerate() {
                let front = bucket.min(3);
                if insert || twin.is_empty() {
                    let place = Ref(i as u32 + 1);
                    let at = loop {
                        match block.view().insert(front, tag, place) {
                            Some(at) => break at,
                            None => block = Block::enlarged(block.view()).expect("room"),
                        }
                    };
                    prop_assert_eq!(block.view().bucket(at.bucket.into()).get(at.slot.into()), Some(place));
                    twin.push((front, tag, place));
                } else {
                    let (front, tag, place) = twin.swap_remove(bucket % twin.len());
                    let at = block.view().chain_entries(front).find(|e| e.2 == place).expect("there").0;
                    let b = block.view().bucket(at.bucket.into());
                    prop_assert!(b.matching(tag) >> at.slot & 1 == 1);
                    b.clear(at.slot.into());
                }
                if i % 16 == 0 && let Some(smaller) = Block::rebuilt(block.view(), i % 32 == 0) {
                    block = smaller;
                }
                let mut all: Vec<_> = block.view().entries().map(|(f, _, t, r)| (f, t, r)).collect();
                all.sort_by_key(|e| e.2);
                let mut expected = twin.clone();
                expected.sort_by_key(|e| e.2);
                prop_assert_eq!(all, expected);
            }
        }
    }
}
