//! Short texts, copied and compared by words that overlap: keys and values have mostly 8 to 16 bytes, and a call costs more
//! than that.
#![allow(unsafe_code)] // words at any address

/// Copies bytes, up to 16 of them by words.
///
/// # Safety
/// At `to` as many bytes may be written, and they are none of these.
#[inline(always)]
pub(super) unsafe fn copy(bytes: &[u8], to: *mut u8) {
    let (from, n) = (bytes.as_ptr(), bytes.len());
    // SAFETY: each word begins and ends within the `n` bytes on both sides.
    unsafe {
        match n {
            8..=16 => {
                to.cast::<u64>().write_unaligned(from.cast::<u64>().read_unaligned());
                to.add(n - 8).cast::<u64>().write_unaligned(from.add(n - 8).cast::<u64>().read_unaligned());
            }
            4..=7 => {
                to.cast::<u32>().write_unaligned(from.cast::<u32>().read_unaligned());
                to.add(n - 4).cast::<u32>().write_unaligned(from.add(n - 4).cast::<u32>().read_unaligned());
            }
            1..=3 => {
                to.write(from.read());
                to.add(n / 2).write(from.add(n / 2).read());
                to.add(n - 1).write(from.add(n - 1).read());
            }
            _ => to.copy_from_nonoverlapping(from, n),
        }
    }
}

/// Whether two keys of one length are the same: those of 8 to 16 bytes by two words.
#[inline(always)]
pub(super) fn is_same(a: &[u8], b: &[u8]) -> bool {
    let ends = |k: &[u8]| Some((*k.first_chunk::<8>()?, *k.last_chunk::<8>()?));
    match (ends(a), ends(b)) {
        (Some((front, back)), Some(other)) if a.len() <= 16 => {
            u64::from_ne_bytes(front) == u64::from_ne_bytes(other.0)
                && u64::from_ne_bytes(back) == u64::from_ne_bytes(other.1)
        }
        _ => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::{copy, is_same};

    #[test]
    fn every_byte_is_copied_and_none_beside_them() {
        for len in 0..40 {
            let bytes: Vec<u8> = (1..=len).collect();
            let mut to = [0xff; 50];
            // SAFETY: 50 bytes of another array.
            unsafe { copy(&bytes, to[3..].as_mut_ptr()) };
            assert_eq!(to[3..3 + bytes.len()], bytes);
            assert!(to[..3].iter().chain(&to[3 + bytes.len()..]).all(|&byte| byte == 0xff), "{len} bytes");
        }
    }

    #[test]
    fn keys_are_the_same_if_each_of_their_bytes_is() {
        for len in 0..40 {
            let key: Vec<u8> = (0..len).collect();
            assert!(is_same(&key, &key.clone()));
            for at in 0..key.len() {
                let mut other = key.clone();
                other[at] ^= 0x80;
                assert!(!is_same(&key, &other), "{len} bytes, another one at {at}");
            }
        }
    }
}
