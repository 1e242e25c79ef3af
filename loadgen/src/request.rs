//! Requests: pre-built frames in which only the key's digits (and, if asked for, the value)
//! change from one request to the next.

use std::cell::Cell;
use std::rc::Rc;
use std::str::FromStr;

use anyhow::{Result, bail, ensure};

use crate::ending::Ending;
use crate::fanout::Publish;
use crate::keys::{Picker, Rng, scramble};
use crate::sizes::Sizes;
use crate::template::Command;

/// The commands that can be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Get,
    Set,
    Incr,
    Del,
    /// A command out of a template: any reply but an error will do.
    Any,
}

impl Kind {
    pub const ALL: [Kind; 4] = [Kind::Get, Kind::Set, Kind::Incr, Kind::Del];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Get => "GET",
            Kind::Set => "SET",
            Kind::Incr => "INCR",
            Kind::Del => "DEL",
            Kind::Any => "ANY",
        }
    }

    /// Counters live under their own prefix: INCR on what SET wrote would be an error.
    fn prefix(self) -> &'static [u8; 4] {
        match self {
            Kind::Incr => b"ctr:",
            Kind::Get | Kind::Set | Kind::Del | Kind::Any => KEY_PREFIX,
        }
    }
}

/// What the keys of everything but counters begin with.
pub const KEY_PREFIX: &[u8; 4] = b"key:";

impl FromStr for Kind {
    type Err = anyhow::Error;

    fn from_str(s: &str) -> Result<Self> {
        match Kind::ALL.into_iter().find(|k| k.name().eq_ignore_ascii_case(s)) {
            Some(kind) => Ok(kind),
            None => bail!("unknown command '{s}' (get, set, incr, del)"),
        }
    }
}

/// Commands with their weights: `get`, or `get=80,set=20`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mix(pub Vec<(Kind, u32)>);

impl Mix {
    pub fn only(kind: Kind) -> Self {
        Mix(vec![(kind, 1)])
    }
}

impl FromStr for Mix {
    type Err = anyhow::Error;

    fn from_str(s: &str) -> Result<Self> {
        let mut parts = Vec::new();
        for part in s.split(',') {
            let (name, weight) = part.split_once('=').unwrap_or((part, "1"));
            let weight: u32 = match weight.parse() {
                Ok(w) if w <= 1_000_000 => w,
                _ => bail!("the weight of '{name}' must be a number up to 1000000"),
            };
            if weight > 0 {
                parts.push((name.parse()?, weight));
            }
        }
        ensure!(!parts.is_empty(), "a mix needs at least one command with a weight above 0");
        Ok(Mix(parts))
    }
}

/// Sizes that all requests of a run share.
#[derive(Debug, Clone)]
pub struct Shape {
    pub keys: u64,
    pub key_size: usize,
    pub values: Sizes,
    /// Values are made from the key's number, so that a GET can be compared byte by byte.
    pub derived_values: bool,
}

/// Largest key and value that a run may ask for; the frames are built in memory.
pub const KEY_SIZE_MAX: usize = 4096;
pub const VALUE_SIZE_MAX: usize = 64 << 20;
/// Digits in a key that may change; 10^16 keys are enough.
const DIGITS_MAX: usize = 16;

impl Shape {
    /// The digits written for every key: as many as the largest number needs.
    pub fn digits(&self) -> usize {
        let mut buf = itoa::Buffer::new();
        buf.format(self.keys.saturating_sub(1)).len()
    }

    pub fn check(&self) -> Result<()> {
        ensure!(self.keys >= 1, "at least one key is needed");
        ensure!(self.digits() <= DIGITS_MAX, "too many keys: {}", self.keys);
        ensure!(self.key_size <= KEY_SIZE_MAX, "--key-size may be at most {KEY_SIZE_MAX}");
        ensure!(self.values.largest() <= VALUE_SIZE_MAX, "--value-size may be at most {VALUE_SIZE_MAX}");
        let least = 4 + self.digits();
        ensure!(self.key_size >= least, "{} keys need a --key-size of at least {least}", self.keys);
        Ok(())
    }
}

/// One command's frame and the places in it that change.
struct Template {
    frame: Vec<u8>,
    /// End of the key's digits.
    key_end: usize,
    /// Where the value starts; 0 when it never changes.
    value_at: usize,
    /// The frame ends behind the key: value and its length differ from key to key.
    open: bool,
}

impl Template {
    fn new(kind: Kind, shape: &Shape) -> Self {
        let name = kind.name();
        let args = if kind == Kind::Set { 3 } else { 2 };
        let head = format!("*{args}\r\n${}\r\n{name}\r\n${}\r\n", name.len(), shape.key_size);
        let mut frame = head.into_bytes();
        frame.extend_from_slice(kind.prefix());
        frame.resize(frame.len() + shape.key_size - 4, b'0');
        let key_end = frame.len();
        frame.extend_from_slice(b"\r\n");
        let mut value_at = 0;
        let mut open = false;
        match shape.values {
            _ if kind != Kind::Set => {}
            Sizes::Fixed(size) => {
                frame.extend_from_slice(format!("${size}\r\n").as_bytes());
                if shape.derived_values {
                    value_at = frame.len();
                }
                frame.resize(frame.len() + size, b'x');
                frame.extend_from_slice(b"\r\n");
            }
            _ => open = true,
        }
        Template { frame, key_end, value_at, open }
    }
}

/// The value that belongs to a key when values are derived: eight letters, repeated.
fn value_word(key: u64) -> [u8; 8] {
    let mut word = (scramble(key ^ 0x7461_6e64_656d) & 0x0f0f_0f0f_0f0f_0f0f).to_le_bytes();
    for b in &mut word {
        *b += b'a';
    }
    word
}

/// Fills a value with what belongs to its key.
pub fn fill_value(key: u64, out: &mut [u8]) {
    let word = value_word(key);
    for chunk in out.chunks_mut(8) {
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
}

/// Whether `value` is what `fill_value` made for this key.
pub fn value_belongs_to(key: u64, value: &[u8]) -> bool {
    let word = value_word(key);
    value.chunks(8).all(|chunk| chunk == &word[..chunk.len()])
}

/// Produces requests: draws a command from the mix and a key from the picker.
pub struct Generator {
    rng: Rng,
    picker: Picker,
    live: Rc<Cell<u64>>,
    /// Command and the sum of the weights up to and including it.
    mix: Vec<(Kind, u64)>,
    templates: Vec<Template>,
    digits: usize,
    values: Sizes,
    derived_values: bool,
    /// Milliseconds that a SET may live, from the first to the second.
    ttl: Option<(u64, u64)>,
    /// What is sent instead of the mix.
    instead: Option<Instead>,
}

/// Requests that are not a mix of simple commands.
enum Instead {
    /// Commands that are sent in turn.
    Row { commands: Vec<Command>, turn: usize },
    /// Commands of any kind, with the sum of the weights up to and including each.
    Mix(Vec<(Command, u64)>),
    /// Keys that are numbered and say when they end.
    Ending(Ending),
    /// Messages that say when they were sent.
    Publish(Publish),
}

impl Generator {
    /// Sends these commands in turn.
    pub fn of_row(row: Vec<Command>, seed: u64) -> Self {
        Generator::sending(Instead::Row { commands: row, turn: 0 }, seed)
    }

    /// Sends commands by their weights instead of the mix, with keys as this draws them.
    pub fn with_commands(mut self, commands: Vec<(Command, u32)>) -> Self {
        let mut sum = 0;
        let weighted = commands.into_iter().map(|(command, weight)| {
            sum += u64::from(weight);
            (command, sum)
        });
        self.instead = Some(Instead::Mix(weighted.collect()));
        self
    }

    /// Sends keys that end.
    pub fn of_ending(ending: Ending, seed: u64) -> Self {
        Generator::sending(Instead::Ending(ending), seed)
    }

    /// Publishes messages.
    pub fn of_publish(publish: Publish, seed: u64) -> Self {
        Generator::sending(Instead::Publish(publish), seed)
    }

    fn sending(what: Instead, seed: u64) -> Self {
        let shape = Shape { keys: 1, key_size: 16, values: Sizes::Fixed(0), derived_values: false };
        let live = Rc::new(Cell::new(1));
        let generator = Generator::new(&Mix::only(Kind::Any), Picker::Uniform, &shape, live, seed);
        Generator { instead: Some(what), ..generator }
    }

    /// `live` bounds the keys that are drawn; `shape.keys` bounds what it may ever become.
    pub fn new(mix: &Mix, picker: Picker, shape: &Shape, live: Rc<Cell<u64>>, seed: u64) -> Self {
        let mut sum = 0;
        let mix = mix.0.iter().map(|&(kind, weight)| {
            sum += u64::from(weight);
            (kind, sum)
        });
        Generator {
            rng: Rng::new(scramble(seed)),
            picker,
            live,
            mix: mix.collect(),
            templates: Kind::ALL.iter().map(|&k| Template::new(k, shape)).collect(),
            digits: shape.digits(),
            values: shape.values.clone(),
            derived_values: shape.derived_values,
            ttl: None,
            instead: None,
        }
    }

    /// SETs get deadlines.
    pub fn with_ttl(mut self, ttl: Option<(u64, u64)>) -> Self {
        self.ttl = ttl;
        if ttl.is_some() {
            let set = &mut self.templates[Kind::Set as usize];
            set.frame.truncate(set.key_end + 2);
            set.frame[1] = b'5';
            (set.value_at, set.open) = (0, true);
        }
        self
    }

    /// Appends one request and says what it is.
    #[inline]
    pub fn push(&mut self, out: &mut Vec<u8>) -> (Kind, u64) {
        match &mut self.instead {
            None => {}
            Some(Instead::Row { commands, turn }) => {
                let now = *turn;
                *turn = if now + 1 == commands.len() { 0 } else { now + 1 };
                commands[now].push(0, &mut self.rng, out);
                return (Kind::Any, 0);
            }
            Some(Instead::Mix(commands)) => {
                let r = match commands.as_slice() {
                    [_] => 0,
                    many => self.rng.below(many.last().map_or(1, |last| last.1)),
                };
                let at = commands.iter().position(|(_, upto)| r < *upto).unwrap_or(0);
                let command = &mut commands[at].0;
                let key = if command.names_key() { self.picker.pick(&mut self.rng, &self.live) } else { 0 };
                command.push(key, &mut self.rng, out);
                return (Kind::Any, key);
            }
            Some(Instead::Publish(publish)) => {
                publish.push(out);
                return (Kind::Any, 0);
            }
            Some(Instead::Ending(ending)) => return (Kind::Set, ending.push(&mut self.rng, out)),
        }
        let kind = self.draw_kind();
        let key = self.picker.pick(&mut self.rng, &self.live);
        let template = &self.templates[kind as usize];
        let base = out.len();
        out.extend_from_slice(&template.frame);
        let key_end = base + template.key_end;
        write_digits(&mut out[key_end - self.digits..key_end], key);
        if template.value_at != 0 {
            let value = base + template.value_at..out.len() - 2;
            fill_value(key, &mut out[value]);
        } else if template.open {
            self.push_value(key, out);
            if let Some((from, to)) = self.ttl {
                let ms = from + self.rng.below(to - from + 1);
                let mut digits = itoa::Buffer::new();
                let ms = digits.format(ms).as_bytes();
                out.extend_from_slice(b"$2\r\nPX\r\n$");
                out.extend_from_slice(itoa::Buffer::new().format(ms.len()).as_bytes());
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(ms);
                out.extend_from_slice(b"\r\n");
            }
        }
        (kind, key)
    }

    /// The last argument of a SET whose length is the key's own.
    fn push_value(&self, key: u64, out: &mut Vec<u8>) {
        let size = self.values.of(key);
        out.push(b'$');
        out.extend_from_slice(itoa::Buffer::new().format(size).as_bytes());
        out.extend_from_slice(b"\r\n");
        let value = out.len()..out.len() + size;
        out.resize(value.end, b'x');
        if self.derived_values {
            fill_value(key, &mut out[value]);
        }
        out.extend_from_slice(b"\r\n");
    }

    #[inline]
    fn draw_kind(&mut self) -> Kind {
        if let [(kind, _)] = self.mix[..] {
            return kind;
        }
        let total = self.mix.last().map_or(1, |m| m.1);
        let r = self.rng.below(total);
        self.mix.iter().find(|m| r < m.1).map_or(Kind::Get, |m| m.0)
    }

    /// A number for the arrival process, from the same stream.
    pub fn unit(&mut self) -> f64 {
        self.rng.unit()
    }
}

/// Right-aligned decimal digits over the whole slice.
#[inline]
pub fn write_digits(out: &mut [u8], mut n: u64) {
    for slot in out.iter_mut().rev() {
        *slot = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(keys: u64, derived_values: bool) -> Shape {
        Shape { keys, key_size: 16, values: Sizes::Fixed(10), derived_values }
    }

    fn generator(mix: &str, shape: &Shape) -> Generator {
        let live = Rc::new(Cell::new(shape.keys));
        let picker = Picker::Sequential { next: 0, step: 1 };
        Generator::new(&mix.parse().unwrap(), picker, shape, live, 1)
    }

    #[test]
    fn frames_are_exact() {
        let s = shape(1000, false);
        let mut out = Vec::new();
        let mut g = generator("set", &s);
        g.push(&mut out);
        assert_eq!(g.push(&mut out), (Kind::Set, 1));
        let one = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$10\r\nxxxxxxxxxx\r\n";
        assert_eq!(
            String::from_utf8(out).unwrap(),
            format!("{one}{}", one.replace("000\r\n$10", "001\r\n$10"))
        );
        let mut out = Vec::new();
        generator("incr", &s).push(&mut out);
        assert_eq!(out, b"*2\r\n$4\r\nINCR\r\n$16\r\nctr:000000000000\r\n");
    }

    #[test]
    fn derived_values_are_recognised() {
        let s = shape(1000, true);
        let mut out = Vec::new();
        let mut g = generator("set", &s);
        g.push(&mut out);
        let value = &out[out.len() - 12..out.len() - 2];
        assert!(value_belongs_to(0, value));
        assert!(!value_belongs_to(1, value));
    }

    #[test]
    fn values_have_the_length_that_their_key_gives() {
        let s = Shape { values: "5-300".parse().unwrap(), ..shape(1000, true) };
        let mut g = generator("set", &s);
        for key in 0..100 {
            let mut out = Vec::new();
            assert_eq!(g.push(&mut out), (Kind::Set, key));
            let size = s.values.of(key);
            let head = format!("\r\n${size}\r\n");
            let at = out.len() - size - 2;
            assert!(out[..at].ends_with(head.as_bytes()), "{}", String::from_utf8_lossy(&out));
            assert!(value_belongs_to(key, &out[at..at + size]));
        }
    }

    #[test]
    fn sets_with_a_deadline() {
        let mut g = generator("set", &shape(1000, false)).with_ttl(Some((1500, 1500)));
        let mut out = Vec::new();
        g.push(&mut out);
        let text =
            "*5\r\n$3\r\nSET\r\n$16\r\nkey:000000000000\r\n$10\r\nxxxxxxxxxx\r\n$2\r\nPX\r\n$4\r\n1500\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn mixes_keep_their_weights() {
        let s = shape(1000, false);
        let mut g = generator("get=75,set=25", &s);
        let mut out = Vec::new();
        let mut gets = 0;
        for _ in 0..10_000 {
            out.clear();
            gets += u32::from(g.push(&mut out).0 == Kind::Get);
        }
        assert!((7_300..7_700).contains(&gets), "{gets}");
    }

    #[test]
    fn bad_mixes_and_shapes_are_refused() {
        for bad in ["", "get=", "get=x", "get=0", "lpush", "get=99999999"] {
            assert!(bad.parse::<Mix>().is_err(), "{bad}");
        }
        assert!(shape(0, false).check().is_err());
        assert!(Shape { key_size: 8, ..shape(100_000, false) }.check().is_err());
        assert!(Shape { key_size: 9, ..shape(100_000, false) }.check().is_ok());
        assert!(Shape { values: Sizes::Fixed(usize::MAX), ..shape(1, false) }.check().is_err());
    }
}
