//! Commands as text with places that change from one request to the next.
//!
//! | place | is |
//! |---|---|
//! | `{1000}` | a random number below 1000, with as many digits as 999 has |
//! | `{+1000}` | 0 to 999, over and over |
//! | `{x16}` | a text of 16 bytes |
//! | `{key}` | a key: drawn as `--dist` says, as long as `--key-size` says |
//! | `{value}` | the value of that key, as long as `--value-size` says for it |
//! | `{ttl}` | milliseconds drawn from `--ttl` |
//!
//! A word may hold several of them beside other letters. What keeps its length is filled into a frame that was made once;
//! a word whose length changes is put together for each request.

use anyhow::{Context, Result, bail, ensure};

use crate::keys::Rng;
use crate::request::{KEY_PREFIX, Shape, fill_value, write_digits};
use crate::sizes::Sizes;

/// Largest number that a place may ask for.
const NUMBER_MAX: u64 = 1 << 40;
/// Longest text that a place may ask for.
const TEXT_MAX: u64 = 1 << 20;

/// What `{key}`, `{value}` and `{ttl}` stand for.
#[derive(Debug, Clone, Copy)]
pub struct Filling<'a> {
    pub shape: &'a Shape,
    pub ttl: Option<(u64, u64)>,
}

/// A command.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    segments: Vec<Segment>,
    names_key: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Segment {
    /// A frame and the places in it.
    Fixed { frame: Vec<u8>, places: Vec<Place> },
    /// One word.
    Word(Vec<Part>),
}

#[derive(Debug, Clone, PartialEq)]
struct Place {
    at: usize,
    digits: usize,
    what: Number,
}

#[derive(Debug, Clone, PartialEq)]
enum Number {
    Random { below: u64 },
    Counts { below: u64, next: u64 },
    Key,
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text { bytes: Vec<u8>, places: Vec<Place> },
    Value { sizes: Sizes, derived: bool },
    Ttl { from: u64, to: u64 },
}

impl Command {
    /// Numbers and texts only.
    pub fn parse(text: &str) -> Result<Command> {
        Command::parse_with(text, None)
    }

    /// With keys and what belongs to them.
    pub fn parse_with(text: &str, filling: Option<Filling<'_>>) -> Result<Command> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        ensure!(!words.is_empty(), "a command is missing");
        let frame = format!("*{}\r\n", words.len()).into_bytes();
        let mut command =
            Command { segments: vec![Segment::Fixed { frame, places: Vec::new() }], names_key: false };
        for word in words {
            command.names_key |= word.contains("{key}");
            command.add(parts(word, filling)?);
        }
        Ok(command)
    }

    /// Whether the command has a `{key}`.
    pub fn names_key(&self) -> bool {
        self.names_key
    }

    fn add(&mut self, mut parts: Vec<Part>) {
        let fixed = match parts.as_mut_slice() {
            [Part::Text { bytes, places }] => Some((std::mem::take(bytes), std::mem::take(places))),
            _ => None,
        };
        let Some((bytes, inside)) = fixed else {
            self.segments.push(Segment::Word(parts));
            return;
        };
        if !matches!(self.segments.last(), Some(Segment::Fixed { .. })) {
            self.segments.push(Segment::Fixed { frame: Vec::new(), places: Vec::new() });
        }
        if let Some(Segment::Fixed { frame, places }) = self.segments.last_mut() {
            frame.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
            let base = frame.len();
            places.extend(inside.into_iter().map(|p| Place { at: base + p.at, ..p }));
            frame.extend_from_slice(&bytes);
            frame.extend_from_slice(b"\r\n");
        }
    }

    /// Appends one request.
    #[inline]
    pub fn push(&mut self, key: u64, rng: &mut Rng, out: &mut Vec<u8>) {
        for segment in &mut self.segments {
            match segment {
                Segment::Fixed { frame, places } => fill(frame, places, key, rng, out),
                Segment::Word(parts) => push_word(parts, key, rng, out),
            }
        }
    }
}

#[inline]
fn fill(frame: &[u8], places: &mut [Place], key: u64, rng: &mut Rng, out: &mut Vec<u8>) {
    let base = out.len();
    out.extend_from_slice(frame);
    for place in places {
        let n = match &mut place.what {
            Number::Random { below } => rng.below(*below),
            Number::Counts { below, next } => {
                let n = *next;
                *next = (n + 1) % *below;
                n
            }
            Number::Key => key,
        };
        let at = base + place.at;
        write_digits(&mut out[at..at + place.digits], n);
    }
}

fn push_word(parts: &mut [Part], key: u64, rng: &mut Rng, out: &mut Vec<u8>) {
    let mut word = Vec::new();
    for part in parts {
        match part {
            Part::Text { bytes, places } => fill(bytes, places, key, rng, &mut word),
            Part::Value { sizes, derived } => {
                let from = word.len();
                word.resize(from + sizes.of(key), b'x');
                if *derived {
                    fill_value(key, &mut word[from..]);
                }
            }
            Part::Ttl { from, to } => {
                let ms = *from + rng.below(*to - *from + 1);
                word.extend_from_slice(itoa::Buffer::new().format(ms).as_bytes());
            }
        }
    }
    out.push(b'$');
    out.extend_from_slice(itoa::Buffer::new().format(word.len()).as_bytes());
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&word);
    out.extend_from_slice(b"\r\n");
}

/// The parts of a word; neighbours that keep their lengths are one.
fn parts(mut rest: &str, filling: Option<Filling<'_>>) -> Result<Vec<Part>> {
    let mut all = vec![Part::Text { bytes: Vec::new(), places: Vec::new() }];
    while let Some((before, behind)) = rest.split_once('{') {
        let (inside, after) = behind.split_once('}').context("a '{' without its '}'")?;
        text(&mut all, before.as_bytes(), None);
        place(&mut all, inside, filling).with_context(|| format!("the place {{{inside}}}"))?;
        rest = after;
    }
    text(&mut all, rest.as_bytes(), None);
    all.retain(|part| !matches!(part, Part::Text { bytes, .. } if bytes.is_empty()));
    if all.is_empty() {
        all.push(Part::Text { bytes: Vec::new(), places: Vec::new() });
    }
    Ok(all)
}

/// Adds letters, and perhaps a number over the last of them.
fn text(all: &mut Vec<Part>, letters: &[u8], number: Option<(usize, Number)>) {
    if !matches!(all.last(), Some(Part::Text { .. })) {
        all.push(Part::Text { bytes: Vec::new(), places: Vec::new() });
    }
    if let Some(Part::Text { bytes, places }) = all.last_mut() {
        bytes.extend_from_slice(letters);
        if let Some((digits, what)) = number {
            places.push(Place { at: bytes.len() - digits, digits, what });
        }
    }
}

fn place(all: &mut Vec<Part>, inside: &str, filling: Option<Filling<'_>>) -> Result<()> {
    let needs = || filling.context("there are no keys here: {key}, {value} and {ttl} are for `run`");
    match inside {
        "key" => {
            let shape = needs()?.shape;
            let mut letters = KEY_PREFIX.to_vec();
            letters.resize(shape.key_size, b'0');
            text(all, &letters, Some((shape.digits(), Number::Key)));
        }
        "value" => {
            let shape = needs()?.shape;
            match shape.values {
                Sizes::Fixed(size) if !shape.derived_values => text(all, &vec![b'x'; size], None),
                _ => all.push(Part::Value { sizes: shape.values.clone(), derived: shape.derived_values }),
            }
        }
        "ttl" => match needs()?.ttl {
            Some((from, to)) => all.push(Part::Ttl { from, to }),
            None => bail!("--ttl says how long"),
        },
        _ => {
            if let Some(len) = inside.strip_prefix('x') {
                let len: u64 = len.parse().context("not a length")?;
                ensure!(len <= TEXT_MAX, "a text may have a megabyte at most");
                text(all, &vec![b'x'; len as usize], None);
                return Ok(());
            }
            let bound = inside.strip_prefix('+').unwrap_or(inside);
            let below: u64 = bound.parse().context("not a bound")?;
            ensure!((1..=NUMBER_MAX).contains(&below), "a bound is from 1 to {NUMBER_MAX}");
            let digits = (below - 1).to_string().len();
            let what = match bound == inside {
                true => Number::Random { below },
                false => Number::Counts { below, next: 0 },
            };
            text(all, &vec![b'0'; digits], Some((digits, what)));
        }
    }
    Ok(())
}

/// A command with its weight, as `--command` takes it: `80 GET {key}`, or `GET {key}` for a weight of 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighted {
    pub weight: u32,
    pub text: String,
}

impl std::str::FromStr for Weighted {
    type Err = anyhow::Error;

    fn from_str(s: &str) -> Result<Self> {
        let s = s.trim();
        let (weight, text) = match s.split_once(' ') {
            Some((number, rest)) if number.bytes().all(|b| b.is_ascii_digit()) => {
                (number.parse().with_context(|| format!("not a weight: {number}"))?, rest.trim())
            }
            _ => (1, s),
        };
        ensure!((1..=1_000_000).contains(&weight), "a weight is from 1 to 1000000");
        ensure!(!text.is_empty(), "a command is missing");
        Ok(Weighted { weight, text: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str, shape: &Shape, ttl: Option<(u64, u64)>, key: u64) -> String {
        let mut out = Vec::new();
        let filling = Filling { shape, ttl };
        Command::parse_with(text, Some(filling)).unwrap().push(key, &mut Rng::new(1), &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn numbers_and_texts_are_filled_in() {
        let mut command = Command::parse("SADD s:{+3} m{1000} {x4}").unwrap();
        let mut rng = Rng::new(1);
        let mut out = Vec::new();
        for i in [0, 1, 2, 0] {
            out.clear();
            command.push(0, &mut rng, &mut out);
            let text = String::from_utf8(out.clone()).unwrap();
            assert!(text.starts_with(&format!("*4\r\n$4\r\nSADD\r\n$3\r\ns:{i}\r\n$4\r\nm")), "{text}");
            assert!(text.ends_with("\r\n$4\r\nxxxx\r\n"), "{text}");
        }
    }

    #[test]
    fn keys_and_values_follow_the_run() {
        let shape = Shape { keys: 100, key_size: 8, values: "3".parse().unwrap(), derived_values: false };
        assert_eq!(
            filled("HSET h:{key} f{value} {value}", &shape, None, 7),
            "*4\r\n$4\r\nHSET\r\n$10\r\nh:key:0007\r\n$4\r\nfxxx\r\n$3\r\nxxx\r\n"
        );
        let shape = Shape { values: "5-300".parse().unwrap(), ..shape };
        for key in 0..50 {
            let size = shape.values.of(key);
            let value = "x".repeat(size);
            assert_eq!(
                filled("SET {key} <{value}> PX {ttl}", &shape, Some((1500, 1500)), key),
                format!(
                    "*5\r\n$3\r\nSET\r\n$8\r\nkey:00{key:02}\r\n${}\r\n<{value}>\r\n$2\r\nPX\r\n$4\r\n1500\r\n",
                    size + 2
                )
            );
        }
    }

    #[test]
    fn bad_commands_are_refused() {
        let shape = Shape { keys: 1, key_size: 8, values: "3".parse().unwrap(), derived_values: false };
        for bad in ["", "  ", "GET {", "GET {y}", "GET {0}", "GET {x99999999}", "SET {key} v PX {ttl}"] {
            let filling = Some(Filling { shape: &shape, ttl: None });
            assert!(Command::parse_with(bad, filling).is_err(), "{bad}");
        }
        assert!(Command::parse("GET {key}").is_err(), "no keys");
        assert!(!Command::parse("PING").unwrap().names_key());
        let with: Weighted = "80 GET {key}".parse().unwrap();
        assert_eq!((with.weight, with.text.as_str()), (80, "GET {key}"));
        assert_eq!("PING".parse::<Weighted>().unwrap().weight, 1);
        for bad in ["", "0 PING", "9999999 PING"] {
            assert!(bad.parse::<Weighted>().is_err(), "{bad}");
        }
    }
}
