//! `CONFIG GET` and `CONFIG SET` on snapshots: the caller installs the new one and applies what changed.

use super::quote::split_words;
use super::setting::Origin;
use super::{Allow, Config, SETTINGS, Setting, Status};
use crate::glob;

/// The setting of a name in any spelling and case.
pub fn find(name: &[u8]) -> Option<&'static Setting> {
    SETTINGS
        .iter()
        .find(|setting| setting.names.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name)))
}

/// Names and values of the settings that match any of the patterns, each once, in the order of the names.
///
/// Other spellings of a setting are entries of their own. Hidden settings answer to their full name only.
pub fn get(config: &Config, patterns: &[&[u8]]) -> Vec<(&'static str, Vec<u8>)> {
    let wanted = |name: &str, setting: &Setting| {
        patterns.iter().any(|pattern| match setting.is_hidden() {
            true => pattern.eq_ignore_ascii_case(name.as_bytes()),
            false => glob::matches(pattern, name.as_bytes(), true),
        })
    };
    let mut found: Vec<(&'static str, Vec<u8>)> = Vec::new();
    for setting in SETTINGS {
        let names = setting.names.iter().filter(|name| wanted(name, setting));
        found.extend(names.map(|name| (*name, setting.value(config))));
    }
    found.sort_unstable_by_key(|(name, _)| *name);
    found
}

/// Why `CONFIG SET` changed nothing. Shown, it is the text behind `ERR `.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// No setting of this name, or a name without a value.
    #[error("Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// The value is not possible.
    #[error("CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    Failed {
        /// The argument as the client gave it.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

impl SetError {
    /// For whoever applies a change and cannot: `port` → "Unable to listen on this port …".
    pub fn failed(name: &str, reason: impl Into<String>) -> Self {
        SetError::Failed { name: name.to_owned(), reason: reason.into() }
    }
}

/// A new snapshot with these settings, or the first error; nothing of a failed list is in effect.
///
/// `local` says whether the client is on this machine, which protected settings may ask for.
/// The second part of the result are the settings whose value is now another one.
pub fn set(
    config: &Config,
    pairs: &[(&[u8], &[u8])],
    local: bool,
) -> Result<(Config, Vec<&'static Setting>), SetError> {
    let mut found: Vec<(&'static Setting, &[u8], &[u8])> = Vec::with_capacity(pairs.len());
    for (name, value) in pairs {
        let shown = || printable(name);
        let fail = |reason: &str| Err(SetError::failed(&shown(), reason));
        let setting = find(name).ok_or_else(|| SetError::Unknown(shown()))?;
        if !setting.is_live() && !is_at(config, setting, value) {
            return fail("can't set immutable config");
        }
        if setting.is_protected() && !allowed(config.enable_protected_configs, local) {
            return fail("can't set protected config");
        }
        if found.iter().any(|(_, earlier, _)| earlier.eq_ignore_ascii_case(name)) {
            return fail("duplicate parameter");
        }
        found.push((setting, name, value));
    }
    let mut next = config.clone();
    let mut changed = Vec::new();
    for (setting, name, value) in found {
        assign_text(&mut next, setting, value)
            .map_err(|reason| SetError::failed(&printable(name), reason))?;
        if !setting.same(config, &next) {
            check_status(setting, &next).map_err(|reason| SetError::failed(&printable(name), reason))?;
            changed.push(setting);
        }
    }
    Ok((next, changed))
}

/// Whether a setting has this value already. So a client may put back all that `CONFIG GET *` showed it.
fn is_at(config: &Config, setting: &Setting, value: &[u8]) -> bool {
    let mut same = config.clone();
    assign_text(&mut same, setting, value).is_ok() && setting.same(config, &same)
}

/// Whether a client may, given who is let in.
pub(super) fn allowed(who: Allow, local: bool) -> bool {
    match who {
        Allow::Yes => true,
        Allow::No => false,
        Allow::Local => local,
    }
}

/// A name from a client, fit for an error line.
fn printable(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(&name[..name.len().min(128)]);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Gives a setting the value written in one text: words where it takes words, else the text as it is.
pub(super) fn assign_text(config: &mut Config, setting: &Setting, value: &[u8]) -> Result<(), String> {
    if !setting.takes_words() || value.is_empty() {
        return (setting.assign)(config, &[value], Origin::Whole);
    }
    let words = split_words(value).map_err(|_| "unbalanced quotes in value".to_owned())?;
    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
    (setting.assign)(config, &words, Origin::Whole)
}

/// Refuses values of what is not there, rather than to take them without effect.
pub(super) fn check_status(setting: &Setting, config: &Config) -> Result<(), String> {
    let reason = match setting.status {
        Status::Later(feature) => format!("{feature} is not built yet"),
        Status::Refused(reason) => reason.to_owned(),
        _ => return Ok(()),
    };
    let mut default = config.clone();
    match assign_text(&mut default, setting, setting.default.as_bytes()) {
        Ok(()) if setting.same(config, &default) => Ok(()),
        _ => Err(reason),
    }
}
