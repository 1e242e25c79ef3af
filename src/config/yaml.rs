//! Reading sidecar.yaml: groups of settings. Errors name the line and the nearest known key.
//!
//! The parser is driven by seeds rather than read into a tree: an error that a seed returns carries the place of the
//! key or value that it was given.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::conf::{Loader, Place};
use super::error::{BadLine, ConfigError, nearest};
use super::quote::split_words;
use super::runtime::{check_status, find};
use super::setting::Origin;
use super::{SETTINGS, Setting, Spec};

/// Reads text of sidecar.yaml form.
pub(super) fn load(loader: &mut Loader, text: &[u8], source: &str) -> Result<(), ConfigError> {
    let reason = RefCell::new(None);
    let document = serde_yaml_ng::Deserializer::from_slice(text);
    let group = Group { name: None, loader, reason: &reason };
    let Err(error) = group.deserialize(document) else {
        return Ok(());
    };
    let (line, column) = error.location().map_or((1, 1), |at| (at.line().max(1), at.column().max(1)));
    let reason = reason.into_inner().unwrap_or_else(|| without_place(&error.to_string()));
    let shown = text.split(|byte| *byte == b'\n').nth(line - 1).unwrap_or_default().trim_ascii();
    let bad = Place { source, line }.of(shown, format!("{reason}, column {column}"));
    Err(ConfigError::Line(Box::new(bad)))
}

/// The parser's text for an error; the place is shown apart from it.
fn without_place(text: &str) -> String {
    let Some((before, after)) = text.split_once(" at line ") else {
        return text.to_owned();
    };
    let after = after.split_once(',').map_or("", |(_, rest)| rest);
    if after.is_empty() { before.to_owned() } else { format!("{before},{after}") }
}

/// The document (no name) or one group of it.
struct Group<'a> {
    name: Option<&'static str>,
    loader: &'a mut Loader,
    reason: &'a RefCell<Option<String>>,
}

/// Keeps the reason for the message and returns the error that carries its place.
fn fail<E: serde::de::Error>(reason: &RefCell<Option<String>>, text: String) -> E {
    let error = E::custom(&text);
    *reason.borrow_mut() = Some(text);
    error
}

impl<'de> DeserializeSeed<'de> for Group<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Group<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name {
            Some(name) => write!(f, "the settings of '{name}' as `key: value`"),
            None => f.write_str("groups of settings"),
        }
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = BTreeSet::new();
        while let Some(key) =
            map.next_key_seed(Key { group: self.name, seen: &mut seen, reason: self.reason })?
        {
            match key {
                Known::Group(name) => {
                    map.next_value_seed(Group {
                        name: Some(name),
                        loader: &mut *self.loader,
                        reason: self.reason,
                    })?;
                }
                Known::Setting(setting) => {
                    map.next_value_seed(Value { setting, loader: &mut *self.loader, reason: self.reason })?;
                }
            }
        }
        Ok(())
    }
}

/// What a key names.
#[derive(Clone, Copy)]
enum Known {
    Group(&'static str),
    Setting(&'static Setting),
}

struct Key<'a> {
    group: Option<&'static str>,
    seen: &'a mut BTreeSet<&'static str>,
    reason: &'a RefCell<Option<String>>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Known;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Known, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Known;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a setting")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Known, E> {
        let known = match self.group {
            None => groups().find(|group| *group == key).map(Known::Group),
            Some(_) => None,
        };
        let here = |setting: &&Setting| setting.group == self.group.unwrap_or_default();
        let known = known.or_else(|| find(key.as_bytes()).filter(here).map(Known::Setting));
        let Some(known) = known else {
            return Err(fail(self.reason, unknown(self.group, key)));
        };
        let name = match known {
            Known::Group(name) => name,
            Known::Setting(setting) => setting.name(),
        };
        if !self.seen.insert(name) {
            return Err(fail(self.reason, format!("'{name}' is given twice")));
        }
        Ok(known)
    }
}

fn groups() -> impl Iterator<Item = &'static str> {
    let mut last = "";
    SETTINGS.iter().filter_map(move |setting| {
        let new = setting.group != last;
        last = setting.group;
        new.then_some(setting.group)
    })
}

/// The error for a key that is not known here.
fn unknown(group: Option<&str>, key: &str) -> String {
    let shown = super::error::printable(&key.as_bytes()[..key.len().min(128)]);
    let path = group.map_or_else(|| shown.clone(), |group| format!("{group}.{shown}"));
    let here = SETTINGS.iter().filter(|setting| setting.group == group.unwrap_or_default());
    let near_here = nearest(key, here.flat_map(|setting| setting.names).copied());
    let near = find(key.as_bytes())
        .map(Setting::yaml_path)
        .or_else(|| near_here.and_then(|name| find(name.as_bytes())).map(Setting::yaml_path))
        .or_else(|| nearest(key, groups().filter(|_| group.is_none())).map(str::to_owned))
        .or_else(|| {
            let name = nearest(key, SETTINGS.iter().flat_map(|setting| setting.names).copied());
            name.and_then(|name| find(name.as_bytes())).map(Setting::yaml_path)
        });
    match near {
        Some(near) => format!("unknown key '{path}'; the nearest known one is '{near}'"),
        None => format!("unknown key '{path}'"),
    }
}

/// The value of a setting.
struct Value<'a> {
    setting: &'static Setting,
    loader: &'a mut Loader,
    reason: &'a RefCell<Option<String>>,
}

impl Value<'_> {
    fn take<E: serde::de::Error>(self, words: &[Vec<u8>]) -> Result<(), E> {
        let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        let config = &mut self.loader.config;
        let taken = (self.setting.assign)(config, &words, Origin::Whole)
            .and_then(|()| check_status(self.setting, config));
        match taken {
            Ok(()) => {
                let at =
                    BadLine { source: String::new(), line: 0, text: String::new(), reason: String::new() };
                self.loader.was_given(self.setting, at);
                Ok(())
            }
            Err(reason) => Err(fail(self.reason, format!("{}: {reason}", self.setting.yaml_path()))),
        }
    }

    fn text<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        let words = match self.setting.spec {
            Spec::Bool => vec![match text {
                "true" | "True" | "TRUE" => b"yes".to_vec(),
                "false" | "False" | "FALSE" => b"no".to_vec(),
                other => other.as_bytes().to_vec(),
            }],
            _ if self.setting.takes_words() => match split_words(text.as_bytes()) {
                Ok(words) if words.is_empty() => vec![Vec::new()],
                Ok(words) => words,
                Err(_) => return Err(fail(self.reason, "unbalanced quotes in value".to_owned())),
            },
            _ => vec![text.as_bytes().to_vec()],
        };
        self.take(&words)
    }
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = if self.setting.takes_words() { " or a list" } else { "" };
        write!(f, "one value{list} for '{}'", self.setting.yaml_path())
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<(), E> {
        self.text("")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        self.text("")
    }

    /// Text is read as it stands (`deserialize_str`), so that a password of digits keeps its zeros.
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        if self.setting.takes_words() {
            deserializer.deserialize_any(self)
        } else {
            deserializer.deserialize_str(self)
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.text(text)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.text(if value { "yes" } else { "no" })
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.text(&value.to_string())
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.text(&value.to_string())
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.text(&value.to_string())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut words = Vec::new();
        while let Some(element) = list.next_element_seed(Element)? {
            match split_words(element.as_bytes()) {
                Ok(parts) => words.extend(parts),
                Err(_) => return Err(A::Error::custom("unbalanced quotes in value")),
            }
        }
        if words.is_empty() {
            words.push(Vec::new());
        }
        self.take(&words)
    }
}

/// One element of a list, as it stands.
struct Element;

impl<'de> DeserializeSeed<'de> for Element {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        serde::Deserialize::deserialize(deserializer)
    }
}
