//! Bits of strings: SETBIT, GETBIT, BITCOUNT, BITPOS, BITOP.
//!
//! Bit 0 is the most significant bit of the first byte. BITFIELD is in its own file.

use crate::commands::bitfield;
use crate::commands::command::{Access, Arity, Command, Group, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::keyspec;
use crate::commands::number;
use crate::commands::row::{acl, flags, key_flags};
use crate::effects::Class;
use crate::error::Error;
use crate::keys::{NewString, Ttl};
use crate::keyspace::PACKED_VALUE_MAX;
use crate::values::Blob;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "bitcount",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY),
        acl: acl!(BITMAP),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key [range: start:int end:int [unit^7.0.0: BYTE | BIT]]",
        summary: "Number of bits that are set in a string or in a part of it.",
        since: "2.6.0",
        group: Group::Bitmap,
        complexity: "O(N), N bytes looked at",
        history: &[("7.0.0", "The range may count bits: `BYTE|BIT`.")],
        run: bitcount,
        ..Command::DEFAULT
    },
    Command {
        name: "bitfield",
        arity: Arity::AtLeast(2),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(BITMAP),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE | ACCESS | VARIABLE_FLAGS))
            .note("Reads and writes, as the operations say.")],
        access: Access::Keys,
        syntax: "key [operation: (GET get-block: encoding offset:int) | (write: [OVERFLOW overflow-block: WRAP | SAT | FAIL] (write-operation: (SET set-block: encoding offset:int value:int) | (INCRBY incrby-block: encoding offset:int increment:int)))]...",
        summary: "Reads, writes and increments integers of any width inside a string.",
        since: "3.2.0",
        group: Group::Bitmap,
        complexity: "O(1) for each operation",
        find: Some(keyspec::of_bitfield),
        run: bitfield::bitfield,
        ..Command::DEFAULT
    },
    Command {
        name: "bitfield_ro",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY | FAST),
        acl: acl!(BITMAP),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key [GET get-block: encoding offset:int]...+",
        summary: "Reads integers of any width inside a string.",
        since: "6.0.0",
        group: Group::Bitmap,
        complexity: "O(1) for each operation",
        run: bitfield::bitfield_ro,
        ..Command::DEFAULT
    },
    Command {
        name: "bitop",
        arity: Arity::AtLeast(4),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(BITMAP),
        keys: &[
            KeySpec::key(2, key_flags!(OW | UPDATE)),
            KeySpec::range(3, -1, 1, 0, key_flags!(RO | ACCESS)),
        ],
        access: Access::Keys,
        syntax: "(operation: AND | OR | XOR | NOT) destkey@0 key@1...",
        summary: "Combines strings bit by bit and stores the outcome.",
        since: "2.6.0",
        group: Group::Bitmap,
        complexity: "O(N), N the longest string",
        run: bitop,
        ..Command::DEFAULT
    },
    Command {
        name: "bitpos",
        arity: Arity::AtLeast(3),
        flags: flags!(READONLY),
        acl: acl!(BITMAP),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key bit:int [range: start:int [end-unit-block: end:int [unit^7.0.0: BYTE | BIT]]]",
        summary: "Position of the first bit that is 0, or 1.",
        since: "2.8.7",
        group: Group::Bitmap,
        complexity: "O(N), N bytes looked at",
        history: &[("7.0.0", "The range may count bits: `BYTE|BIT`.")],
        run: bitpos,
        ..Command::DEFAULT
    },
    Command {
        name: "getbit",
        arity: Arity::Exactly(3),
        flags: flags!(READONLY | FAST),
        acl: acl!(BITMAP),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key offset:int",
        summary: "One bit of a string.",
        since: "2.2.0",
        group: Group::Bitmap,
        run: getbit,
        ..Command::DEFAULT
    },
    Command {
        name: "setbit",
        arity: Arity::Exactly(4),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(BITMAP),
        keys: &[KeySpec::key(1, key_flags!(RW | ACCESS | UPDATE))],
        access: Access::Keys,
        syntax: "key offset:int value:int",
        summary: "Sets or clears one bit; the string grows with zero bytes as needed.",
        since: "2.2.0",
        group: Group::Bitmap,
        run: setbit,
        ..Command::DEFAULT
    },
];

/// A bit offset: not negative, and inside the longest string that may be.
pub fn bit_offset(ctx: &Ctx<'_, '_>, arg: &[u8]) -> Result<u64, Error> {
    let offset = number::parse_i64(arg).and_then(|n| u64::try_from(n).ok()).ok_or(Error::BitOffset)?;
    if offset >> 3 >= ctx.config.proto_max_bulk_len {
        return Err(Error::BitOffset);
    }
    Ok(offset)
}

fn place(offset: u64) -> Result<(usize, u8), Error> {
    let byte = usize::try_from(offset >> 3).map_err(|_| Error::BitOffset)?;
    Ok((byte, 7 - (offset & 7) as u8))
}

/// SETBIT
pub fn setbit(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let offset = bit_offset(ctx, ctx.args.at(2))?;
    let on = match number::parse_i64(ctx.args.at(3)) {
        Some(0) => 0u8,
        Some(1) => 1u8,
        _ => return Err(Error::Line("ERR bit is not an integer or out of range")),
    };
    let (byte, shift) = place(offset)?;
    let before = ctx.keys.string(0, |v| v.map(|v| (v.len(), v.get(byte).map_or(0, |b| b >> shift & 1))))?;
    let (len, old) = before.unwrap_or((0, 0));
    // Even where the bit stays, the string is a raw one from now on.
    ctx.keys.edit_string(0, byte + 1, |buf| buf[byte] = buf[byte] & !(1 << shift) | on << shift)?;
    if before.is_none() || byte >= len || old != on {
        ctx.fx.changed(0, Class::STRING, "setbit");
    }
    ctx.reply.int(i64::from(old));
    Ok(Outcome::Done)
}

/// GETBIT
pub fn getbit(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let (byte, shift) = place(bit_offset(ctx, ctx.args.at(2))?)?;
    let bit = ctx.keys.string(0, |v| v.and_then(|v| v.get(byte).map(|b| b >> shift & 1)))?;
    ctx.reply.int(i64::from(bit.unwrap_or(0)));
    Ok(Outcome::Done)
}

/// A range of a string in bits, both ends included, and whether an end was given.
struct Range {
    first: u64,
    last: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

/// Resolves `start` and `end` of a string of `len` bytes; `None` if the range is empty.
fn resolve(start: i64, end: i64, unit: Unit, len: usize) -> Option<Range> {
    let len = i64::try_from(len).unwrap_or(i64::MAX / 8);
    let total = if unit == Unit::Bit { len * 8 } else { len };
    let from_end = |i: i64| if i < 0 { total.saturating_add(i).max(0) } else { i };
    let (start, end) = (from_end(start), from_end(end).min(total - 1));
    if start > end {
        return None;
    }
    let (first, last) = match unit {
        Unit::Byte => (start * 8, end * 8 + 7),
        Unit::Bit => (start, end),
    };
    Some(Range { first: first.unsigned_abs(), last: last.unsigned_abs() })
}

/// `[BYTE | BIT]` in the last place.
fn unit_arg(ctx: &mut Ctx<'_, '_>) -> Result<Unit, Error> {
    if ctx.args.left() == 0 || ctx.args.token("BYTE") {
        Ok(Unit::Byte)
    } else if ctx.args.token("BIT") {
        Ok(Unit::Bit)
    } else {
        Err(Error::Syntax)
    }
}

/// Number of one bits between two bit positions, both included.
fn count_bits(bytes: &[u8], range: &Range) -> u64 {
    let (first, last) = (to_index(range.first >> 3), to_index(range.last >> 3));
    let head = 0xffu8 >> (range.first & 7);
    let tail = 0xffu8 << (7 - (range.last & 7));
    if first == last {
        return u64::from((bytes[first] & head & tail).count_ones());
    }
    let (chunks, rest) = bytes[first + 1..last].as_chunks::<8>();
    let inner: u64 = chunks.iter().map(|c| u64::from(u64::from_ne_bytes(*c).count_ones())).sum();
    let inner_rest: u64 = rest.iter().map(|b| u64::from(b.count_ones())).sum();
    let ends = (bytes[first] & head).count_ones() + (bytes[last] & tail).count_ones();
    inner + inner_rest + u64::from(ends)
}

fn to_index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// BITCOUNT
pub fn bitcount(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (start, end, unit) = match ctx.args.left() {
        0 => (0, -1, Unit::Byte),
        2 | 3 => (ctx.args.int()?, ctx.args.int()?, unit_arg(ctx)?),
        _ => return Err(Error::Syntax),
    };
    let count = ctx.keys.string(0, |v| {
        let bytes = v.as_deref().unwrap_or(&[]);
        if start < 0 && end < 0 && start > end {
            return 0;
        }
        resolve(start, end, unit, bytes.len()).map_or(0, |r| count_bits(bytes, &r))
    })?;
    ctx.reply.int(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// Position of the first bit with this value in the range.
fn find_bit(bytes: &[u8], bit: bool, range: &Range) -> Option<u64> {
    let skip = if bit { 0x00 } else { 0xff };
    let (first, last) = (to_index(range.first >> 3), to_index(range.last >> 3));
    let mut at = first;
    while at <= last {
        let mut byte = bytes[at];
        if at == first {
            let outside = !(0xffu8 >> (range.first & 7));
            byte = if bit { byte & !outside } else { byte | outside };
        }
        if at == last {
            let outside = !(0xffu8 << (7 - (range.last & 7)));
            byte = if bit { byte & !outside } else { byte | outside };
        }
        if byte != skip {
            let leading = if bit { byte.leading_zeros() } else { byte.leading_ones() };
            return Some(at as u64 * 8 + u64::from(leading));
        }
        at += 1;
        // Whole words that cannot hold the bit are passed at once.
        while at + 8 < last && bytes[at..at + 8].iter().all(|b| *b == skip) {
            at += 8;
        }
    }
    None
}

/// BITPOS
pub fn bitpos(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let bit = match ctx.args.int()? {
        0 => false,
        1 => true,
        _ => return Err(Error::Line("ERR The bit argument must be 1 or 0.")),
    };
    if ctx.args.left() > 3 {
        return Err(Error::Syntax);
    }
    let start = if ctx.args.left() > 0 { ctx.args.int()? } else { 0 };
    let open_end = ctx.args.left() == 0;
    // The unit is looked at before the end.
    let at_end = ctx.args.position();
    ctx.args.seek(at_end + 1);
    let unit = unit_arg(ctx)?;
    ctx.args.seek(at_end);
    let end = if open_end { -1 } else { ctx.args.int()? };
    let position = ctx.keys.string(0, |v| {
        let Some(bytes) = v else {
            return if bit { -1 } else { 0 };
        };
        let Some(range) = resolve(start, end, unit, bytes.len()) else {
            return -1;
        };
        match find_bit(&bytes, bit, &range) {
            Some(at) => i64::try_from(at).unwrap_or(i64::MAX),
            // Behind the end of the string all bits are zero, unless the caller set the end.
            None if !bit && open_end => i64::try_from(bytes.len() * 8).unwrap_or(i64::MAX),
            None => -1,
        }
    })?;
    ctx.reply.int(position);
    Ok(Outcome::Done)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    And,
    Or,
    Xor,
    Not,
    Diff,
    Diff1,
    AndOr,
    One,
}

impl Operation {
    fn parse(name: &[u8]) -> Option<Operation> {
        Some(match name.to_ascii_uppercase().as_slice() {
            b"AND" => Operation::And,
            b"OR" => Operation::Or,
            b"XOR" => Operation::Xor,
            b"NOT" => Operation::Not,
            b"DIFF" => Operation::Diff,
            b"DIFF1" => Operation::Diff1,
            b"ANDOR" => Operation::AndOr,
            b"ONE" => Operation::One,
            _ => return None,
        })
    }
}

/// BITOP. Key 0 is the destination.
pub fn bitop(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let operation = Operation::parse(ctx.args.at(1)).ok_or(Error::Syntax)?;
    let sources = ctx.keys.len() - 1;
    if operation == Operation::Not && sources != 1 {
        return Err(Error::Line("ERR BITOP NOT must be called with a single source key."));
    }
    if matches!(operation, Operation::Diff | Operation::Diff1 | Operation::AndOr) && sources < 2 {
        let shown = ctx.args.at(1).to_ascii_uppercase();
        return Err(Error::quoting("ERR BITOP ", &shown, " must be called with at least two source keys."));
    }
    let mut inputs: Vec<Vec<u8>> = Vec::with_capacity(sources);
    for i in 1..=sources {
        inputs.push(ctx.keys.string(i, |v| v.as_deref().unwrap_or(&[]).to_vec())?);
    }
    let result = combine(operation, &inputs);
    let len = result.len();
    if len == 0 {
        if ctx.keys.remove(0) {
            ctx.fx.changed(0, Class::GENERIC, "del");
        }
    } else {
        if len > PACKED_VALUE_MAX {
            ctx.keys.put_string(0, NewString::Blob(Blob::from_vec(result)), Ttl::Clear)?;
        } else {
            ctx.keys.put_string(0, NewString::Raw(&result), Ttl::Clear)?;
        }
        ctx.fx.changed(0, Class::STRING, "set");
    }
    ctx.reply.int(i64::try_from(len).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// The operation over the inputs, shorter ones padded with zeros.
fn combine(operation: Operation, inputs: &[Vec<u8>]) -> Vec<u8> {
    let len = inputs.iter().map(Vec::len).max().unwrap_or(0);
    let mut result = vec![0u8; len];
    let Some((first, rest)) = inputs.split_first() else {
        return result;
    };
    if operation == Operation::One {
        return exactly_one(inputs, result);
    }
    let others = |result: &mut [u8]| {
        for input in rest {
            result.iter_mut().zip(input).for_each(|(r, b)| *r |= b);
        }
    };
    match operation {
        Operation::Diff | Operation::Diff1 | Operation::AndOr => {
            others(&mut result);
            for (i, r) in result.iter_mut().enumerate() {
                let x = first.get(i).copied().unwrap_or(0);
                *r = match operation {
                    Operation::Diff => x & !*r,
                    Operation::Diff1 => !x & *r,
                    _ => x & *r,
                };
            }
        }
        _ => {
            result[..first.len()].copy_from_slice(first);
            for input in rest {
                fold(operation, &mut result, input);
            }
            if operation == Operation::Not {
                result.iter_mut().for_each(|r| *r = !*r);
            }
        }
    }
    result
}

fn fold(operation: Operation, result: &mut [u8], input: &[u8]) {
    let (head, tail) = result.split_at_mut(input.len());
    for (r, b) in head.iter_mut().zip(input) {
        match operation {
            Operation::And => *r &= b,
            Operation::Or => *r |= b,
            _ => *r ^= b,
        }
    }
    if operation == Operation::And {
        tail.fill(0);
    }
}

/// Bits that are set in exactly one input.
fn exactly_one(inputs: &[Vec<u8>], mut result: Vec<u8>) -> Vec<u8> {
    for (i, r) in result.iter_mut().enumerate() {
        let (mut once, mut more) = (0u8, 0u8);
        for input in inputs {
            let b = input.get(i).copied().unwrap_or(0);
            more |= once & b;
            once |= b;
        }
        *r = once & !more;
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Range {
        Range { first: 0, last: bytes.len() as u64 * 8 - 1 }
    }

    #[test]
    fn counts_agree_with_a_bit_by_bit_walk() {
        let bytes: Vec<u8> = (0..40u32).map(|i| (i * 37 % 251) as u8).collect();
        let bit = |i: u64| u64::from(bytes[to_index(i >> 3)] >> (7 - (i & 7)) & 1);
        for first in 0..64 {
            for last in first..320 {
                let want: u64 = (first..=last).map(bit).sum();
                assert_eq!(count_bits(&bytes, &Range { first, last }), want, "{first}..={last}");
            }
        }
    }

    #[test]
    fn positions_agree_with_a_bit_by_bit_walk() {
        let mut bytes = vec![0u8; 40];
        bytes[21] = 0b0000_0100;
        assert_eq!(find_bit(&bytes, true, &all(&bytes)), Some(21 * 8 + 5));
        assert_eq!(find_bit(&bytes, true, &Range { first: 174, last: 319 }), None);
        assert_eq!(find_bit(&[0xff; 30], false, &all(&[0xff; 30])), None);
        assert_eq!(find_bit(&[0xff, 0x7f], false, &Range { first: 3, last: 15 }), Some(8));
    }

    #[test]
    fn operations_pad_with_zeros() {
        let inputs = [vec![0b1100, 0xff], vec![0b1010]];
        assert_eq!(combine(Operation::And, &inputs), [0b1000, 0]);
        assert_eq!(combine(Operation::Or, &inputs), [0b1110, 0xff]);
        assert_eq!(combine(Operation::Xor, &inputs), [0b0110, 0xff]);
        assert_eq!(combine(Operation::Diff, &inputs), [0b0100, 0xff]);
        assert_eq!(combine(Operation::Diff1, &inputs), [0b0010, 0]);
        assert_eq!(combine(Operation::AndOr, &inputs), [0b1000, 0]);
        assert_eq!(combine(Operation::One, &inputs), [0b0110, 0xff]);
        assert_eq!(combine(Operation::Not, &inputs[1..]), [0b1111_0101]);
    }
}
