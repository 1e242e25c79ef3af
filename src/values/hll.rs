//! HyperLogLog: an estimate of how many different elements a string value has seen,
//! in the bytes of Redis, with the results of Redis.
//!
//! ```text
//! "HYLL"   encoding u8 (0 dense, 1 sparse)   3 bytes unused   cached count u64 (top bit: stale)
//! dense    16,384 registers of 6 bits, low bits first
//! sparse   00nnnnnn           n + 1 registers are zero
//!          01nnnnnn nnnnnnnn  n + 1 registers are zero
//!          1vvvvvnn           n + 1 registers are v + 1
//! ```
//!
//! The bytes are a client's own string, so anything may stand in them. [`check`]
//! goes through all of it before an operation; only then are there registers.

const REGISTERS: usize = 1 << 14;
const HEADER: usize = 16;
const DENSE_BYTES: usize = HEADER + REGISTERS * 6 / 8;
/// Bits of the hash that are left to count zeros in.
const HASH_BITS: usize = 64 - 14;
const ZERO_MAX: usize = 64;
const VALUE_MAX: u8 = 32;
const RUN_MAX: usize = 4;
const STALE: u8 = 0x80;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;

/// Why a string is not a HyperLogLog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It does not begin like one.
    #[error("not a HyperLogLog string value")]
    Foreign,
    /// It begins like one, but its registers do not add up.
    #[error("corrupted HyperLogLog")]
    Corrupt,
}

/// All registers, one byte each: what unions and counts are made from.
#[derive(Clone)]
pub struct Registers(Box<[u8; REGISTERS]>);

impl Default for Registers {
    fn default() -> Self {
        Registers(Box::new([0; REGISTERS]))
    }
}

/// One run of a sparse value.
#[derive(Clone, Copy)]
struct Run {
    value: u8,
    len: usize,
    bytes: usize,
}

fn run_at(b: &[u8]) -> Option<Run> {
    let first = *b.first()?;
    Some(match first >> 6 {
        0 => Run { value: 0, len: usize::from(first & 0x3F) + 1, bytes: 1 },
        1 => Run { value: 0, len: (usize::from(first & 0x3F) << 8 | usize::from(*b.get(1)?)) + 1, bytes: 2 },
        _ => Run { value: (first >> 2 & 0x1F) + 1, len: usize::from(first & 3) + 1, bytes: 1 },
    })
}

fn runs(b: &[u8]) -> impl Iterator<Item = Option<Run>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        if at >= b.len() {
            return None;
        }
        let run = run_at(&b[at..]);
        at = run.map_or(b.len(), |r| at + r.bytes);
        Some(run)
    })
}

/// Writes a run, zeros in the shorter form that fits.
fn push_run(out: &mut Vec<u8>, value: u8, len: usize) {
    let n = len - 1;
    if value > 0 {
        out.push(0x80 | (value - 1) << 2 | n as u8);
    } else if len <= ZERO_MAX {
        out.push(n as u8);
    } else {
        out.extend_from_slice(&[0x40 | (n >> 8) as u8, n as u8]);
    }
}

/// A HyperLogLog that has seen nothing.
pub fn new() -> Vec<u8> {
    let mut bytes = b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0".to_vec();
    push_run(&mut bytes, 0, REGISTERS);
    bytes
}

/// Whether these bytes are a HyperLogLog, all of them.
pub fn check(bytes: &[u8]) -> Result<(), Invalid> {
    if bytes.len() < HEADER || !bytes.starts_with(b"HYLL") || bytes[4] > SPARSE {
        return Err(Invalid::Foreign);
    }
    if bytes[4] == DENSE {
        return if bytes.len() == DENSE_BYTES { Ok(()) } else { Err(Invalid::Foreign) };
    }
    let mut sum = 0;
    for run in runs(&bytes[HEADER..]) {
        sum += run.ok_or(Invalid::Corrupt)?.len;
        if sum > REGISTERS {
            return Err(Invalid::Corrupt);
        }
    }
    if sum == REGISTERS { Ok(()) } else { Err(Invalid::Corrupt) }
}

/// Whether these bytes, which are a HyperLogLog, are in the sparse form.
pub fn is_sparse(bytes: &[u8]) -> bool {
    bytes[4] == SPARSE
}

/// The runs of a sparse value as PFDEBUG DECODE shows them.
pub fn describe(bytes: &[u8]) -> Result<String, Invalid> {
    check(bytes)?;
    let mut words = Vec::new();
    for run in runs(&bytes[HEADER..]).flatten() {
        words.push(match (run.value, run.bytes) {
            (0, 1) => format!("z:{}", run.len),
            (0, _) => format!("Z:{}", run.len),
            (value, _) => format!("v:{value},{}", run.len),
        });
    }
    Ok(words.join(" "))
}

impl Registers {
    /// Reads the registers out of a value.
    pub fn of(bytes: &[u8]) -> Result<Self, Invalid> {
        let mut registers = Registers::default();
        registers.merge(bytes)?;
        Ok(registers)
    }

    /// Takes the larger of each register of this and of a value.
    pub fn merge(&mut self, bytes: &[u8]) -> Result<(), Invalid> {
        check(bytes)?;
        if is_sparse(bytes) {
            let mut at = 0;
            for run in runs(&bytes[HEADER..]).flatten() {
                self.0[at..at + run.len].iter_mut().for_each(|r| *r = (*r).max(run.value));
                at += run.len;
            }
            return Ok(());
        }
        // Three bytes hold four registers.
        for (three, four) in bytes[HEADER..].chunks_exact(3).zip(self.0.chunks_exact_mut(4)) {
            let bits = u32::from_le_bytes([three[0], three[1], three[2], 0]);
            for (i, register) in four.iter_mut().enumerate() {
                *register = (*register).max((bits >> (6 * i) & 0x3F) as u8);
            }
        }
        Ok(())
    }

    /// The value of each register.
    pub fn values(&self) -> &[u8] {
        &self.0[..]
    }

    /// The estimate, by the formula of O. Ertl, "New cardinality estimation
    /// algorithms for HyperLogLog sketches" (2017), as Redis has it.
    pub fn count(&self) -> u64 {
        let mut histogram = [0u32; 64];
        self.0.iter().for_each(|&r| histogram[usize::from(r & 0x3F)] += 1);
        let m = REGISTERS as f64;
        let mut z = m * tau((m - f64::from(histogram[HASH_BITS + 1])) / m);
        for &n in histogram[1..=HASH_BITS].iter().rev() {
            z += f64::from(n);
            z *= 0.5;
        }
        z += m * sigma(f64::from(histogram[0]) / m);
        const ALPHA: f64 = 0.721_347_520_444_481_7; // 1 / (2 ln 2)
        (ALPHA * m * m / z).round() as u64
    }
}

fn sigma(mut x: f64) -> f64 {
    if x == 1.0 {
        return f64::INFINITY;
    }
    let (mut y, mut z) = (1.0, x);
    loop {
        x *= x;
        let before = z;
        z += x * y;
        y += y;
        if z == before {
            return z;
        }
    }
}

fn tau(mut x: f64) -> f64 {
    if x == 0.0 || x == 1.0 {
        return 0.0;
    }
    let (mut y, mut z) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = z;
        y *= 0.5;
        z -= (1.0 - x) * (1.0 - x) * y;
        if z == before {
            return z / 3.0;
        }
    }
}

/// The register of an element and the value that it wants there.
fn place(element: &[u8]) -> (usize, u8) {
    let hash = murmur64a(element, 0xADC8_3B19);
    let index = hash as usize & (REGISTERS - 1);
    let rest = hash >> 14 | 1 << HASH_BITS;
    (index, rest.trailing_zeros() as u8 + 1)
}

fn murmur64a(data: &[u8], seed: u64) -> u64 {
    const M: u64 = 0xC6A4_A793_5BD1_E995;
    let mut hash = seed ^ (data.len() as u64).wrapping_mul(M);
    let mut words = data.chunks_exact(8);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0u64, |k, &b| k << 8 | u64::from(b));
        k = k.wrapping_mul(M);
        k = (k ^ k >> 47).wrapping_mul(M);
        hash = (hash ^ k).wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        hash ^= tail.iter().rev().fold(0u64, |k, &b| k << 8 | u64::from(b));
        hash = hash.wrapping_mul(M);
    }
    hash = (hash ^ hash >> 47).wrapping_mul(M);
    hash ^ hash >> 47
}

/// Adds elements to a value; whether any register changed. `sparse_bytes_max` is
/// `hll-sparse-max-bytes`.
pub fn add<'e>(
    bytes: &mut Vec<u8>,
    elements: impl Iterator<Item = &'e [u8]>,
    sparse_bytes_max: usize,
) -> Result<bool, Invalid> {
    check(bytes)?;
    let mut changed = false;
    for element in elements {
        let (index, value) = place(element);
        changed |= set(bytes, index, value, sparse_bytes_max);
    }
    if changed {
        bytes[15] |= STALE;
    }
    Ok(changed)
}

fn set(bytes: &mut Vec<u8>, index: usize, value: u8, sparse_bytes_max: usize) -> bool {
    if is_sparse(bytes) {
        if let Some(changed) = set_sparse(bytes, index, value, sparse_bytes_max) {
            return changed;
        }
        make_dense(bytes);
    }
    set_dense(bytes, index, value)
}

fn set_dense(bytes: &mut [u8], index: usize, value: u8) -> bool {
    let three = &mut bytes[HEADER + index / 4 * 3..][..3];
    let mut bits = u32::from_le_bytes([three[0], three[1], three[2], 0]);
    let shift = 6 * (index % 4);
    if (bits >> shift & 0x3F) as u8 >= value {
        return false;
    }
    bits = bits & !(0x3F << shift) | u32::from(value) << shift;
    three.copy_from_slice(&bits.to_le_bytes()[..3]);
    true
}

/// Whether the register changed; `None` if only the dense form can hold that.
fn set_sparse(bytes: &mut Vec<u8>, index: usize, value: u8, bytes_max: usize) -> Option<bool> {
    let (mut at, mut first, mut before) = (HEADER, 0, HEADER);
    let run = loop {
        let run = run_at(&bytes[at..]).expect("invariant: the runs were checked");
        if index < first + run.len {
            break run;
        }
        before = at;
        at += run.bytes;
        first += run.len;
    };
    if run.value >= value {
        return Some(false);
    }
    if value > VALUE_MAX {
        return None;
    }
    let mut new = Vec::with_capacity(5);
    if index > first {
        push_run(&mut new, run.value, index - first);
    }
    push_run(&mut new, value, 1);
    if index + 1 < first + run.len {
        push_run(&mut new, run.value, first + run.len - index - 1);
    }
    if new.len() > run.bytes && bytes.len() + new.len() - run.bytes > bytes_max {
        return None;
    }
    bytes.splice(at..at + run.bytes, new);
    merge_runs(bytes, before);
    Some(true)
}

/// Joins neighbouring runs of one value near `at`: five runs, as Redis does, so that
/// the bytes come out the same.
fn merge_runs(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..5 {
        let Some(run) = bytes.get(at..).and_then(run_at) else {
            return;
        };
        if run.value > 0
            && let Some(next) = bytes.get(at + 1..).and_then(run_at)
            && next.value == run.value
            && run.len + next.len <= RUN_MAX
        {
            bytes[at] = 0x80 | (run.value - 1) << 2 | (run.len + next.len - 1) as u8;
            bytes.remove(at + 1);
        } else {
            at += run.bytes;
        }
    }
}

/// Rewrites a value, which is a HyperLogLog, in the dense form.
pub fn make_dense(bytes: &mut Vec<u8>) {
    if !is_sparse(bytes) {
        return;
    }
    let registers = Registers::of(bytes).expect("invariant: checked before");
    bytes.truncate(HEADER);
    bytes[4] = DENSE;
    bytes.reserve_exact(DENSE_BYTES - HEADER);
    for four in registers.0.chunks_exact(4) {
        let bits = four.iter().rev().fold(0u32, |bits, &r| bits << 6 | u32::from(r));
        bytes.extend_from_slice(&bits.to_le_bytes()[..3]);
    }
}

/// Raises the registers of a value to those of `union`, in the dense form if `dense`.
pub fn store(
    bytes: &mut Vec<u8>,
    union: &Registers,
    dense: bool,
    sparse_bytes_max: usize,
) -> Result<(), Invalid> {
    check(bytes)?;
    if dense {
        make_dense(bytes);
    }
    for (index, &value) in union.0.iter().enumerate().filter(|(_, v)| **v > 0) {
        set(bytes, index, value, sparse_bytes_max);
    }
    bytes[15] |= STALE;
    Ok(())
}

/// The count that a value, which is a HyperLogLog, remembers, unless it is stale.
pub fn cached_count(bytes: &[u8]) -> Option<u64> {
    let count = u64::from_le_bytes(*bytes[8..].first_chunk()?);
    (bytes[15] & STALE == 0).then_some(count)
}

/// Makes a value, which is a HyperLogLog, forget its count.
pub fn forget_count(bytes: &mut [u8]) {
    bytes[15] |= STALE;
}

/// Makes a value remember its count.
pub fn set_cached_count(bytes: &mut [u8], count: u64) {
    bytes[8..HEADER].copy_from_slice(&count.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn filled(n: usize, sparse_bytes_max: usize) -> Vec<u8> {
        let mut bytes = new();
        for i in 0..n {
            add(&mut bytes, std::iter::once(format!("e{i}").as_bytes()), sparse_bytes_max).expect("valid");
        }
        bytes
    }

    #[test]
    fn a_new_one_is_two_bytes_of_zeros() {
        assert_eq!(new(), b"HYLL\x01\0\0\0\0\0\0\0\0\0\0\0\x7f\xff");
        assert_eq!(describe(&new()).as_deref(), Ok("Z:16384"));
        assert_eq!(Registers::of(&new()).map(|r| r.count()), Ok(0));
    }

    #[test]
    fn runs_of_one_value_are_joined() {
        let mut bytes = new();
        for index in [100, 102, 101, 103, 104] {
            assert!(set(&mut bytes, index, 3, 3000));
            assert!(!set(&mut bytes, index, 2, 3000));
        }
        assert_eq!(describe(&bytes).as_deref(), Ok("Z:100 v:3,4 v:3,1 Z:16279"));
        set(&mut bytes, 101, 9, 3000);
        assert_eq!(describe(&bytes).as_deref(), Ok("Z:100 v:3,1 v:9,1 v:3,3 Z:16279"));
        set(&mut bytes, 101, 33, 3000);
        assert!(!is_sparse(&bytes) && bytes.len() == 12304);
    }

    #[test]
    fn the_estimate_is_near() {
        for n in [1, 10, 1000, 30_000] {
            let count = Registers::of(&filled(n, 3000)).expect("valid").count() as f64;
            assert!((count - n as f64).abs() <= (n as f64 * 0.03).max(0.5), "{n}: {count}");
        }
    }

    /// Lengths, checksums and counts as redis-server 7.0.15 had them for the same elements.
    #[test]
    fn bytes_and_counts_are_those_of_redis() {
        for (n, len, checksum, count) in [
            (10, 48, 0x1e1d_4dfe_0fdc_f0d3u64, 10),
            (100, 285, 0x1482_920a_7ab5_5009, 100),
            (1200, 2235, 0xa6df_aad7_19ea_4bf3, 1207),
            (5000, 12304, 0x6ff9_ae65_9dfc_56c4, 4968),
        ] {
            let bytes = filled(n, 3000);
            let sum = bytes[16..].iter().fold(0u64, |h, &b| h.wrapping_mul(31).wrapping_add(u64::from(b)));
            assert_eq!((bytes.len(), sum), (len, checksum), "{n}");
            assert_eq!(Registers::of(&bytes).map(|r| r.count()), Ok(count));
        }
    }

    #[test]
    fn forged_values_are_refused() {
        let header = |encoding: u8| [&b"HYLL"[..], &[encoding], &[0; 11]].concat();
        assert_eq!(check(b"HYLL"), Err(Invalid::Foreign));
        assert_eq!(check(b"hello, this is only text"), Err(Invalid::Foreign));
        assert_eq!(check(&header(2)), Err(Invalid::Foreign));
        assert_eq!(check(&header(0)), Err(Invalid::Foreign)); // dense, too short
        assert_eq!(check(&header(1)), Err(Invalid::Corrupt)); // no registers
        for runs in [&b"\x7f\xff\x00"[..], b"\x7f\xfe", b"\x7f", b"\x7f\xff\xff"] {
            let mut forged = [&header(1)[..], runs].concat();
            assert_eq!(check(&forged), Err(Invalid::Corrupt));
            assert_eq!(add(&mut forged, std::iter::once(&b"x"[..]), 3000), Err(Invalid::Corrupt));
            assert!(Registers::of(&forged).is_err() && describe(&forged).is_err());
        }
    }

    #[test]
    fn the_cached_count_goes_stale() {
        let mut bytes = filled(10, 3000);
        assert_eq!(cached_count(&bytes), None);
        set_cached_count(&mut bytes, 10);
        assert_eq!(cached_count(&bytes), Some(10));
        assert_eq!(add(&mut bytes, std::iter::once(&b"e3"[..]), 3000), Ok(false));
        assert_eq!(cached_count(&bytes), Some(10));
        assert_eq!(add(&mut bytes, std::iter::once(&b"new"[..]), 3000), Ok(true));
        assert_eq!(cached_count(&bytes), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        #[test]
        fn sparse_and_dense_agree(a in 0usize..2000, limit in 0usize..6000, b in 0usize..500) {
            let (sparse, dense) = (filled(a, limit), filled(a, 0));
            let registers = Registers::of(&sparse).expect("valid");
            let other = Registers::of(&dense).expect("valid");
            prop_assert_eq!(registers.values(), other.values());
            prop_assert!(is_sparse(&sparse) == (sparse.len() != 12304));
            let mut union = registers.clone();
            union.merge(&filled(b, 3000)).expect("valid");
            let mut stored = new();
            store(&mut stored, &union, false, limit).expect("valid");
            prop_assert_eq!(Registers::of(&stored).expect("valid").count(), filled_count(a.max(b)));
        }
    }

    fn filled_count(n: usize) -> u64 {
        Registers::of(&filled(n, 0)).expect("valid").count()
    }
}
