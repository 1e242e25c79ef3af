//! Stacks of items in 128-byte chunks, the chunks in blocks that are given back.
//!
//! ```text
//! Chunk   128 bytes   items [u64; 15], next u32, len u32        8.53 bytes per item when full
//! Block   128 chunks  16 KiB, filled from the front as needed; its free chunks form a list inside it
//! stack   u32         number of its first chunk, NIL when empty; only the first chunk may be partly filled
//! ```
//!
//! A chunk is taken from the lowest block that has room, so what lives long gathers at the bottom and the blocks of a
//! burst come free from the top. A block without used chunks goes back to the allocator, except for one that is kept
//! so that a load which swings about a block's edge does not allocate each time.

/// Items in a chunk.
const ITEMS: usize = 15;
/// Chunks in a block.
const CHUNKS: usize = 128;
/// The empty stack.
pub(super) const NIL: u32 = u32::MAX;

#[derive(Clone)]
#[repr(C, align(64))]
struct Chunk {
    items: [u64; ITEMS],
    next: u32,
    len: u32,
}

const _: () = assert!(size_of::<Chunk>() == 128);

/// A block that is absent has no capacity; its place in the array is taken again by the next block that is needed.
struct Block {
    chunks: Vec<Chunk>,
    free: u32,
    used: u32,
}

impl Block {
    const ABSENT: Block = Block { chunks: Vec::new(), free: NIL, used: 0 };

    fn is_absent(&self) -> bool {
        self.chunks.capacity() == 0
    }
}

/// All chunks of one wheel.
pub(super) struct Chunks {
    blocks: Vec<Block>,
    /// A bit per block that exists and has room.
    room: Vec<u64>,
    /// No word of `room` before this one has a bit.
    lowest: usize,
    live_blocks: usize,
    /// Blocks that exist and have no used chunk: at most one outlives a call.
    idle_blocks: usize,
    used: usize,
}

impl Chunks {
    pub(super) fn new() -> Self {
        Chunks { blocks: Vec::new(), room: Vec::new(), lowest: 0, live_blocks: 0, idle_blocks: 0, used: 0 }
    }

    /// Puts an item on a stack and returns the stack.
    #[inline]
    pub(super) fn push(&mut self, stack: u32, item: u64) -> u32 {
        if stack != NIL {
            let chunk = self.chunk_mut(stack);
            if let Some(place) = chunk.items.get_mut(chunk.len as usize) {
                *place = item;
                chunk.len += 1;
                return stack;
            }
        }
        self.push_in_new_chunk(stack, item)
    }

    #[cold]
    #[inline(never)]
    fn push_in_new_chunk(&mut self, next: u32, item: u64) -> u32 {
        let id = self.take();
        let chunk = self.chunk_mut(id);
        chunk.items[0] = item;
        chunk.next = next;
        chunk.len = 1;
        id
    }

    /// Takes the item on top of a stack that is not empty; returns it and the stack.
    #[inline]
    pub(super) fn pop(&mut self, stack: u32) -> (u64, u32) {
        let chunk = self.chunk_mut(stack);
        chunk.len -= 1;
        let item = chunk.items[chunk.len as usize];
        if chunk.len > 0 {
            return (item, stack);
        }
        let next = chunk.next;
        self.give(stack);
        (item, next)
    }

    /// Whether the first chunk of a stack holds this item.
    pub(super) fn tops_with(&self, stack: u32, item: u64) -> bool {
        if stack == NIL {
            return false;
        }
        let chunk = self.chunk(stack);
        chunk.items[..chunk.len as usize].contains(&item)
    }

    /// Chunks that hold items.
    pub(super) fn used(&self) -> usize {
        self.used
    }

    /// Chunks that are paid for and hold nothing.
    pub(super) fn free(&self) -> usize {
        self.live_blocks * CHUNKS - self.used
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.live_blocks * CHUNKS * size_of::<Chunk>()
            + self.blocks.capacity() * size_of::<Block>()
            + self.room.capacity() * size_of::<u64>()
    }

    #[inline]
    fn chunk(&self, id: u32) -> &Chunk {
        &self.blocks[id as usize / CHUNKS].chunks[id as usize % CHUNKS]
    }

    #[inline]
    fn chunk_mut(&mut self, id: u32) -> &mut Chunk {
        &mut self.blocks[id as usize / CHUNKS].chunks[id as usize % CHUNKS]
    }

    fn take(&mut self) -> u32 {
        let number = match self.lowest_with_room() {
            Some(number) => number,
            None => self.add_block(),
        };
        let block = &mut self.blocks[number];
        if block.used == 0 {
            self.idle_blocks -= 1;
        }
        let place = if block.free == NIL {
            block.chunks.push(Chunk { items: [0; ITEMS], next: NIL, len: 0 });
            block.chunks.len() - 1
        } else {
            let place = block.free as usize;
            block.free = block.chunks[place].next;
            place
        };
        block.used += 1;
        self.used += 1;
        if block.used as usize == CHUNKS {
            self.room[number / 64] &= !(1 << (number % 64));
        }
        u32::try_from(number * CHUNKS + place)
            .expect("invariant: fewer than 2^32 chunks (512 GiB) in a wheel")
    }

    fn give(&mut self, id: u32) {
        let (number, place) = (id as usize / CHUNKS, id as usize % CHUNKS);
        let block = &mut self.blocks[number];
        block.chunks[place].next = block.free;
        block.free = place as u32;
        block.used -= 1;
        self.used -= 1;
        self.room[number / 64] |= 1 << (number % 64);
        self.lowest = self.lowest.min(number / 64);
        if block.used == 0 {
            block.chunks.clear();
            block.free = NIL;
            self.idle_blocks += 1;
            if self.idle_blocks > 1 {
                self.drop_block(number);
            }
        }
    }

    fn lowest_with_room(&mut self) -> Option<usize> {
        while let Some(&word) = self.room.get(self.lowest) {
            if word != 0 {
                return Some(self.lowest * 64 + word.trailing_zeros() as usize);
            }
            self.lowest += 1;
        }
        None
    }

    fn add_block(&mut self) -> usize {
        let number = self.blocks.iter().position(Block::is_absent).unwrap_or(self.blocks.len());
        if number == self.blocks.len() {
            self.blocks.push(Block::ABSENT);
            self.room.resize(self.blocks.len().div_ceil(64), 0);
        }
        self.blocks[number].chunks = Vec::with_capacity(CHUNKS);
        self.room[number / 64] |= 1 << (number % 64);
        self.lowest = self.lowest.min(number / 64);
        self.live_blocks += 1;
        self.idle_blocks += 1;
        number
    }

    fn drop_block(&mut self, number: usize) {
        self.blocks[number] = Block::ABSENT;
        self.room[number / 64] &= !(1 << (number % 64));
        self.live_blocks -= 1;
        self.idle_blocks -= 1;
        while self.blocks.last().is_some_and(Block::is_absent) {
            self.blocks.pop();
        }
        self.room.truncate(self.blocks.len().div_ceil(64));
        self.lowest = self.lowest.min(self.room.len());
        if self.blocks.capacity() > 4 * self.blocks.len() + 64 {
            self.blocks.shrink_to(2 * self.blocks.len());
            self.room.shrink_to(2 * self.room.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_gives_back_what_was_put_on_it() {
        let mut chunks = Chunks::new();
        let mut stack = NIL;
        for item in 0..100 {
            stack = chunks.push(stack, item);
        }
        assert_eq!(chunks.used(), 100usize.div_ceil(ITEMS));
        assert!(chunks.tops_with(stack, 99) && !chunks.tops_with(stack, 3) && !chunks.tops_with(NIL, 0));
        for want in (0..100).rev() {
            let (item, rest) = chunks.pop(stack);
            assert_eq!(item, want);
            stack = rest;
        }
        assert_eq!((stack, chunks.used()), (NIL, 0));
    }

    #[test]
    fn blocks_come_and_go_with_the_items() {
        let per_block = ITEMS * CHUNKS;
        let mut chunks = Chunks::new();
        let (mut low, mut high) = (NIL, NIL);
        for item in 0..(3 * per_block) as u64 {
            low = chunks.push(low, item);
        }
        for item in 0..(3 * per_block) as u64 {
            high = chunks.push(high, item);
        }
        assert_eq!((chunks.live_blocks, chunks.free()), (6, 0));
        while low != NIL {
            low = chunks.pop(low).1;
        }
        assert_eq!((chunks.live_blocks, chunks.idle_blocks), (4, 1), "one is kept");
        for item in 0..(2 * per_block) as u64 {
            low = chunks.push(low, item);
        }
        assert_eq!((chunks.live_blocks, chunks.free()), (5, 0), "absent places are taken again");
        while high != NIL {
            high = chunks.pop(high).1;
        }
        while low != NIL {
            low = chunks.pop(low).1;
        }
        assert_eq!((chunks.live_blocks, chunks.used()), (1, 0));
        assert!(chunks.bytes() < 80 << 10, "{}", chunks.bytes());
    }
}
