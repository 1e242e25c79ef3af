//! The types of setting values: how each is read from words, shown by `CONFIG GET`, and written to redis.conf.

use super::quote::{quote_if_needed, repr};
use super::setting::{Origin, Spec};

/// A type that a setting can have.
pub(super) trait SettingValue: Sized {
    /// Reads the words of a line, of a `CONFIG SET` value, or of a YAML value.
    fn parse(words: &[&[u8]], spec: &Spec, current: &Self, origin: Origin) -> Result<Self, String>;

    /// As `CONFIG GET` shows it.
    fn show(&self, spec: &Spec) -> Vec<u8>;

    /// As redis.conf holds it: what follows the name, one element a line.
    fn lines(&self, spec: &Spec) -> Vec<Vec<u8>> {
        let shown = self.show(spec);
        vec![if shown.is_empty() { b"\"\"".to_vec() } else { shown }]
    }
}

/// Text of a setting: bytes, since passwords and paths need not be UTF-8.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct Text(Box<[u8]>);

impl Text {
    /// Text of these bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Text(bytes.into())
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For messages: what is not UTF-8 is replaced.
    pub fn to_str_lossy(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.0)
    }

    /// As a path.
    pub fn as_path(&self) -> &std::path::Path {
        use std::os::unix::ffi::OsStrExt;
        std::path::Path::new(std::ffi::OsStr::from_bytes(&self.0))
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.to_str_lossy())
    }
}

/// The only word, or the error that redis.conf readers know.
pub(super) fn one<'a>(words: &[&'a [u8]]) -> Result<&'a [u8], String> {
    match words {
        [word] => Ok(word),
        _ => Err("wrong number of arguments".to_owned()),
    }
}

impl SettingValue for Text {
    fn parse(words: &[&[u8]], spec: &Spec, _: &Self, _: Origin) -> Result<Self, String> {
        let word = one(words)?;
        match spec {
            Spec::Password => {}
            _ if word.contains(&0) => return Err("argument must not contain a NUL byte".to_owned()),
            Spec::FileName(name) if word.is_empty() || word.contains(&b'/') => {
                return Err(format!("{name} can't be a path, just a filename"));
            }
            Spec::Title if !is_title_template(word) => {
                return Err("template format is invalid or contains unknown variables".to_owned());
            }
            _ => {}
        }
        Ok(Text::new(word))
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        self.0.to_vec()
    }

    fn lines(&self, _: &Spec) -> Vec<Vec<u8>> {
        vec![quote_if_needed(&self.0)]
    }
}

/// The error for a word that is none of these.
pub(super) fn one_of(known: &[&str]) -> String {
    format!("argument(s) must be one of the following: {}", known.join(", "))
}

/// Whether the braces of a process title name known variables and close.
fn is_title_template(template: &[u8]) -> bool {
    const KNOWN: [&[u8]; 7] =
        [b"title", b"listen-addr", b"server-mode", b"port", b"tls-port", b"unixsocket", b"config-file"];
    let mut rest = template;
    while let Some(open) = memchr::memchr(b'{', rest) {
        let Some(length) = memchr::memchr(b'}', &rest[open..]) else {
            return false;
        };
        if !KNOWN.contains(&&rest[open + 1..open + length]) {
            return false;
        }
        rest = &rest[open + length + 1..];
    }
    true
}

impl SettingValue for bool {
    fn parse(words: &[&[u8]], _: &Spec, _: &Self, _: Origin) -> Result<Self, String> {
        let word = one(words)?;
        if word.eq_ignore_ascii_case(b"yes") {
            Ok(true)
        } else if word.eq_ignore_ascii_case(b"no") {
            Ok(false)
        } else {
            Err("argument must be 'yes' or 'no'".to_owned())
        }
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        if *self { b"yes".to_vec() } else { b"no".to_vec() }
    }
}

/// A decimal number as Redis reads it: an optional minus, no leading zeros or plus.
pub(super) fn decimal(word: &[u8]) -> Option<i128> {
    let (negative, digits) = match word {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, word),
    };
    if digits.is_empty() || digits.len() > 20 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    if digits.len() > 1 && digits[0] == b'0' || negative && digits == b"0" {
        return None;
    }
    let value = digits.iter().fold(0i128, |sum, digit| sum * 10 + i128::from(digit - b'0'));
    Some(if negative { -value } else { value })
}

/// A size with one of the units of redis.conf. What does not fit into 63 bits is no size.
pub(crate) fn memory_size(word: &[u8]) -> Option<u64> {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = word.split_at(digits);
    let scale: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        b"t" => 1_000_000_000_000,
        b"tb" => 1 << 40,
        _ => return None,
    };
    let number = std::str::from_utf8(number).ok()?.parse::<u64>().ok()?;
    number.checked_mul(scale).filter(|bytes| i64::try_from(*bytes).is_ok())
}

/// The shortest exact way to write a size in a file.
pub(super) fn memory_text(bytes: u64) -> String {
    for (scale, unit) in [(1u64 << 30, "gb"), (1 << 20, "mb"), (1 << 10, "kb")] {
        if bytes > 0 && bytes.is_multiple_of(scale) {
            return format!("{}{unit}", bytes / scale);
        }
    }
    bytes.to_string()
}

/// A number within the bounds of the setting, with the error texts of Redis.
pub(super) fn number(word: &[u8], spec: &Spec) -> Result<i128, String> {
    let (value, min, max) = match *spec {
        Spec::Memory { min, max } => {
            let value = memory_size(word).ok_or("argument must be a memory value")?;
            (i128::from(value), i128::from(min), i128::from(max))
        }
        Spec::Int { min, max, .. } => {
            let value = decimal(word).filter(|v| i64::try_from(*v).is_ok());
            (value.ok_or("argument couldn't be parsed into an integer")?, i128::from(min), i128::from(max))
        }
        Spec::Octal => {
            let text =
                std::str::from_utf8(word).map_err(|_| "argument couldn't be parsed as an octal number")?;
            let value = u32::from_str_radix(text, 8).ok().filter(|_| !text.starts_with('+'));
            (i128::from(value.ok_or("argument couldn't be parsed as an octal number")?), 0, 0o777)
        }
        _ => return Err("argument must be a number".to_owned()),
    };
    if value < min || value > max {
        return Err(match spec {
            Spec::Octal => format!("argument must be between {min:o} and {max:o} inclusive"),
            _ => format!("argument must be between {min} and {max} inclusive"),
        });
    }
    Ok(value)
}

macro_rules! numbers {
    ($($type:ty)*) => { $(
        impl SettingValue for $type {
            fn parse(words: &[&[u8]], spec: &Spec, _: &Self, _: Origin) -> Result<Self, String> {
                let value = number(one(words)?, spec)?;
                <$type>::try_from(value).map_err(|_| "argument is out of range".to_owned())
            }

            fn show(&self, spec: &Spec) -> Vec<u8> {
                match spec {
                    Spec::Octal => format!("{:o}", self),
                    _ => self.to_string(),
                }
                .into_bytes()
            }

            fn lines(&self, spec: &Spec) -> Vec<Vec<u8>> {
                match (spec, u64::try_from(*self)) {
                    (Spec::Memory { .. }, Ok(bytes)) => vec![memory_text(bytes).into_bytes()],
                    _ => vec![self.show(spec)],
                }
            }
        }
    )* };
}
numbers! { u16 u32 u64 i32 i64 }

/// Declares an enum whose values are words. The first word is shown, all are read.
macro_rules! choices {
    ($( #[doc = $text:literal] $name:ident { $( $variant:ident = $word:literal $(| $also:literal)* ),+ $(,)? } )*) => { $(
        #[doc = $text]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $( #[doc = concat!("`", $word, "`")] $variant ),+
        }

        impl $name {
            /// The words that are read, in the order of error messages.
            pub const WORDS: &'static [&'static str] = &[$( $word $(, $also)* ),+];

            /// The word of this value.
            pub fn word(self) -> &'static str {
                match self { $( Self::$variant => $word ),+ }
            }

            /// The value of a word, whatever its case.
            pub fn of(word: &[u8]) -> Option<Self> {
                $( if [$word $(, $also)*].iter().any(|w| w.as_bytes().eq_ignore_ascii_case(word)) {
                    return Some(Self::$variant);
                } )+
                None
            }
        }

        impl Default for $name {
            fn default() -> Self {
                [$( Self::$variant ),+][0]
            }
        }

        impl SettingValue for $name {
            fn parse(words: &[&[u8]], _: &Spec, _: &Self, _: Origin) -> Result<Self, String> {
                Self::of(one(words)?).ok_or_else(|| {
                    format!("argument(s) must be one of the following: {}", Self::WORDS.join(", "))
                })
            }

            fn show(&self, _: &Spec) -> Vec<u8> {
                self.word().as_bytes().to_vec()
            }
        }
    )* };
}

choices! {
    /// How much is logged.
    LogLevel { Debug = "debug", Verbose = "verbose", Notice = "notice", Warning = "warning", Nothing = "nothing" }
    /// Form of log lines.
    LogFormat { Redis = "redis", Json = "json" }
    /// Who may use something that is closed by default.
    Allow { No = "no", Yes = "yes", Local = "local" }
    /// What is dropped when memory is full.
    EvictionPolicy {
        VolatileLru = "volatile-lru", VolatileLfu = "volatile-lfu", VolatileRandom = "volatile-random",
        VolatileTtl = "volatile-ttl", AllkeysLru = "allkeys-lru", AllkeysLfu = "allkeys-lfu",
        AllkeysRandom = "allkeys-random", AllkeysArc = "allkeys-arc", Noeviction = "noeviction",
    }
    /// When the append-only file is synced.
    Fsync { Everysec = "everysec", Always = "always", No = "no" }
    /// Which supervisor is told that the server is ready.
    Supervised { No = "no", Upstart = "upstart", Systemd = "systemd", Auto = "auto" }
    /// Facility of syslog messages.
    SyslogFacility {
        User = "user", Local0 = "local0", Local1 = "local1", Local2 = "local2", Local3 = "local3",
        Local4 = "local4", Local5 = "local5", Local6 = "local6", Local7 = "local7",
    }
    /// How a replica loads a snapshot that comes by socket.
    DisklessLoad { Disabled = "disabled", OnEmptyDb = "on-empty-db", Swapdb = "swapdb" }
    /// Deep checks of RESTORE payloads.
    Sanitize { No = "no", Yes = "yes", Clients = "clients" }
    /// Client certificates of TLS connections.
    TlsAuthClients { No = "no", Yes = "yes", Optional = "optional" }
    /// Channels of users that name none.
    PubsubDefault { Allchannels = "allchannels", Resetchannels = "resetchannels" }
    /// Adjustment of the kernel's choice when memory runs out.
    OomScoreAdj { No = "no", Relative = "yes" | "relative", Absolute = "absolute" }
    /// What is announced to clients of a cluster.
    Endpoint { Ip = "ip", Hostname = "hostname", Unknown = "unknown-endpoint" }
    /// What happens when the propagation path meets an error.
    PropagationError { Ignore = "ignore", Panic = "panic", PanicOnReplicas = "panic-on-replicas" }
}

/// What a signal asks of the shutdown: any of save or nosave, now and force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ShutdownFlags {
    /// Save even without save points.
    pub save: bool,
    /// Do not save.
    pub nosave: bool,
    /// Do not wait for replicas.
    pub now: bool,
    /// Ignore errors while saving.
    pub force: bool,
}

impl ShutdownFlags {
    /// The words that are read.
    pub const WORDS: &'static [&'static str] = &["default", "save", "nosave", "now", "force"];
}

impl SettingValue for ShutdownFlags {
    fn parse(words: &[&[u8]], _: &Spec, _: &Self, _: Origin) -> Result<Self, String> {
        let mut flags = ShutdownFlags::default();
        for word in words {
            match word.to_ascii_lowercase().as_slice() {
                b"default" => {}
                b"save" => flags.save = true,
                b"nosave" => flags.nosave = true,
                b"now" => flags.now = true,
                b"force" => flags.force = true,
                _ => return Err(one_of(Self::WORDS)),
            }
        }
        if flags.save && flags.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".to_owned());
        }
        Ok(flags)
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        let set = [self.save, self.nosave, self.now, self.force];
        let words: Vec<&str> =
            Self::WORDS[1..].iter().zip(set).filter(|(_, on)| *on).map(|(w, _)| *w).collect();
        if words.is_empty() { b"default".to_vec() } else { words.join(" ").into_bytes() }
    }
}

/// Number of workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Workers {
    /// As many as the machine and the cgroup grant, at most four.
    #[default]
    Auto,
    /// Exactly this many.
    Fixed(u16),
}

impl SettingValue for Workers {
    fn parse(words: &[&[u8]], _: &Spec, _: &Self, _: Origin) -> Result<Self, String> {
        let word = one(words)?;
        if word.eq_ignore_ascii_case(b"auto") {
            return Ok(Workers::Auto);
        }
        match decimal(word).and_then(|n| u16::try_from(n).ok()) {
            Some(count @ 1..=256) => Ok(Workers::Fixed(count)),
            _ => Err("argument must be 'auto' or a number between 1 and 256".to_owned()),
        }
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        match self {
            Workers::Auto => b"auto".to_vec(),
            Workers::Fixed(count) => count.to_string().into_bytes(),
        }
    }
}

/// A limit in bytes or as a share of `maxmemory`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryLimit {
    /// Bytes; 0 is no limit.
    Bytes(u64),
    /// Percent of `maxmemory`.
    Percent(u8),
}

impl MemoryLimit {
    /// The limit in bytes; 0 is no limit (also for a share while `maxmemory` is 0).
    pub fn resolve(self, maxmemory: u64) -> u64 {
        match self {
            MemoryLimit::Bytes(bytes) => bytes,
            MemoryLimit::Percent(share) => maxmemory / 100 * u64::from(share),
        }
    }
}

impl Default for MemoryLimit {
    fn default() -> Self {
        MemoryLimit::Bytes(0)
    }
}

impl SettingValue for MemoryLimit {
    fn parse(words: &[&[u8]], _: &Spec, _: &Self, _: Origin) -> Result<Self, String> {
        let word = one(words)?;
        const WRONG: &str = "argument must be a memory or percent value";
        if let [number @ .., b'%'] = word {
            let share = decimal(number).ok_or(WRONG)?;
            return match u8::try_from(share) {
                Ok(share @ 0..=100) => Ok(MemoryLimit::Percent(share)),
                _ if share > 100 => Err("percentage argument must be less or equal to 100".to_owned()),
                _ => Err(WRONG.to_owned()),
            };
        }
        Ok(MemoryLimit::Bytes(memory_size(word).ok_or(WRONG)?))
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        match self {
            MemoryLimit::Bytes(bytes) => bytes.to_string(),
            MemoryLimit::Percent(share) => format!("{share}%"),
        }
        .into_bytes()
    }

    fn lines(&self, spec: &Spec) -> Vec<Vec<u8>> {
        match self {
            MemoryLimit::Bytes(bytes) => vec![memory_text(*bytes).into_bytes()],
            MemoryLimit::Percent(_) => vec![self.show(spec)],
        }
    }
}

/// A limit on the memory of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MemoryCap {
    /// Bytes; 0 is no limit.
    Bytes(u64),
    /// Percent of what the process may have: its cgroup's limit, or the machine's memory.
    Percent(u8),
    /// What the process may have, less a reserve; less under memory pressure.
    Auto,
}

impl Default for MemoryCap {
    fn default() -> Self {
        MemoryCap::Bytes(0)
    }
}

impl SettingValue for MemoryCap {
    fn parse(words: &[&[u8]], spec: &Spec, current: &Self, origin: Origin) -> Result<Self, String> {
        let word = one(words)?;
        if word.eq_ignore_ascii_case(b"auto") {
            return Ok(MemoryCap::Auto);
        }
        if let [.., b'%'] = word {
            return match MemoryLimit::parse(words, spec, &MemoryLimit::default(), origin)? {
                MemoryLimit::Percent(share) => Ok(MemoryCap::Percent(share)),
                MemoryLimit::Bytes(_) => Ok(*current),
            };
        }
        let bytes = memory_size(word).filter(|&bytes| bytes <= i64::MAX.unsigned_abs());
        Ok(MemoryCap::Bytes(bytes.ok_or("argument must be a memory value")?))
    }

    fn show(&self, _: &Spec) -> Vec<u8> {
        match self {
            MemoryCap::Bytes(bytes) => bytes.to_string(),
            MemoryCap::Percent(share) => format!("{share}%"),
            MemoryCap::Auto => "auto".to_owned(),
        }
        .into_bytes()
    }

    fn lines(&self, spec: &Spec) -> Vec<Vec<u8>> {
        match self {
            MemoryCap::Bytes(bytes) => vec![memory_text(*bytes).into_bytes()],
            MemoryCap::Percent(_) | MemoryCap::Auto => vec![self.show(spec)],
        }
    }
}

/// Renamed commands; an empty new name takes the command away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Renames(pub Vec<(Text, Text)>);

impl SettingValue for Renames {
    fn parse(words: &[&[u8]], _: &Spec, current: &Self, origin: Origin) -> Result<Self, String> {
        let mut list = if origin == Origin::More { current.0.clone() } else { Vec::new() };
        if words == [b"".as_slice()] {
            return Ok(Renames(list));
        }
        if !words.len().is_multiple_of(2) {
            return Err("wrong number of arguments".to_owned());
        }
        for pair in words.chunks_exact(2) {
            if pair[0].is_empty() {
                return Err("No such command in rename-command".to_owned());
            }
            list.push((Text::new(pair[0]), Text::new(pair[1])));
        }
        Ok(Renames(list))
    }

    fn show(&self, spec: &Spec) -> Vec<u8> {
        if self.0.is_empty() { Vec::new() } else { self.lines(spec).join(b" ".as_slice()) }
    }

    fn lines(&self, _: &Spec) -> Vec<Vec<u8>> {
        let pair = |(old, new): &(Text, Text)| {
            [quote_if_needed(old.as_bytes()), repr(new.as_bytes())].join(b" ".as_slice())
        };
        self.0.iter().map(pair).collect()
    }
}
