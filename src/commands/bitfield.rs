//! BITFIELD: integers of any width from 1 to 64 bits inside a string.

use crate::commands::bitmap::bit_offset;
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::number;
use crate::effects::Class;
use crate::error::Error;

/// Width and signedness of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Field {
    signed: bool,
    bits: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Get,
    Set(i64),
    Add(i64),
}

struct Step {
    field: Field,
    offset: u64,
    action: Action,
    overflow: Overflow,
}

const BAD_TYPE: Error = Error::Line(
    "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.",
);

impl Field {
    fn parse(arg: &[u8]) -> Result<Field, Error> {
        let (signed, digits) = match arg {
            [b'i', rest @ ..] => (true, rest),
            [b'u', rest @ ..] => (false, rest),
            _ => return Err(BAD_TYPE),
        };
        let bits = number::parse_i64(digits).and_then(|n| u32::try_from(n).ok()).ok_or(BAD_TYPE)?;
        if bits < 1 || bits > if signed { 64 } else { 63 } {
            return Err(BAD_TYPE);
        }
        Ok(Field { signed, bits })
    }

    fn min(self) -> i128 {
        if self.signed { -(1i128 << (self.bits - 1)) } else { 0 }
    }

    fn max(self) -> i128 {
        if self.signed { (1i128 << (self.bits - 1)) - 1 } else { (1i128 << self.bits) - 1 }
    }

    /// `value` as this field stores it; `None` if it does not fit and must not be forced.
    fn fit(self, value: i128, overflow: Overflow) -> Option<i128> {
        if (self.min()..=self.max()).contains(&value) {
            return Some(value);
        }
        match overflow {
            Overflow::Fail => None,
            Overflow::Saturate => Some(if value < self.min() { self.min() } else { self.max() }),
            Overflow::Wrap => Some(self.wrap(value)),
        }
    }

    /// Redis looks for the room above a value in 64 bits, where it wraps for the lowest numbers: these saturate to
    /// the largest value.
    fn as_redis_counts(self, n: i64, overflow: Overflow) -> i128 {
        let narrow = self.signed && self.bits < 64 && overflow == Overflow::Saturate;
        let wraps = i64::try_from(self.max()).is_ok_and(|max| n < 0 && max.checked_sub(n).is_none());
        if narrow && wraps { self.max() } else { i128::from(n) }
    }

    fn wrap(self, value: i128) -> i128 {
        let modulus = 1i128 << self.bits;
        let unsigned = value.rem_euclid(modulus);
        if self.signed && unsigned > self.max() { unsigned - modulus } else { unsigned }
    }

    fn read(self, bytes: &[u8], offset: u64) -> i128 {
        let mut value = 0i128;
        for i in offset..offset + u64::from(self.bits) {
            let byte = usize::try_from(i >> 3).ok().and_then(|b| bytes.get(b)).copied().unwrap_or(0);
            value = value << 1 | i128::from(byte >> (7 - (i & 7)) & 1);
        }
        self.wrap(value)
    }

    fn write(self, bytes: &mut [u8], offset: u64, value: i128) {
        for k in 0..self.bits {
            let i = offset + u64::from(k);
            let bit = (value >> (self.bits - 1 - k) & 1) as u8;
            let shift = 7 - (i & 7);
            if let Some(byte) = usize::try_from(i >> 3).ok().and_then(|b| bytes.get_mut(b)) {
                *byte = *byte & !(1 << shift) | bit << shift;
            }
        }
    }
}

/// An offset in bits, or with `#` in fields.
fn offset(ctx: &Ctx<'_, '_>, arg: &[u8], field: Field) -> Result<u64, Error> {
    let offset = match arg.strip_prefix(b"#") {
        None => bit_offset(ctx, arg)?,
        Some(n) => {
            let n = number::parse_i64(n).and_then(|n| u64::try_from(n).ok()).ok_or(Error::BitOffset)?;
            n.checked_mul(u64::from(field.bits)).ok_or(Error::BitOffset)?
        }
    };
    let end = offset.checked_add(u64::from(field.bits)).ok_or(Error::BitOffset)?;
    if (end - 1) >> 3 >= ctx.config.proto_max_bulk_len {
        return Err(Error::BitOffset);
    }
    Ok(offset)
}

fn parse(ctx: &mut Ctx<'_, '_>, read_only: bool) -> Result<Vec<Step>, Error> {
    ctx.args.seek(2);
    let mut steps = Vec::new();
    let mut overflow = Overflow::Wrap;
    while ctx.args.left() > 0 {
        if ctx.args.left() >= 2 && ctx.args.token("OVERFLOW") {
            overflow = match ctx.args.next()?.to_ascii_uppercase().as_slice() {
                b"WRAP" => Overflow::Wrap,
                b"SAT" => Overflow::Saturate,
                b"FAIL" => Overflow::Fail,
                _ => return Err(Error::Line("ERR Invalid OVERFLOW type specified")),
            };
            continue;
        }
        let get = ctx.args.left() >= 3 && ctx.args.token("GET");
        let set = !get && ctx.args.left() >= 4 && ctx.args.token("SET");
        let add = !get && !set && ctx.args.left() >= 4 && ctx.args.token("INCRBY");
        if !(get || set || add) {
            return Err(Error::Syntax);
        }
        let field = Field::parse(ctx.args.next()?)?;
        let at = ctx.args.next()?;
        let offset = offset(ctx, at, field)?;
        let action = if get {
            Action::Get
        } else {
            let n = ctx.args.int()?;
            if set { Action::Set(n) } else { Action::Add(n) }
        };
        steps.push(Step { field, offset, action, overflow });
    }
    if read_only && steps.iter().any(|step| step.action != Action::Get) {
        return Err(Error::Line("ERR BITFIELD_RO only supports the GET subcommand"));
    }
    Ok(steps)
}

/// BITFIELD
pub fn bitfield(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    run(ctx, false)
}

/// BITFIELD_RO
pub fn bitfield_ro(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    run(ctx, true)
}

fn run(ctx: &mut Ctx<'_, '_>, read_only: bool) -> Result<Outcome, Error> {
    let steps = parse(ctx, read_only)?;
    let writes = steps.iter().any(|s| s.action != Action::Get);
    if !writes {
        let answers: Vec<i128> = ctx.keys.string(0, |v| {
            let bytes = v.as_deref().unwrap_or(&[]);
            steps.iter().map(|s| s.field.read(bytes, s.offset)).collect()
        })?;
        reply(ctx, answers.into_iter().map(Some));
        return Ok(Outcome::Done);
    }
    let highest =
        steps.iter().filter(|s| s.action != Action::Get).map(|s| s.offset + u64::from(s.field.bits) - 1);
    let len = usize::try_from((highest.max().unwrap_or(0) >> 3) + 1).map_err(|_| Error::BitOffset)?;
    let grows = ctx.keys.string(0, |v| v.map_or(0, |v| v.len()))? < len;
    let (answers, changes) = ctx.keys.edit_string(0, len, |bytes| {
        let mut changes = 0;
        let answers: Vec<Option<i128>> = steps.iter().map(|s| step(s, bytes, grows, &mut changes)).collect();
        (answers, changes)
    })?;
    if changes > 0 {
        ctx.fx.changed(0, Class::STRING, "setbit");
    } else if grows {
        // For fields whose new values did not fit: no event, as in Redis, but the data changed.
        ctx.fx.silent(1);
    }
    reply(ctx, answers.into_iter());
    Ok(Outcome::Done)
}

fn step(step: &Step, bytes: &mut [u8], grows: bool, changes: &mut u64) -> Option<i128> {
    let old = step.field.read(bytes, step.offset);
    let (new, answer) = match step.action {
        Action::Get => return Some(old),
        // A negative number for an unsigned field is taken as the large one with the same bits.
        Action::Set(n) if !step.field.signed => {
            (step.field.fit(i128::from(n.cast_unsigned()), step.overflow)?, old)
        }
        Action::Set(n) => (step.field.fit(step.field.as_redis_counts(n, step.overflow), step.overflow)?, old),
        Action::Add(n) => {
            let new = step.field.fit(old + i128::from(n), step.overflow)?;
            (new, new)
        }
    };
    if new != old {
        step.field.write(bytes, step.offset, new);
    }
    *changes += u64::from(new != old || grows);
    Some(answer)
}

fn reply(ctx: &mut Ctx<'_, '_>, answers: impl ExactSizeIterator<Item = Option<i128>>) {
    ctx.reply.array(answers.len());
    for answer in answers {
        match answer.and_then(|n| i64::try_from(n).ok()) {
            Some(n) => ctx.reply.int(n),
            None => ctx.reply.null(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const I8: Field = Field { signed: true, bits: 8 };
    const U8: Field = Field { signed: false, bits: 8 };
    const I64: Field = Field { signed: true, bits: 64 };

    #[test]
    fn what_does_not_fit_wraps_saturates_or_fails() {
        assert_eq!(U8.fit(256, Overflow::Wrap), Some(0));
        assert_eq!(U8.fit(-1, Overflow::Wrap), Some(255));
        assert_eq!(U8.fit(300, Overflow::Saturate), Some(255));
        assert_eq!(I8.fit(128, Overflow::Wrap), Some(-128));
        assert_eq!(I8.fit(-129, Overflow::Saturate), Some(-128));
        assert_eq!(I8.fit(128, Overflow::Fail), None);
        assert_eq!(I64.fit(i128::from(i64::MAX) + 1, Overflow::Wrap), Some(i128::from(i64::MIN)));
    }

    #[test]
    fn fields_are_read_back_at_any_offset() {
        let mut bytes = [0u8; 24];
        for bits in 1..=64 {
            for offset in 0..100 {
                let field = Field { signed: true, bits };
                field.write(&mut bytes, offset, field.min());
                assert_eq!(field.read(&bytes, offset), field.min(), "i{bits} at {offset}");
                field.write(&mut bytes, offset, field.max());
                assert_eq!(field.read(&bytes, offset), field.max(), "i{bits} at {offset}");
            }
        }
    }

    #[test]
    fn types_are_checked() {
        for bad in ["u64", "i65", "i0", "u0", "x8", "i", "", "i-1", "i08"] {
            assert!(Field::parse(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
