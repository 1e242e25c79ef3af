//! Reading redis.conf lines, from files, standard input and flags.
//!
//! Later lines win; `save` and `rename-command` add up; `include` takes patterns. What is not built is refused at the
//! end, so that a later line may still take it back.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::error::{BadLine, ConfigError, nearest, printable};
use super::quote::split_words;
use super::runtime::{check_status, find};
use super::setting::Origin;
use super::{Config, SETTINGS, Setting, Spec};
use crate::glob;

/// Files within files within files …
const INCLUDE_DEPTH_MAX: usize = 16;
/// Files read for one configuration.
const FILES_MAX: usize = 256;
/// Size of one file or of standard input.
const FILE_BYTES_MAX: u64 = 16 << 20;

/// Directives that Redis once had and still reads over.
const GONE: [&str; 3] = ["list-max-ziplist-entries", "list-max-ziplist-value", "lua-replicate-commands"];

/// Collects settings line by line.
pub(super) struct Loader {
    pub(super) config: Config,
    /// What should be said in the log.
    pub(super) notes: Vec<String>,
    /// Where each setting was last given, by name.
    given: BTreeMap<&'static str, BadLine>,
    files: usize,
    /// Whether `include` may open files.
    pub(super) may_include: bool,
}

/// Where a line stands.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) source: &'a str,
    pub(super) line: usize,
}

impl Place<'_> {
    pub(super) fn of(self, text: &[u8], reason: impl Into<String>) -> BadLine {
        let source = self.source.to_owned();
        BadLine { source, line: self.line, text: without_secret(text), reason: reason.into() }
    }
}

/// The line as it may be shown.
fn without_secret(text: &[u8]) -> String {
    let name = text.split(|byte| byte.is_ascii_whitespace()).next().unwrap_or_default();
    let name: Vec<u8> = name.iter().copied().filter(|byte| !matches!(byte, b'"' | b'\'' | b':')).collect();
    match find(&name) {
        Some(setting) if setting.is_secret() => format!("{} (redacted)", setting.name()),
        _ if name.eq_ignore_ascii_case(b"user") => "user (redacted)".to_owned(),
        _ => printable(&text[..text.len().min(1024)]),
    }
}

impl Loader {
    pub(super) fn new(config: Config) -> Self {
        Loader { config, notes: Vec::new(), given: BTreeMap::new(), files: 0, may_include: true }
    }

    /// Reads a file of redis.conf form.
    pub(super) fn file(&mut self, path: &Path, depth: usize) -> Result<(), ConfigError> {
        self.files += 1;
        if depth > INCLUDE_DEPTH_MAX || self.files > FILES_MAX {
            let reason = "too many files include each other".to_owned();
            return Err(ConfigError::File { path: path.to_owned(), reason });
        }
        let text = read(path)?;
        self.text(&text, &path.display().to_string(), depth)
    }

    /// Reads text of redis.conf form.
    pub(super) fn text(&mut self, text: &[u8], source: &str, depth: usize) -> Result<(), ConfigError> {
        for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
            self.line(line, Place { source, line: index + 1 }, depth)?;
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], place: Place<'_>, depth: usize) -> Result<(), ConfigError> {
        let line = line.trim_ascii();
        if line.is_empty() || line[0] == b'#' {
            return Ok(());
        }
        let bad = |reason: &str| Err(ConfigError::Line(Box::new(place.of(line, reason))));
        let Ok(words) = split_words(line) else {
            return bad("Unbalanced quotes in configuration line");
        };
        let Some((name, values)) = words.split_first() else {
            return Ok(());
        };
        if name.eq_ignore_ascii_case(b"include") {
            return match values {
                [pattern] => self.include(pattern, depth),
                _ => bad("wrong number of arguments"),
            };
        }
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        match self.words(name, &values, place.of(line, "")) {
            Ok(()) => Ok(()),
            Err(reason) => bad(&reason),
        }
    }

    /// Takes one setting, given as words; `at` is where it stands.
    pub(super) fn words(&mut self, name: &[u8], values: &[&[u8]], at: BadLine) -> Result<(), String> {
        let Some(setting) = find(name) else {
            return self.other(name);
        };
        // `save` alone means never, as `save ""` does.
        let never: &[&[u8]] = &[b""];
        let values = if values.is_empty() && setting.name() == "save" { never } else { values };
        if values.is_empty() {
            return Err(match setting.spec {
                // As Redis: this form takes any number of words, and none of them is one it knows.
                Spec::Choices(known) => super::kinds::one_of(known),
                // Redis takes a bare `save` for an empty one.
                Spec::Words(_) if setting.name() == "save" => return self.words(name, &[b""], at),
                _ => "wrong number of arguments".to_owned(),
            });
        }
        let origin = match self.given.contains_key(setting.name()) && setting.adds_up() {
            true => Origin::More,
            false => Origin::Whole,
        };
        // One word for a list of words is taken apart: `--save "60 1"`.
        let parts = match values {
            [only] if setting.takes_words() && !only.is_empty() => {
                split_words(only).map_err(|_| "unbalanced quotes in value")?
            }
            _ => values.iter().map(|word| word.to_vec()).collect(),
        };
        let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
        (setting.assign)(&mut self.config, &parts, origin)?;
        self.given.insert(setting.name(), at);
        Ok(())
    }

    /// Directives that are no settings.
    fn other(&mut self, name: &[u8]) -> Result<(), String> {
        let name = printable(&name[..name.len().min(128)]);
        let lower = name.to_ascii_lowercase();
        match lower.as_str() {
            "user" => return Err("ACL users in the configuration are not built yet".to_owned()),
            "loadmodule" => return Err("tandem has no loadable modules".to_owned()),
            "sentinel" => return Err("Sentinel mode is not built yet".to_owned()),
            gone if GONE.contains(&gone) => {
                self.notes.push(format!("'{gone}' means nothing any more and was passed over"));
                return Ok(());
            }
            _ => {}
        }
        let known = SETTINGS.iter().flat_map(|setting| setting.names).copied();
        Err(match nearest(&lower, known.chain(["include"])) {
            Some(near) => {
                format!("Bad directive or wrong number of arguments; the nearest known one is '{near}'")
            }
            None => "Bad directive or wrong number of arguments".to_owned(),
        })
    }

    fn include(&mut self, pattern: &[u8], depth: usize) -> Result<(), ConfigError> {
        use std::os::unix::ffi::OsStrExt;
        if !self.may_include {
            return Err(ConfigError::Arguments("include is not possible here".to_owned()));
        }
        let pattern = self.config.dir.0.join(std::ffi::OsStr::from_bytes(pattern));
        if !pattern.as_os_str().as_bytes().iter().any(|byte| b"*?[".contains(byte)) {
            return self.file(&pattern, depth + 1);
        }
        for path in expand(&pattern) {
            self.file(&path, depth + 1)?;
        }
        Ok(())
    }

    /// Notes that a setting was given, for the check at the end.
    pub(super) fn was_given(&mut self, setting: &'static Setting, at: BadLine) {
        self.given.insert(setting.name(), at);
    }

    /// The configuration, if nothing in it asks for what is not built.
    pub(super) fn finish(mut self) -> Result<Config, ConfigError> {
        for setting in SETTINGS {
            let Some(at) = self.given.get(setting.name()) else {
                continue;
            };
            if let Err(reason) = check_status(setting, &self.config) {
                return Err(ConfigError::Line(Box::new(BadLine { reason, ..at.clone() })));
            }
        }
        self.notes.extend(self.config.without_effect());
        self.config.notes = self.notes;
        Ok(self.config)
    }
}

/// A whole file, unless it is larger than any configuration.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, ConfigError> {
    let file = std::fs::File::open(path).map_err(|error| ConfigError::file(path, &error))?;
    read_all(file).map_err(|error| ConfigError::file(path, &error))
}

/// All of a reader, unless it is larger than any configuration.
pub(super) fn read_all(reader: impl Read) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    reader.take(FILE_BYTES_MAX + 1).read_to_end(&mut text)?;
    if text.len() as u64 > FILE_BYTES_MAX {
        return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "larger than any configuration"));
    }
    Ok(text)
}

/// The files that match an absolute pattern, sorted.
fn expand(pattern: &Path) -> Vec<PathBuf> {
    let mut found = vec![PathBuf::from("/")];
    for part in pattern.components() {
        let std::path::Component::Normal(part) = part else {
            if part == std::path::Component::ParentDir {
                found.iter_mut().for_each(|path| path.push(".."));
            }
            continue;
        };
        let part = part.as_encoded_bytes();
        let mut next = Vec::new();
        for directory in found {
            if !part.iter().any(|byte| b"*?[\\".contains(byte)) {
                use std::os::unix::ffi::OsStrExt;
                next.push(directory.join(std::ffi::OsStr::from_bytes(part)));
                continue;
            }
            let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
            let names = entries.map(|entry| entry.file_name());
            next.extend(
                names.filter(|name| is_match(part, name.as_encoded_bytes())).map(|name| directory.join(name)),
            );
        }
        next.sort();
        next.retain(|path| path.exists());
        next.truncate(FILES_MAX);
        found = next;
    }
    found
}

/// As a shell does, patterns do not match hidden files unless they say so.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    (name.first() != Some(&b'.') || pattern.first() == Some(&b'.')) && glob::matches(pattern, name, false)
}
