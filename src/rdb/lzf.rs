//! LZF: the compression of strings in RDB files.
//!
//! ```text
//! 000LLLLL                      L+1 bytes follow as they are
//! LLLooooo [LLLLLLLL] oooooooo  copy L+2 bytes (L 1..=6; with L = 7 the next byte adds to it)
//!                               from o+1 bytes back; a copy may overlap what it makes
//! ```
//!
//! The crates for it are unmaintained, and this is short.

/// Longest run of bytes as they are.
const LITERAL_MAX: usize = 32;
/// Longest copy.
const COPY_MAX: usize = 2 + 7 + 255;
/// Shortest copy that saves something.
const COPY_MIN: usize = 3;
/// Farthest copy.
const BACK_MAX: usize = 1 << 13;
/// Most bytes that one byte of input can become, rounded up: a copy takes at least two.
pub const RATIO_MAX: usize = COPY_MAX / 3 + 1;

const TABLE_BITS: u32 = 14;

/// The compressed form if it is shorter than `max` bytes.
pub fn compress(input: &[u8], max: usize) -> Option<Vec<u8>> {
    let bits = (usize::BITS - input.len().leading_zeros()).clamp(8, TABLE_BITS);
    // Where a sequence of three bytes was seen last, plus one.
    let mut seen = vec![0u32; 1 << bits];
    let mut out = Vec::with_capacity(max.min(input.len()));
    let (mut at, mut literal) = (0, 0);
    while at + COPY_MIN <= input.len() && out.len() < max {
        let Some(three) = input[at..].first_chunk::<3>() else { break };
        let word = u32::from_le_bytes([three[0], three[1], three[2], 0]);
        let slot = (word.wrapping_mul(0x9E37_79B1) >> (32 - bits)) as usize;
        let before = seen[slot] as usize;
        seen[slot] = u32::try_from(at + 1).ok()?;
        let from = before.wrapping_sub(1);
        if before == 0 || at - from > BACK_MAX || input[from..from + COPY_MIN] != *three {
            at += 1;
            continue;
        }
        let len = common(&input[from..], &input[at..]).min(COPY_MAX);
        literals(&mut out, &input[literal..at]);
        copy(&mut out, at - from - 1, len);
        at += len;
        literal = at;
    }
    literals(&mut out, &input[literal..]);
    (out.len() < max).then_some(out)
}

fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take(COPY_MAX).take_while(|(x, y)| x == y).count()
}

fn literals(out: &mut Vec<u8>, bytes: &[u8]) {
    for run in bytes.chunks(LITERAL_MAX) {
        out.push((run.len() - 1) as u8);
        out.extend_from_slice(run);
    }
}

/// `back` is one less than the distance, `len` is 3..=264.
fn copy(out: &mut Vec<u8>, back: usize, len: usize) {
    let (high, low) = ((back >> 8) as u8, back as u8);
    let len = len - 2;
    if len < 7 {
        out.push((len as u8) << 5 | high);
    } else {
        out.extend([7 << 5 | high, (len - 7) as u8]);
    }
    out.push(low);
}

/// The original of `len` bytes, if `input` is well formed and makes exactly so many.
pub fn decompress(input: &[u8], len: usize) -> Option<Vec<u8>> {
    if len > input.len().checked_mul(RATIO_MAX)? {
        return None;
    }
    let mut out = Vec::new();
    out.try_reserve_exact(len).ok()?;
    let mut rest = input;
    while let Some((&control, tail)) = rest.split_first() {
        rest = tail;
        let control = usize::from(control);
        if control < LITERAL_MAX {
            let (run, tail) = rest.split_at_checked(control + 1)?;
            out.extend_from_slice(run);
            rest = tail;
        } else {
            let mut count = control >> 5;
            if count == 7 {
                let (&more, tail) = rest.split_first()?;
                count += usize::from(more);
                rest = tail;
            }
            let (&low, tail) = rest.split_first()?;
            rest = tail;
            let back = (control & 0x1F) << 8 | usize::from(low);
            let from = out.len().checked_sub(back + 1)?;
            repeat(&mut out, from, count + 2, len)?;
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

/// Appends `count` bytes from `from` on, of which some may only come about by that.
fn repeat(out: &mut Vec<u8>, from: usize, count: usize, max: usize) -> Option<()> {
    if out.len() + count > max {
        return None;
    }
    if from + count <= out.len() {
        out.extend_from_within(from..from + count);
    } else {
        for i in from..from + count {
            out.push(out[i]);
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_repeats_gets_shorter() {
        let text = b"a very repetitive text, a very repetitive text, a very repetitive text".repeat(50);
        let small = compress(&text, text.len()).expect("compressible");
        assert!(small.len() * 10 < text.len(), "{}", small.len());
        assert_eq!(decompress(&small, text.len()), Some(text));
        let zeros = vec![0; 100_000];
        let small = compress(&zeros, zeros.len()).expect("compressible");
        assert!(small.len() < 1300, "{}", small.len());
        assert_eq!(decompress(&small, zeros.len()), Some(zeros));
        assert_eq!(compress(b"abcdefghijklmnopqrstuvwxyz", 22), None);
    }

    #[test]
    fn known_bytes() {
        assert_eq!(decompress(b"\x00a\xE0\x00\x00", 10), Some(b"aaaaaaaaaa".to_vec()));
        assert_eq!(decompress(b"\x02abc\x20\x02", 6), Some(b"abcabc".to_vec()));
    }

    #[test]
    fn forged_bytes_are_refused() {
        for (input, len) in [
            (&b"\x00a"[..], 1 << 40),
            (b"\x00a", usize::MAX),
            (b"\x00a", 2),
            (b"\x00a", 0),
            (b"\x05ab", 6),
            (b"\x20\x00", 3),
            (b"\x00a\x20\x01", 4),
            (b"\x00a\xE0", 10),
            (b"\x00a\xE0\x00", 10),
            (b"\x00a\x20", 4),
        ] {
            assert_eq!(decompress(input, len), None, "{input:?} {len}");
        }
    }

    proptest! {
        #[test]
        fn goes_and_comes_back(text in prop::collection::vec(0u8..4, 0..3000), wide in prop::collection::vec(any::<u8>(), 0..300)) {
            for text in [text, wide] {
                if let Some(small) = compress(&text, text.len() + 64) {
                    prop_assert_eq!(decompress(&small, text.len()), Some(text));
                }
            }
        }

        #[test]
        fn any_bytes_are_refused_or_read(input in prop::collection::vec(any::<u8>(), 0..200), len in 0usize..2000) {
            if let Some(out) = decompress(&input, len) {
                prop_assert_eq!(out.len(), len);
            }
        }
    }
}
