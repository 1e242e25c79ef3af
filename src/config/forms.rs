//! Settings whose value is a list with a form of its own: addresses, save points, output buffer limits, event classes,
//! percentiles, OOM scores.

use super::kinds::{SettingValue, decimal, memory_size, memory_text, one};
use super::setting::{Origin, Spec};

/// Addresses to listen on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses(pub Vec<Address>);

/// One address to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Host name or address; `*` and `::*` mean all of IPv4 and all of IPv6.
    pub host: String,
    /// Written with a leading `-`: the start goes on when this address is not available.
    pub optional: bool,
}

/// More addresses than this are refused.
const ADDRESSES_MAX: usize = 16;

impl SettingValue for Addresses {
    fn parse(words: &[&[u8]], _: &Spec, _: &Self, _: Origin) -> Result<Self, String> {
        if words.len() > ADDRESSES_MAX {
            return Err("Too many bind addresses specified.".to_owned());
        }
        if words.iter().all(|word| word.is_empty()) {
            return Ok(Addresses(Vec::new()));
        }
        let address = |word: &&[u8]| {
            let text = std::str::from_utf8(word).map_err(|_| "Invalid bind address".to_owned())?;
            let (host, optional) = match text.strip_prefix('-') {
                Some(host) => (host, true),
                None => (text, false),
            };
            if host.is_empty()
                || host.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '\'')
            {
                return Err("Invalid bind address".to_owned());
            }
            Ok(Address { host: host.to_owned(), optional })
        };
        words.iter().map(address).collect::<Result<_, _>>().map(Addresses)
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        let words = self.0.iter().map(|a| if a.optional { format!("-{}", a.host) } else { a.host.clone() });
        words.collect::<Vec<_>>().join(" ").into_bytes()
    }
}

/// One save point: save when at least `changes` happened within `seconds`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SavePoint {
    /// Length of the window.
    pub seconds: u64,
    /// Changes needed within it.
    pub changes: u64,
}

/// When the data set is saved by itself; none by default.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SavePoints(pub Vec<SavePoint>);

impl SettingValue for SavePoints {
    fn parse(words: &[&[u8]], _: &Spec, current: &Self, origin: Origin) -> Result<Self, String> {
        const WRONG: &str = "Invalid save parameters";
        let mut points = if origin == Origin::More { current.0.clone() } else { Vec::new() };
        if words == [b"".as_slice()] {
            return Ok(SavePoints(Vec::new()));
        }
        if words.is_empty() || !words.len().is_multiple_of(2) {
            return Err(WRONG.to_owned());
        }
        let count = |word: &[u8], min: i128| {
            decimal(word)
                .filter(|n| *n >= min && *n <= i128::from(i32::MAX))
                .and_then(|n| u64::try_from(n).ok())
                .ok_or(WRONG)
        };
        for pair in words.chunks_exact(2) {
            points.push(SavePoint { seconds: count(pair[0], 1)?, changes: count(pair[1], 0)? });
        }
        Ok(SavePoints(points))
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        let words: Vec<_> = self.0.iter().map(|p| format!("{} {}", p.seconds, p.changes)).collect();
        words.join(" ").into_bytes()
    }

    fn lines(&self, _: &Spec) -> Vec<Vec<u8>> {
        if self.0.is_empty() {
            return vec![b"\"\"".to_vec()];
        }
        self.0.iter().map(|p| format!("{} {}", p.seconds, p.changes).into_bytes()).collect()
    }
}

/// Limits of one class of clients on what waits to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BufferLimit {
    /// A client over this is closed at once; 0 is no limit.
    pub hard: u64,
    /// A client over this for `seconds` is closed; 0 is no limit.
    pub soft: u64,
    /// How long the soft limit may be passed.
    pub seconds: u64,
}

/// Output buffer limits by class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BufferLimits {
    /// Plain clients.
    pub normal: BufferLimit,
    /// Replicas.
    pub replica: BufferLimit,
    /// Clients with at least one subscription.
    pub pubsub: BufferLimit,
}

impl BufferLimits {
    fn class(&mut self, name: &[u8]) -> Option<&mut BufferLimit> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Some(&mut self.normal),
            b"slave" | b"replica" => Some(&mut self.replica),
            b"pubsub" => Some(&mut self.pubsub),
            _ => None,
        }
    }

    fn each(&self) -> [(&'static str, BufferLimit); 3] {
        [("normal", self.normal), ("slave", self.replica), ("pubsub", self.pubsub)]
    }
}

impl SettingValue for BufferLimits {
    fn parse(words: &[&[u8]], _: &Spec, current: &Self, _: Origin) -> Result<Self, String> {
        if words.is_empty() || !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".to_owned());
        }
        let mut limits = *current;
        for quad in words.chunks_exact(4) {
            let class = limits
                .class(quad[0])
                .ok_or("Invalid client class specified in buffer limit configuration.")?;
            let seconds = decimal(quad[3]).and_then(|n| u64::try_from(n).ok());
            let (Some(hard), Some(soft), Some(seconds)) =
                (memory_size(quad[1]), memory_size(quad[2]), seconds)
            else {
                return Err(
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.".to_owned()
                );
            };
            *class = BufferLimit { hard, soft, seconds };
        }
        Ok(limits)
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        let class = |(name, l): (&str, BufferLimit)| format!("{name} {} {} {}", l.hard, l.soft, l.seconds);
        self.each().map(class).join(" ").into_bytes()
    }

    fn lines(&self, _: &Spec) -> Vec<Vec<u8>> {
        let line = |(name, l): (&str, BufferLimit)| {
            let name = if name == "slave" { "replica" } else { name };
            format!("{name} {} {} {}", memory_text(l.hard), memory_text(l.soft), l.seconds).into_bytes()
        };
        self.each().map(line).to_vec()
    }
}

bitflags::bitflags! {
    /// Which keyspace events are published, and where.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub struct EventClasses: u32 {
        /// `K`: on `__keyspace@<db>__:<key>`.
        const KEYSPACE = 1 << 0;
        /// `E`: on `__keyevent@<db>__:<event>`.
        const KEYEVENT = 1 << 1;
        /// `g`: DEL, EXPIRE, RENAME, …
        const GENERIC = 1 << 2;
        /// `$`: strings.
        const STRING = 1 << 3;
        /// `l`: lists.
        const LIST = 1 << 4;
        /// `s`: sets.
        const SET = 1 << 5;
        /// `h`: hashes.
        const HASH = 1 << 6;
        /// `z`: sorted sets.
        const ZSET = 1 << 7;
        /// `x`: a key ran out.
        const EXPIRED = 1 << 8;
        /// `e`: a key was evicted.
        const EVICTED = 1 << 9;
        /// `t`: streams.
        const STREAM = 1 << 10;
        /// `m`: a key was asked for that is not there.
        const KEY_MISS = 1 << 11;
        /// `d`: modules.
        const MODULE = 1 << 13;
        /// `n`: a key came into being.
        const NEW = 1 << 14;
        /// `A`: all classes but `m` and `n`.
        const ALL = Self::GENERIC.bits() | Self::STRING.bits() | Self::LIST.bits() | Self::SET.bits()
            | Self::HASH.bits() | Self::ZSET.bits() | Self::EXPIRED.bits() | Self::EVICTED.bits()
            | Self::STREAM.bits() | Self::MODULE.bits();
    }
}

/// Letters of the classes in the order in which Redis writes them.
const EVENT_LETTERS: [(char, EventClasses); 14] = [
    ('g', EventClasses::GENERIC),
    ('$', EventClasses::STRING),
    ('l', EventClasses::LIST),
    ('s', EventClasses::SET),
    ('h', EventClasses::HASH),
    ('z', EventClasses::ZSET),
    ('x', EventClasses::EXPIRED),
    ('e', EventClasses::EVICTED),
    ('t', EventClasses::STREAM),
    ('d', EventClasses::MODULE),
    ('n', EventClasses::NEW),
    ('K', EventClasses::KEYSPACE),
    ('E', EventClasses::KEYEVENT),
    ('m', EventClasses::KEY_MISS),
];

impl SettingValue for EventClasses {
    fn parse(words: &[&[u8]], _: &Spec, _: &Self, _: Origin) -> Result<Self, String> {
        let mut classes = EventClasses::empty();
        for byte in one(words)? {
            let letter = char::from(*byte);
            classes |= if letter == 'A' {
                EventClasses::ALL
            } else {
                let known = EVENT_LETTERS.iter().find(|(l, _)| *l == letter);
                known.ok_or("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")?.1
            };
        }
        Ok(classes)
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        let all = self.contains(EventClasses::ALL);
        let mut text = if all { "A".to_owned() } else { String::new() };
        for (letter, class) in EVENT_LETTERS {
            if self.contains(class) && !(all && EventClasses::ALL.contains(class)) {
                text.push(letter);
            }
        }
        text.into_bytes()
    }

    fn lines(&self, spec: &Spec) -> Vec<Vec<u8>> {
        vec![super::quote::repr(&self.show(spec))]
    }
}

/// Percentiles that INFO shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Percentiles(pub Vec<f64>);

impl SettingValue for Percentiles {
    fn parse(words: &[&[u8]], _: &Spec, _: &Self, _: Origin) -> Result<Self, String> {
        if words == [b"".as_slice()] {
            return Ok(Percentiles(Vec::new()));
        }
        let percentile = |word: &&[u8]| {
            let plain =
                word.iter().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'));
            let value =
                std::str::from_utf8(word).ok().filter(|_| plain).and_then(|text| text.parse::<f64>().ok());
            match value {
                None => Err("Invalid latency-tracking-info-percentiles parameters".to_owned()),
                Some(v) if (0.0..=100.0).contains(&v) => Ok(v),
                Some(_) => {
                    Err("latency-tracking-info-percentiles parameters should sit between [0.0,100.0]"
                        .to_owned())
                }
            }
        };
        words.iter().map(percentile).collect::<Result<_, _>>().map(Percentiles)
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        self.0.iter().map(f64::to_string).collect::<Vec<_>>().join(" ").into_bytes()
    }
}

/// OOM scores of master, replica and background work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OomScores(pub [i32; 3]);

impl SettingValue for OomScores {
    fn parse(words: &[&[u8]], _: &Spec, _: &Self, _: Origin) -> Result<Self, String> {
        if words.len() != 3 {
            return Err("wrong number of arguments".to_owned());
        }
        let mut scores = [0; 3];
        for (score, word) in scores.iter_mut().zip(words) {
            let value =
                decimal(word).and_then(|n| i32::try_from(n).ok()).filter(|n| (-2000..=2000).contains(n));
            *score = value.ok_or("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")?;
        }
        if scores[0] > scores[1] || scores[1] > scores[2] {
            tracing::warn!(
                "oom-score-adj-values should rise from the server over replicas to background work"
            );
        }
        Ok(OomScores(scores))
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        self.0.map(|score| score.to_string()).join(" ").into_bytes()
    }
}

/// The master that this server copies: host and port.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Master(pub Option<(String, u16)>);

impl SettingValue for Master {
    fn parse(words: &[&[u8]], _: &Spec, _: &Self, _: Origin) -> Result<Self, String> {
        if words == [b"".as_slice()] {
            return Ok(Master(None));
        }
        let [host, port] = words else {
            return Err("wrong number of arguments".to_owned());
        };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            return Ok(Master(None));
        }
        let port = decimal(port).and_then(|n| u16::try_from(n).ok()).ok_or("Invalid master port")?;
        Ok(Master(Some((String::from_utf8_lossy(host).into_owned(), port))))
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        self.0.as_ref().map(|(host, port)| format!("{host} {port}").into_bytes()).unwrap_or_default()
    }
}

/// A directory, kept as an absolute path.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Directory(pub std::path::PathBuf);

impl SettingValue for Directory {
    /// A relative name starts at the current directory.
    fn parse(words: &[&[u8]], _: &Spec, current: &Self, _: Origin) -> Result<Self, String> {
        use std::os::unix::ffi::OsStrExt;
        let path = current.0.join(std::ffi::OsStr::from_bytes(one(words)?));
        let real = path.canonicalize().map_err(|error| plain(&error))?;
        if !real.is_dir() {
            return Err("Not a directory".to_owned());
        }
        Ok(Directory(real))
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        use std::os::unix::ffi::OsStrExt;
        self.0.as_os_str().as_bytes().to_vec()
    }

    fn lines(&self, spec: &Spec) -> Vec<Vec<u8>> {
        vec![super::quote::quote_if_needed(&self.show(spec))]
    }
}

/// The system's text for an error, without Rust's appendix.
pub(super) fn plain(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((start, _)) => start.to_owned(),
        None => text,
    }
}
