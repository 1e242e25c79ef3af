//! A listpack that stands in the entry of its key, to be read there.
//!
//! ```text
//! count u8 (255: a u16 behind it)   elements …   and no end: the entry knows how long its value is
//! bare       elements have no back length: hashes, sets and sorted sets are read forward
//! otherwise  they have: lists are read from both ends
//! ```
//!
//! Of ten short elements this leaves out 6 bytes, or 16. It is made of a listpack of some hundred bytes and becomes one
//! again when it is to be changed, so both ways copy elements as words where they can.
#![allow(unsafe_code)] // bytes that are somebody else's

use super::{HEADER, Listpack};
use crate::values::packed::buffer::Buffer;
use crate::values::packed::element;
use smallvec::{Array, SmallVec};
use std::mem::ManuallyDrop;

/// The count of a listpack that is lent.
#[inline]
pub(super) fn count(bytes: &[u8]) -> usize {
    match bytes[0] {
        u8::MAX => usize::from(u16::from_le_bytes([bytes[1], bytes[2]])),
        count => count.into(),
    }
}

/// Where its elements begin.
#[inline]
pub(super) fn header(bytes: &[u8]) -> usize {
    if bytes[0] == u8::MAX { 3 } else { 1 }
}

/// The position of the element before `pos` where no back length says it: those from `start` on do.
#[cold]
pub(super) fn before(bytes: &[u8], start: usize, pos: usize) -> usize {
    let mut at = start;
    loop {
        let next = at + element::len_at(&bytes[at..]);
        if next >= pos {
            return at;
        }
        at = next;
    }
}

impl Listpack {
    /// The listpack of which these bytes were made.
    ///
    /// # Safety
    /// The result is only read, and only while the bytes can be. What is made of it is never changed, and never dropped.
    #[inline]
    pub(in crate::values) unsafe fn lent(bytes: &[u8], bare: bool) -> Listpack {
        // SAFETY: by the contract.
        Listpack(unsafe { Buffer::lent(bytes, bare) })
    }

    /// The same with a copy of the bytes, and all that they lack.
    pub(in crate::values) fn of_lent(bytes: &[u8], bare: bool) -> Listpack {
        // SAFETY: only read, and not dropped.
        ManuallyDrop::new(unsafe { Listpack::lent(bytes, bare) }).whole()
    }

    /// Writes the bytes that may be lent behind what is in `out`. There are fewer than 65,535 elements.
    pub(in crate::values) fn lend_to<A: Array<Item = u8>>(&self, bare: bool, out: &mut SmallVec<A>) {
        let count = self.len();
        match u8::try_from(count) {
            Ok(count) if count < u8::MAX => out.push(count),
            _ => {
                out.push(u8::MAX);
                let count = u16::try_from(count).expect("invariant: what is lent is small");
                out.extend_from_slice(&count.to_le_bytes());
            }
        }
        let (elements, at) = (&self.0[self.start()..self.end()], out.len());
        out.extend_from_slice(elements);
        if bare {
            // That was only for the room: it is all written over.
            let len = copy_elements::<true>(elements, &mut out[at..]);
            out.truncate(at + len);
        }
    }

    /// Of one that is lent, a listpack of its own.
    pub(super) fn whole(&self) -> Listpack {
        let elements = &self.0[self.start()..];
        let mut size = elements.len();
        if self.0.is_bare() {
            let mut pos = 0;
            while pos < elements.len() {
                let len = element::len_at(&elements[pos..]);
                pos += len;
                size += if len < 0x80 { 1 } else { element::back_len(len) };
            }
        }
        let mut bytes = Buffer::zeroed(HEADER + size + 1);
        let total = bytes.len();
        bytes[..4].copy_from_slice(&(total as u32).to_le_bytes());
        bytes[4..HEADER].copy_from_slice(&(self.len() as u16).to_le_bytes());
        if self.0.is_bare() {
            copy_elements::<false>(elements, &mut bytes[HEADER..total - 1]);
        } else {
            bytes[HEADER..total - 1].copy_from_slice(elements);
        }
        bytes[total - 1] = element::END;
        Listpack(bytes)
    }

    /// Where every other element begins, up to so many of them, if [`Self::prev`] would have to go through all that is before.
    pub fn pairs(&self, most: usize) -> Option<SmallVec<[u16; 32]>> {
        if !self.0.is_bare() {
            return None;
        }
        let mut starts = SmallVec::with_capacity(most.min(self.len().div_ceil(2)));
        let (bytes, mut pos) = (&*self.0, self.start());
        while pos < bytes.len() && starts.len() < most {
            starts.push(u16::try_from(pos).expect("invariant: what is lent is small"));
            let next = element::behind::<false>(bytes, pos);
            pos = next.and_then(|next| element::behind::<false>(bytes, next)).unwrap_or(bytes.len());
        }
        Some(starts)
    }
}

/// Most bytes of an element that are copied without asking how many they are.
const WORD: usize = 16;

/// Copies elements and leaves their back lengths out, or adds them. How many bytes these are now.
fn copy_elements<const OUT: bool>(from: &[u8], to: &mut [u8]) -> usize {
    let (mut pos, mut at) = (0, 0);
    while pos < from.len() {
        let len = element::len_at(&from[pos..]);
        if len <= WORD && pos + WORD <= from.len() && at + WORD < to.len() {
            // What is too much is written over by what comes next. Checked slices take twice the instructions.
            // SAFETY: so many bytes, and one more in `to`, are within both, which was asked just now.
            unsafe {
                let word = from.as_ptr().add(pos).cast::<[u8; WORD]>().read();
                to.as_mut_ptr().add(at).cast::<[u8; WORD]>().write(word);
                if !OUT {
                    to.as_mut_ptr().add(at + len).write(len as u8);
                }
            }
            (pos, at) = (pos + len + usize::from(OUT), at + len + usize::from(!OUT));
        } else {
            let back = copy_element::<OUT>(&from[pos..pos + len], &mut to[at..]);
            (pos, at) = (pos + len + if OUT { back } else { 0 }, at + len + if OUT { 0 } else { back });
        }
    }
    at
}

/// The same for one element without its back length; how long that is.
#[inline(never)]
fn copy_element<const OUT: bool>(elem: &[u8], to: &mut [u8]) -> usize {
    let (place, behind) = to.split_at_mut(elem.len());
    place.copy_from_slice(elem);
    if OUT {
        return element::back_len(elem.len());
    }
    let mut back = [0; 5];
    let n = usize::from(element::back_write(elem.len(), &mut back));
    behind[..n].copy_from_slice(&back[..n]);
    n
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::packed::Elem;
    use proptest::prelude::*;

    fn pack(texts: &[Vec<u8>]) -> Listpack {
        let mut pack = Listpack::new();
        texts.iter().for_each(|text| pack.push_back(text));
        pack
    }

    /// All that may be asked of a listpack that is only read.
    fn check(pack: &Listpack, bare: bool) {
        let mut bytes: SmallVec<[u8; 64]> = SmallVec::new();
        pack.lend_to(bare, &mut bytes);
        let spared = if bare { pack.iter().map(|e| back(&e)).sum::<usize>() } else { 0 };
        let header = if pack.len() < 255 { 1 } else { 3 };
        assert_eq!(bytes.len() + spared + HEADER + 1, pack.size() + header);
        // SAFETY: read while `bytes` are there, and not dropped.
        let lent = ManuallyDrop::new(unsafe { Listpack::lent(&bytes, bare) });
        assert_eq!((lent.len(), lent.is_empty()), (pack.len(), pack.is_empty()));
        assert_eq!((lent.to_bytes(), &*lent), (pack.to_bytes(), pack));
        assert_eq!(
            (Listpack::of_lent(&bytes, bare), Listpack::clone(&lent).size()),
            (pack.clone(), pack.size())
        );
        let texts: Vec<Vec<u8>> = pack.iter().map(|e| e.to_vec()).collect();
        assert!(lent.iter().map(|e| e.to_vec()).eq(texts.iter().cloned()));
        assert!(lent.iter().rev().map(|e| e.to_vec()).eq(texts.iter().rev().cloned()));
        assert_eq!(lent.last().and_then(|pos| lent.get(pos)), pack.last().and_then(|pos| pack.get(pos)));
        for (index, text) in texts.iter().enumerate() {
            let at = |pack: &Listpack, n: i64| pack.seek(n).and_then(|pos| Some(pack.get(pos)?.to_vec()));
            assert_eq!(at(&lent, index as i64).as_ref(), Some(text));
            assert_eq!(at(&lent, index as i64 - texts.len() as i64).as_ref(), Some(text));
            let place = |found: Option<(usize, usize)>| found.map(|(_, looks)| looks);
            assert_eq!(place(lent.find_counting::<0>(text)), place(pack.find_counting::<0>(text)));
            assert_eq!(place(lent.find_counting::<1>(text)), place(pack.find_counting::<1>(text)));
            let found = lent.find::<0>(text).and_then(|pos| lent.get(pos));
            assert_eq!(found, Some(Elem::Bytes(text)));
        }
        assert_eq!((lent.find::<0>(b"not in it"), lent.find::<1>(b"-12345678")), (None, None));
        assert_eq!((lent.seek(texts.len() as i64), lent.get(lent.end())), (None, None));
    }

    fn back(elem: &Elem<'_>) -> usize {
        let span = element::Encoded::new(*elem).span();
        (1..6).find(|n| element::back_len(span - n) == *n).expect("a length")
    }

    #[test]
    fn edges() {
        let texts = |n: usize, text: &str| vec![text.as_bytes().to_vec(); n];
        let long = [15, 16, 14, 63, 64, 126, 127, 0, 4095, 1].map(|n| vec![b'x'; n]).to_vec();
        let mut all = vec![texts(0, ""), texts(1, ""), long];
        if !cfg!(miri) {
            all.extend([texts(254, "7"), texts(255, "7"), texts(256, "")]);
        }
        for texts in all {
            check(&pack(&texts), true);
            check(&pack(&texts), false);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 4 } else { 256 }))]

        #[test]
        fn what_is_lent_reads_as_what_it_was_made_of(
            texts in prop::collection::vec(
                prop_oneof!["[a-c]{0,40}", "-?[0-9]{1,19}", "[a-c]{40,300}"].prop_map(String::into_bytes),
                0..if cfg!(miri) { 12 } else { 40 },
            ),
            bare: bool,
        ) {
            check(&pack(&texts), bare);
        }
    }
}
