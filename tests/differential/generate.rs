//! Makes command sequences from a seed.

use std::fmt;

use crate::common::resp::escape;
use crate::common::rng::Rng;
use crate::compare::Compare;
use crate::table::{On, Template};

/// Connections per server: 0 runs commands, 1 and 2 subscribe, 3 writes between another's WATCH and EXEC.
pub const CONNECTIONS: usize = 4;
/// Those that subscribe.
pub const SUBSCRIBERS: std::ops::Range<usize> = 1..3;
/// The one that writes.
const WRITER: usize = 3;
/// Most commands between a MULTI and its end.
const QUEUED_MAX: usize = 8;
/// Databases that SELECT, MOVE, COPY and SWAPDB use.
pub const DATABASES: i64 = 3;
/// After so many commands the messages that subscribers got are compared.
const FENCE_EVERY: usize = 8;

/// One command on one connection, and how its replies are compared.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which of [`CONNECTIONS`].
    pub connection: usize,
    /// The command; empty for a step that only reads what subscribers got.
    pub args: Vec<Vec<u8>>,
    /// How its replies are compared.
    pub compare: Compare,
}

impl Step {
    /// Whether this is the command of that name.
    pub fn is(&self, name: &str) -> bool {
        self.args.first().is_some_and(|arg| arg.eq_ignore_ascii_case(name.as_bytes()))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}]", self.connection)?;
        for arg in &self.args {
            match arg.len() {
                0..=200 => write!(f, " \"{}\"", escape(arg))?,
                length => write!(f, " \"{}…\"({length} bytes)", escape(&arg[..40]))?,
            }
        }
        Ok(())
    }
}

/// What the functions of the table draw their arguments from.
pub struct Generator<'t> {
    /// The source of all choices.
    pub rng: Rng,
    templates: &'t [&'static Template],
    weights: usize,
    /// In a transaction: so many commands until its end.
    ending: Option<usize>,
}

impl<'t> Generator<'t> {
    /// A generator for this seed.
    pub fn new(seed: u64, templates: &'t [&'static Template]) -> Generator<'t> {
        let weights = templates.iter().map(|template| template.weight).sum();
        Generator { rng: Rng::new(seed), templates, weights, ending: None }
    }

    /// So many commands, with a comparison of what subscribers got now and then.
    pub fn sequence(&mut self, steps: usize) -> Vec<Step> {
        let mut out = Vec::with_capacity(steps + steps / FENCE_EVERY + 2);
        for number in 0..steps {
            out.push(self.step());
            if number % FENCE_EVERY == 0 || number + 1 == steps {
                out.extend(SUBSCRIBERS.map(|connection| Step {
                    connection,
                    args: Vec::new(),
                    compare: Compare::Exact,
                }));
            }
        }
        out
    }

    fn step(&mut self) -> Step {
        if self.ending == Some(0) {
            self.ending = None;
            let name = if self.rng.chance(85) { "EXEC" } else { "discard" };
            return Step { connection: 0, args: vec![name.into()], compare: Compare::Exact };
        }
        let mut ticket = self.rng.below(self.weights);
        let mut chosen = self.templates[0];
        for template in self.templates {
            chosen = template;
            match ticket.checked_sub(template.weight) {
                Some(rest) => ticket = rest,
                None => break,
            }
        }
        let mut args: Vec<Vec<u8>> = chosen.name.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        (chosen.arguments)(self, &mut args);
        let connection = match chosen.on {
            On::Main => 0,
            On::Subscriber => SUBSCRIBERS.start + self.rng.below(SUBSCRIBERS.len()),
            On::Writer => WRITER,
        };
        if let (Some(left), 0) = (&mut self.ending, connection) {
            *left -= 1;
        } else if chosen.name == "MULTI" {
            self.ending = Some(1 + self.rng.below(QUEUED_MAX));
        }
        if self.rng.chance(20) {
            args[0].make_ascii_lowercase();
        }
        // Ranges by text are only defined while all scores of a key are equal.
        let fragile = args.get(1).is_some_and(|key| key.starts_with(b"lex"));
        let exempt = !chosen.spoil || fragile || matches!(chosen.compare, Compare::Scan { .. });
        if !exempt && self.rng.chance(2) {
            self.spoil(&mut args);
        }
        Step { connection, args, compare: chosen.compare }
    }

    /// One argument too few, one too many, or one changed: for the error texts.
    fn spoil(&mut self, args: &mut Vec<Vec<u8>>) {
        match self.rng.below(3) {
            0 if args.len() > 1 => {
                args.remove(1 + self.rng.below(args.len() - 1));
            }
            1 => args.push(self.rng.pick(&["foo", "XX", "NX", "GET", "KEEPTTL", ""]).as_bytes().to_vec()),
            _ if args.len() > 2 => {
                let at = 2 + self.rng.below(args.len() - 2);
                args[at] = self
                    .rng
                    .pick(&["", "foo", "-1", "0", "9223372036854775808", "1.5", " 1"])
                    .as_bytes()
                    .to_vec();
            }
            _ => {}
        }
    }

    /// A key; few enough that commands meet each other's keys.
    pub fn key(&mut self) -> Vec<u8> {
        match self.rng.below(24) {
            0 => Vec::new(),
            1 => b"binary\x00\xff\r\nkey".to_vec(),
            2 => vec![b'L'; 300],
            3..=8 => format!("{{tag}}{}", self.rng.below(3)).into_bytes(),
            _ => format!("k{}", self.rng.below(6)).into_bytes(),
        }
    }

    /// A string value: numbers of all sizes, both sides of encoding limits, binary, long.
    pub fn value(&mut self) -> Vec<u8> {
        match self.rng.below(16) {
            0 => Vec::new(),
            1..=3 => self.rng.range(-100, 20_000).to_string().into_bytes(),
            4 => self.integer(),
            5 => self.float(),
            6 => vec![b'e'; 43 + self.rng.below(4)],
            7 => {
                let length = self.rng.below(40);
                self.rng.bytes(length)
            }
            8 => {
                let length = 900 + self.rng.below(5_000);
                self.rng.bytes(length)
            }
            9 => self
                .rng
                .pick(&["007", "+5", "-0", "1e3", " 12", "12 ", "0x10", "nan", "inf"])
                .as_bytes()
                .to_vec(),
            _ => {
                let letters = ["a", "b", "foo", "ohmytext", "mynewtext", "hello world"];
                self.rng.pick(&letters).as_bytes().to_vec()
            }
        }
    }

    /// An integer argument, with the limits and beyond them.
    pub fn integer(&mut self) -> Vec<u8> {
        let limits = [
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "4294967296",
            "",
            "abc",
            "1.0",
        ];
        match self.rng.below(10) {
            0 => self.rng.pick(&limits).as_bytes().to_vec(),
            1 => (self.rng.next() as i64).to_string().into_bytes(),
            _ => self.rng.range(-50, 200).to_string().into_bytes(),
        }
    }

    /// A float argument. None is out of range: such a one leaves an error number behind in redis-server 7.0, which a later
    /// SORT takes for its own. `bad_arguments.rs` sends them.
    pub fn float(&mut self) -> Vec<u8> {
        let odd = [
            "1e3",
            "-1.5e-3",
            "0.1",
            "3.0",
            "nan",
            "inf",
            "-inf",
            "abc",
            "",
            "5.",
            ".5",
            "1e17",
            "0.30000000000000004",
        ];
        match self.rng.below(3) {
            0 => self.rng.pick(&odd).as_bytes().to_vec(),
            _ => format!("{}.{}", self.rng.range(-1000, 1000), self.rng.below(1_000_000)).into_bytes(),
        }
    }

    /// An index into a string.
    pub fn index(&mut self) -> Vec<u8> {
        match self.rng.below(12) {
            0 => self.integer(),
            1 => self.rng.range(-6000, 6000).to_string().into_bytes(),
            _ => self.rng.range(-12, 12).to_string().into_bytes(),
        }
    }

    /// An offset at which something is written: small enough not to make long strings.
    pub fn offset(&mut self) -> Vec<u8> {
        match self.rng.below(15) {
            0 => self
                .rng
                .pick(&["-1", "abc", "536870912", "4294967296", "9223372036854775807"])
                .as_bytes()
                .to_vec(),
            1 => self.rng.below(20_000).to_string().into_bytes(),
            _ => self.rng.below(100).to_string().into_bytes(),
        }
    }

    /// An offset in bits, likewise: 64 MiB are left to the official suite.
    pub fn bit_offset(&mut self) -> Vec<u8> {
        match self.rng.below(15) {
            0 => self.rng.pick(&["-1", "abc", "4294967296", "9223372036854775807"]).as_bytes().to_vec(),
            1 => self.rng.below(100_000).to_string().into_bytes(),
            _ => self.rng.below(100).to_string().into_bytes(),
        }
    }

    /// Seconds to live: far enough that nothing expires during a sequence, or not valid, or in the past.
    pub fn seconds(&mut self) -> Vec<u8> {
        self.lifetime(1, true)
    }

    /// Milliseconds to live, likewise.
    pub fn milliseconds(&mut self) -> Vec<u8> {
        self.lifetime(1000, true)
    }

    /// Seconds to live of commands that set a value: never a valid time in the past.
    pub fn fresh_seconds(&mut self) -> Vec<u8> {
        self.lifetime(1, false)
    }

    /// Milliseconds to live of commands that set a value.
    pub fn fresh_milliseconds(&mut self) -> Vec<u8> {
        self.lifetime(1000, false)
    }

    /// When something is to expire, as seconds since 1970 (`scale` 1) or milliseconds (`scale` 1000): now and then that is past.
    pub fn moment(&mut self, scale: i64) -> Vec<u8> {
        if self.rng.chance(10) { b"1000".to_vec() } else { self.future(scale) }
    }

    /// A time in the future, as seconds since 1970 (`scale` 1) or milliseconds (`scale` 1000).
    pub fn future(&mut self, scale: i64) -> Vec<u8> {
        match self.rng.below(15) {
            // Not the largest: tandem keeps deadlines up to the year 10889.
            0 => self.rng.pick(&["0", "-1", "abc", "9223372036854775808", ""]).as_bytes().to_vec(),
            _ => (self.rng.range(4_000_000_000, 9_000_000_000) * scale).to_string().into_bytes(),
        }
    }

    /// Different every time: two equal lifetimes given at different times would compare by luck.
    fn lifetime(&mut self, scale: i64, past: bool) -> Vec<u8> {
        match self.rng.below(18) {
            0 => self
                .rng
                .pick(&["abc", "9223372036854775807", "-9223372036854775808", "", "1.5"])
                .as_bytes()
                .to_vec(),
            1 if past => self.rng.pick(&["0", "-1", "-100"]).as_bytes().to_vec(),
            _ => (self.rng.range(1_000, 90_000_000) * scale).to_string().into_bytes(),
        }
    }

    /// A database number.
    pub fn database(&mut self) -> Vec<u8> {
        match self.rng.below(20) {
            0 => self
                .rng
                .pick(&["-1", "16", "abc", "99999999999999999999", "2147483648", "4294967296"])
                .as_bytes()
                .to_vec(),
            _ => self.rng.range(0, DATABASES - 1).to_string().into_bytes(),
        }
    }

    /// A glob pattern for keys or channels.
    pub fn pattern(&mut self) -> Vec<u8> {
        let patterns = [
            "*", "k*", "k?", "k[0-3]", "k[^1]", "{tag}*", "*[", "\\k1", "k\\", "", "**", "[k]1", "ch*",
            "no-such",
        ];
        self.rng.pick(&patterns).as_bytes().to_vec()
    }

    /// A channel; some of them carry keyspace events.
    pub fn channel(&mut self) -> Vec<u8> {
        let channels = [
            "ch0",
            "ch1",
            "ch2",
            "news",
            "__keyevent@0__:set",
            "__keyevent@0__:del",
            "__keyspace@0__:k1",
            "",
        ];
        self.rng.pick(&channels).as_bytes().to_vec()
    }

    /// One of the words.
    pub fn word(&mut self, words: &[&str]) -> Vec<u8> {
        self.rng.pick(words).as_bytes().to_vec()
    }
}
