//! What one setting is: its names, form, default and standing, and the macro that turns a list of declarations into
//! [`Config`](super::Config) and the table that everything else reads.
//!
//! A declaration says everything once. The typed field, the YAML path, `CONFIG GET/SET/REWRITE`, the flags, the
//! shipped sidecar.yaml and the manual page are all derived from it.

use super::Config;

/// May be changed by `CONFIG SET`.
pub(super) const LIVE: u8 = 1;
/// Only read at the start.
pub(super) const FIXED: u8 = 0;
/// A password: never shown in logs, the slow log or `Debug`.
pub(super) const SECRET: u8 = 2;
/// Needs `enable-protected-configs` to be changed by a client.
pub(super) const PROTECTED: u8 = 4;
/// Left out of patterns in `CONFIG GET`: only its full name shows it.
pub(super) const HIDDEN: u8 = 8;
/// Several lines of a file add up (as `save` does) instead of replacing each other.
pub(super) const ADDS_UP: u8 = 16;

/// The form of a setting's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spec {
    /// `yes` or `no`.
    Bool,
    /// A decimal number within bounds; the unit is for people.
    Int {
        /// Smallest accepted value.
        min: i64,
        /// Largest accepted value.
        max: i64,
        /// What is counted, empty when that is plain.
        unit: &'static str,
    },
    /// A size in bytes, with the units of redis.conf (`1k` = 1000, `1kb` = 1024, …).
    Memory {
        /// Smallest accepted value.
        min: u64,
        /// Largest accepted value.
        max: u64,
    },
    /// A size in bytes or a share such as `5%`.
    MemoryOrPercent,
    /// The same, or `auto`.
    MemoryCap,
    /// File permissions in octal.
    Octal,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// Some of these words.
    Choices(&'static [&'static str]),
    /// Any text.
    Text,
    /// A password: any bytes, NUL among them.
    Password,
    /// The name of a file without a path; the setting's own name is for the error.
    FileName(&'static str),
    /// Text with known variables in braces.
    Title,
    /// One word of the form given.
    Form(&'static str),
    /// Several words of the form given.
    Words(&'static str),
}

/// What a setting does in this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It does what its line says.
    Active,
    /// Kept and reported, without effect: tandem has no such mechanism. The text says why.
    Inert(&'static str),
    /// Kept and reported; takes effect with the named part, which is not built yet.
    Waits(&'static str),
    /// Turns on the named part, which is not built yet: any value but the default is refused.
    Later(&'static str),
    /// Refused unless left at its default, for the reason given.
    Refused(&'static str),
}

/// Reads words into the setting's field; the error is the reason alone.
pub(super) type Assign = fn(&mut Config, &[&[u8]], Origin) -> Result<(), String>;

/// One setting.
pub struct Setting {
    /// Its name and then its other spellings.
    pub names: &'static [&'static str],
    /// The group in sidecar.yaml; empty for the top level.
    pub group: &'static str,
    /// Form of the value.
    pub spec: Spec,
    /// Default, as one would write it in redis.conf.
    pub default: &'static str,
    /// What it does in this version.
    pub status: Status,
    pub(super) traits: u8,
    pub(super) text: &'static str,
    pub(super) show: fn(&Config) -> Vec<u8>,
    pub(super) lines: fn(&Config) -> Vec<Vec<u8>>,
    pub(super) assign: Assign,
    pub(super) same: fn(&Config, &Config) -> bool,
}

/// Where a value comes from: a few forms read differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// The whole value (`CONFIG SET`, sidecar.yaml, the first line of a file).
    Whole,
    /// A further line of a file for a setting that adds up.
    More,
}

impl Setting {
    /// The name that files and clients use.
    pub fn name(&self) -> &'static str {
        self.names[0]
    }

    /// One line of explanation.
    pub fn explanation(&self) -> &'static str {
        self.text.trim()
    }

    /// Path in sidecar.yaml.
    pub fn yaml_path(&self) -> String {
        if self.group.is_empty() { self.name().to_owned() } else { format!("{}.{}", self.group, self.name()) }
    }

    /// Whether `CONFIG SET` may change it.
    pub fn is_live(&self) -> bool {
        self.traits & LIVE != 0
    }

    /// Whether its value is a secret that must not reach logs.
    pub fn is_secret(&self) -> bool {
        self.traits & SECRET != 0
    }

    /// Whether clients need `enable-protected-configs` to change it.
    pub fn is_protected(&self) -> bool {
        self.traits & PROTECTED != 0
    }

    /// Whether patterns of `CONFIG GET` skip it.
    pub fn is_hidden(&self) -> bool {
        self.traits & HIDDEN != 0
    }

    /// Whether several lines of a file add up.
    pub(super) fn adds_up(&self) -> bool {
        self.traits & ADDS_UP != 0
    }

    /// Whether its value is a list of words rather than one.
    pub fn takes_words(&self) -> bool {
        matches!(self.spec, Spec::Words(_) | Spec::Choices(_))
    }

    /// Its value as `CONFIG GET` shows it.
    pub fn value(&self, config: &Config) -> Vec<u8> {
        (self.show)(config)
    }

    /// Whether two configurations agree on it.
    pub fn same(&self, a: &Config, b: &Config) -> bool {
        (self.same)(a, b)
    }
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

pub(super) const ACTIVE: Status = Status::Active;

pub(super) const fn inert(reason: &'static str) -> Status {
    Status::Inert(reason)
}

pub(super) const fn waits(feature: &'static str) -> Status {
    Status::Waits(feature)
}

pub(super) const fn later(feature: &'static str) -> Status {
    Status::Later(feature)
}

pub(super) const fn int(min: i64, max: i64, unit: &'static str) -> Spec {
    Spec::Int { min, max, unit }
}

pub(super) const fn memory(min: u64, max: u64) -> Spec {
    Spec::Memory { min, max }
}

/// Turns declarations into `Config`, its defaults, and `SETTINGS`.
macro_rules! settings {
    ($( $group:literal { $(
        #[doc = $text:literal] $field:ident: $type:ty = $default:literal,
        [$($name:literal),+], $spec:expr, $traits:expr, $status:expr;
    )* } )*) => {
        /// An immutable snapshot of all settings. A change makes a new one.
        #[derive(Clone, PartialEq)]
        pub struct Config {
            $($( #[doc = $text] pub $field: $type, )*)*
            /// The file that it was read from, which `CONFIG REWRITE` writes.
            pub file: Option<std::path::PathBuf>,
            /// The working directory of the start, which relative names in the file are relative to.
            pub started_in: std::path::PathBuf,
            /// What the log should say about it at the start.
            pub notes: Vec<String>,
        }

        /// Every setting, in the order of sidecar.yaml.
        pub static SETTINGS: &[Setting] = &[
            $($( Setting {
                names: &[$($name),+],
                group: $group,
                spec: $spec,
                default: $default,
                status: $status,
                traits: $traits,
                text: $text,
                show: |config| SettingValue::show(&config.$field, &$spec),
                lines: |config| SettingValue::lines(&config.$field, &$spec),
                assign: |config, words, origin| {
                    config.$field = SettingValue::parse(words, &$spec, &config.$field, origin)?;
                    Ok(())
                },
                same: |a, b| a.$field == b.$field,
            }, )*)*
        ];

        impl Config {
            /// Every field empty or zero: the ground on which the declared defaults are laid.
            pub(super) fn blank() -> Self {
                Config { $($( $field: Default::default(), )*)* file: None, started_in: Default::default(), notes: Vec::new() }
            }
        }
    };
}
pub(super) use settings;
