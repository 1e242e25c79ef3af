//! Keys that say in their names when they end and which one they are, so that whoever hears of
//! their expiry knows how late that is without having remembered anything.

use std::cell::Cell;
use std::rc::Rc;
use std::time::UNIX_EPOCH;

use crate::clock;
use crate::keys::Rng;
use crate::request::write_digits;

/// `end:` with 13 digits of milliseconds and 10 of a number.
const FRAME: &[u8] =
    b"*5\r\n$3\r\nSET\r\n$28\r\nend:0000000000000:0000000000\r\n$8\r\nxxxxxxxx\r\n$4\r\nPXAT\r\n\
                       $13\r\n0000000000000\r\n";
const NAME_AT: usize = 18;
const NUMBER_AT: usize = NAME_AT + 18;
const DEADLINE_AT: usize = FRAME.len() - 15;

/// When such keys end.
#[derive(Debug, Clone, Copy)]
pub enum When {
    /// So many milliseconds after they were set, evenly from the first to the second.
    Within(u64, u64),
    /// All at this time.
    At(u64),
}

/// A source of such keys.
pub struct Ending {
    pub when: When,
    /// How many were made; they are numbered from 0.
    pub made: Rc<Cell<u64>>,
}

/// Milliseconds and nanoseconds on the wall clock.
pub fn wall_ns() -> u64 {
    clock::wall().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos() as u64)
}

impl Ending {
    /// Appends one SET and returns the key's number.
    #[inline]
    pub fn push(&mut self, rng: &mut Rng, out: &mut Vec<u8>) -> u64 {
        let due_ms = match self.when {
            When::At(ms) => ms,
            When::Within(from, to) => wall_ns() / 1_000_000 + from + rng.below(to - from + 1),
        };
        let number = self.made.replace(self.made.get() + 1);
        let base = out.len();
        out.extend_from_slice(FRAME);
        let frame = &mut out[base..];
        write_digits(&mut frame[NAME_AT + 4..NAME_AT + 17], due_ms);
        write_digits(&mut frame[NUMBER_AT..NUMBER_AT + 10], number);
        write_digits(&mut frame[DEADLINE_AT..DEADLINE_AT + 13], due_ms);
        number
    }
}

/// When a key ends, in milliseconds, and its number; nothing for other keys.
pub fn parse(key: &[u8]) -> Option<(u64, u64)> {
    let (due, number) = std::str::from_utf8(key.strip_prefix(b"end:")?).ok()?.split_once(':')?;
    Some((due.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_when_and_which() {
        let mut ending = Ending { when: When::At(1_234_567_890_123), made: Rc::default() };
        let mut rng = Rng::new(1);
        let mut out = Vec::new();
        assert_eq!(ending.push(&mut rng, &mut out), 0);
        out.clear();
        assert_eq!(ending.push(&mut rng, &mut out), 1);
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "*5\r\n$3\r\nSET\r\n$28\r\nend:1234567890123:0000000001\r\n$8\r\nxxxxxxxx\r\n$4\r\nPXAT\r\n$13\r\n1234567890123\r\n"
        );
        assert_eq!(parse(b"end:1234567890123:0000000001"), Some((1_234_567_890_123, 1)));
        assert_eq!(parse(b"key:1"), None);
        let now = wall_ns() / 1_000_000;
        let mut soon = Ending { when: When::Within(1000, 2000), made: Rc::default() };
        let mut out = Vec::new();
        soon.push(&mut rng, &mut out);
        let (due, _) = parse(&out[NAME_AT..NAME_AT + 28]).unwrap();
        assert!(due >= now + 1000 && due < now + 60_000);
    }
}
