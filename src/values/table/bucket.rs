//! A bucket: the entries of one interval of hashes, as one run of bytes.
//!
//! ```text
//! empty, or:  count u16 | tags [u8; count] | entries, in the order of the tags
//! entry       key code | payload code | key | payload
//! code        LEB128 of: length << 2 | mark << 1 | 0        bytes stand inline
//!                        slot << 2   | mark << 1 | 1        bytes are in the side slab
//! ```
//!
//! A tag is eight bits of the hash. They stand together, so that a look-up finds the one
//! entry that may be meant first, and then only adds up the lengths of those before it.

/// The bytes of one bucket. Allocated exactly.
pub(super) type Bucket = Box<[u8]>;

const COUNT: usize = 2;

/// Where an entry stands in its bucket.
#[derive(Clone, Copy)]
pub(super) struct Span {
    /// Which of the entries it is.
    pub nth: usize,
    pub start: usize,
    pub end: usize,
    pub key: Code,
    pub payload: Code,
    /// Where the inline bytes begin.
    pub body: usize,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Code(pub u64);

impl Code {
    #[inline(always)]
    pub fn inline_len(self) -> usize {
        if self.0 & 1 == 0 { (self.0 >> 2) as usize } else { 0 }
    }

    #[inline(always)]
    pub fn slot(self) -> Option<usize> {
        (self.0 & 1 == 1).then_some((self.0 >> 2) as usize)
    }

    #[inline(always)]
    pub fn mark(self) -> bool {
        self.0 & 2 != 0
    }

    /// Bytes that it takes.
    pub fn len(self) -> usize {
        (u64::BITS - (self.0 | 1).leading_zeros()).div_ceil(7) as usize
    }

    fn write(self, out: &mut [u8]) {
        let (mut rest, last) = (self.0, out.len() - 1);
        for byte in &mut out[..last] {
            *byte = rest as u8 | 0x80;
            rest >>= 7;
        }
        out[last] = rest as u8;
    }
}

#[inline(always)]
fn read_code(bucket: &[u8], at: &mut usize) -> Code {
    let first = bucket[*at];
    *at += 1;
    if first < 0x80 {
        return Code(u64::from(first));
    }
    read_long_code(bucket, at, first)
}

#[inline]
fn read_long_code(bucket: &[u8], at: &mut usize, first: u8) -> Code {
    let mut value = u64::from(first & 0x7F);
    let mut shift = 7;
    loop {
        let byte = bucket[*at];
        *at += 1;
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return Code(value);
        }
        shift += 7;
    }
}

/// An entry that is to be written: codes and inline bytes.
pub(super) struct New<'a> {
    pub key: Code,
    pub payload: Code,
    /// Inline bytes of both.
    pub bytes: [&'a [u8]; 2],
}

impl New<'_> {
    fn len(&self) -> usize {
        self.key.len() + self.payload.len() + self.bytes[0].len() + self.bytes[1].len()
    }

    /// Writes it to `out`, which is as long as it is.
    fn write(&self, out: &mut [u8]) {
        let (key, out) = out.split_at_mut(self.key.len());
        let (payload, out) = out.split_at_mut(self.payload.len());
        self.key.write(key);
        self.payload.write(payload);
        let (first, second) = out.split_at_mut(self.bytes[0].len());
        first.copy_from_slice(self.bytes[0]);
        second.copy_from_slice(self.bytes[1]);
    }
}

/// Number of entries.
#[inline(always)]
pub(super) fn count(bucket: &[u8]) -> usize {
    bucket.first_chunk::<COUNT>().map_or(0, |b| usize::from(u16::from_le_bytes(*b)))
}

/// The tags, one for each entry.
#[inline(always)]
pub(super) fn tags(bucket: &[u8]) -> &[u8] {
    match bucket.split_first_chunk::<COUNT>() {
        Some((count, rest)) => &rest[..usize::from(u16::from_le_bytes(*count))],
        None => &[],
    }
}

/// Where the first entry begins.
#[inline(always)]
fn entries(bucket: &[u8]) -> usize {
    COUNT + count(bucket)
}

#[inline(always)]
fn span_at(bucket: &[u8], start: usize, nth: usize) -> Span {
    let mut at = start;
    let key = read_code(bucket, &mut at);
    let payload = read_code(bucket, &mut at);
    Span { nth, start, end: at + key.inline_len() + payload.inline_len(), key, payload, body: at }
}

/// All entries.
#[inline]
pub(super) fn spans(bucket: &[u8]) -> impl Iterator<Item = Span> + '_ {
    let mut at = entries(bucket);
    (0..count(bucket)).map(move |nth| {
        let span = span_at(bucket, at, nth);
        at = span.end;
        span
    })
}

/// The first entry with this tag that is the wanted one.
#[inline]
pub(super) fn find(bucket: &[u8], tag: u8, mut is: impl FnMut(Span) -> bool) -> Option<Span> {
    let tags = tags(bucket);
    let (mut at, mut nth) = (entries(bucket), 0);
    for (i, _) in tags.iter().enumerate().filter(|(_, t)| **t == tag) {
        while nth < i {
            at = span_at(bucket, at, nth).end;
            nth += 1;
        }
        let span = span_at(bucket, at, nth);
        if is(span) {
            return Some(span);
        }
    }
    None
}

fn header(count: usize) -> [u8; COUNT] {
    u16::try_from(count).expect("invariant: a keyed hash fills no bucket with 65,535").to_le_bytes()
}

/// Adds an entry at the end.
pub(super) fn push(bucket: &mut Bucket, tag: u8, new: &New<'_>) {
    let (count, old) = (count(bucket), bucket.len());
    let tags_end = COUNT + count;
    let mut bytes = std::mem::take(bucket).into_vec();
    // An empty bucket has no count yet.
    let end = old.max(COUNT) + 1;
    bytes.reserve_exact(end + new.len() - old);
    bytes.resize(end + new.len(), 0);
    bytes.copy_within(tags_end..end - 1, tags_end + 1);
    bytes[tags_end] = tag;
    bytes[..COUNT].copy_from_slice(&header(count + 1));
    new.write(&mut bytes[end..]);
    *bucket = bytes.into_boxed_slice();
}

/// Removes an entry.
pub(super) fn remove(bucket: &mut Bucket, span: Span) {
    let count = count(bucket) - 1;
    if count == 0 {
        *bucket = Bucket::default();
        return;
    }
    let mut bytes = std::mem::take(bucket).into_vec();
    bytes.drain(span.start..span.end);
    bytes.remove(COUNT + span.nth);
    bytes[..COUNT].copy_from_slice(&header(count));
    *bucket = bytes.into_boxed_slice();
}

/// Writes another entry of the same tag over one.
pub(super) fn replace(bucket: &mut Bucket, span: Span, new: &New<'_>) {
    let (old, len) = (bucket.len(), new.len());
    if len == span.end - span.start {
        return new.write(&mut bucket[span.start..span.end]);
    }
    let size = old - (span.end - span.start) + len;
    let mut bytes = std::mem::take(bucket).into_vec();
    if size > old {
        bytes.reserve_exact(size - old);
        bytes.resize(size, 0);
    }
    bytes.copy_within(span.end..old, span.start + len);
    bytes.truncate(size);
    new.write(&mut bytes[span.start..span.start + len]);
    *bucket = bytes.into_boxed_slice();
}

/// Two buckets with the entries of this one: those for which `is_high` holds are in the second.
pub(super) fn divide(bucket: &[u8], is_high: impl Fn(Span) -> bool) -> [Bucket; 2] {
    let side: smallvec::SmallVec<[bool; 64]> = spans(bucket).map(is_high).collect();
    [false, true].map(|high| {
        let mine = || spans(bucket).filter(|span| side[span.nth] == high);
        let (count, len) = mine().fold((0, 0), |(n, len), span| (n + 1, len + span.end - span.start));
        if count == 0 {
            return Bucket::default();
        }
        let mut half = Vec::with_capacity(COUNT + count + len);
        half.extend_from_slice(&header(count));
        let tags = tags(bucket);
        half.extend(mine().map(|span| tags[span.nth]));
        mine().for_each(|span| half.extend_from_slice(&bucket[span.start..span.end]));
        half.into_boxed_slice()
    })
}

/// One bucket with the entries of two.
pub(super) fn join(a: &[u8], b: &[u8]) -> Bucket {
    if a.is_empty() || b.is_empty() {
        return if a.is_empty() { b.into() } else { a.into() };
    }
    let parts = [&header(count(a) + count(b))[..], tags(a), tags(b), &a[entries(a)..], &b[entries(b)..]];
    parts.concat().into_boxed_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_take_as_many_bytes_as_they_say() {
        for value in [0, 1, 0x7F, 0x80, 0x3FFF, 0x4000, u64::from(u32::MAX) << 2 | 3] {
            let code = Code(value);
            let mut bytes = vec![0xFF; code.len()];
            code.write(&mut bytes);
            let mut at = 0;
            assert_eq!((read_code(&bytes, &mut at).0, at), (value, bytes.len()), "{value}");
        }
    }

    #[test]
    fn entries_come_go_and_part() {
        let entry = |n: u8| [n; 70];
        let mut bucket = Bucket::default();
        for n in 0..20u8 {
            let body = &entry(n)[..usize::from(n) * 3];
            let new = New { key: Code((body.len() as u64) << 2), payload: Code(4), bytes: [body, b"p"] };
            push(&mut bucket, n % 5, &new);
        }
        assert_eq!(count(&bucket), 20);
        let seventh = find(&bucket, 2, |span| span.key.inline_len() == 21).expect("the entry 7");
        assert_eq!(&bucket[seventh.body..seventh.end], [&[7; 21][..], b"p"].concat());
        remove(&mut bucket, seventh);
        assert!(find(&bucket, 2, |span| span.key.inline_len() == 21).is_none());
        let [low, high] = divide(&bucket, |span| span.key.inline_len() >= 30);
        assert_eq!((count(&low), count(&high)), (9, 10));
        let mut all = join(&low, &high);
        assert_eq!(all, bucket);
        for left in (0..19).rev() {
            let first = spans(&all).next().expect("an entry");
            remove(&mut all, first);
            assert_eq!(count(&all), left);
        }
        assert!(all.is_empty());
    }
}
