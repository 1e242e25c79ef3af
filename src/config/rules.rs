//! `expiry-rules`: keys that are written to a stream when they expire.

use super::kinds::{SettingValue, Text, decimal};
use super::quote::quote_if_needed;
use super::setting::{Origin, Spec};
use crate::glob;

/// Rules at the same time: each key that expires is compared with all of them.
pub const RULES_MAX: usize = 128;
/// Longest name of a rule.
const NAME_MAX: usize = 128;
/// Entries that a stream keeps if its rule does not say.
const MAXLEN_DEFAULT: u64 = 1_000_000;

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpiryRule {
    /// Its name.
    pub name: Text,
    /// Keys that it is about.
    pub pattern: Text,
    /// Database of the keys and of the stream.
    pub db: u16,
    /// Where their entries go.
    pub stream: Text,
    /// Entries that the stream keeps.
    pub maxlen: u64,
    /// Whether an entry has the value.
    pub value: bool,
}

impl ExpiryRule {
    /// Reads a rule: its name and options, up to the word `rule` or the end. Gives what is left, too.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn read<'w, 'a>(words: &'w [&'a [u8]]) -> Result<(ExpiryRule, &'w [&'a [u8]]), String> {
        let (name, mut rest) = words.split_first().ok_or("a rule needs a name")?;
        if name.is_empty() || name.len() > NAME_MAX {
            return Err(format!("the name of a rule has 1 to {NAME_MAX} bytes"));
        }
        let (mut pattern, mut stream) = (None, None);
        let (mut db, mut maxlen, mut value) = (0, MAXLEN_DEFAULT, false);
        while let Some((word, after)) = rest.split_first() {
            if word.eq_ignore_ascii_case(b"rule") {
                break;
            }
            rest = after;
            if word.eq_ignore_ascii_case(b"value") {
                value = true;
                continue;
            }
            let known = [&b"pattern"[..], b"stream", b"db", b"maxlen"];
            if !known.iter().any(|known| word.eq_ignore_ascii_case(known)) {
                return Err("a rule has PATTERN, STREAM, DB, MAXLEN and VALUE".to_owned());
            }
            let (argument, after) = rest.split_first().ok_or("an option of the rule lacks its argument")?;
            rest = after;
            let number = |max: i128| decimal(argument).filter(|n| (0..=max).contains(n));
            match word.to_ascii_lowercase().as_slice() {
                b"pattern" => pattern = Some(Text::new(argument)),
                b"stream" => stream = Some(Text::new(argument)),
                b"db" => {
                    let n = number(65534).and_then(|n| u16::try_from(n).ok());
                    db = n.ok_or("DB of a rule must be the number of a database")?;
                }
                _ => {
                    let n = number(i128::from(i64::MAX)).and_then(|n| u64::try_from(n).ok());
                    maxlen = n.filter(|n| *n > 0).ok_or("MAXLEN of a rule must be positive")?;
                }
            }
        }
        let pattern = pattern.ok_or("a rule needs a PATTERN")?;
        let stream = stream.filter(|s| !s.is_empty()).ok_or("a rule needs a STREAM")?;
        Ok((ExpiryRule { name: Text::new(name), pattern, db, stream, maxlen, value }, rest))
    }

    /// Whether it is about this key.
    pub fn concerns(&self, db: u16, key: &[u8]) -> bool {
        let pattern = self.pattern.as_bytes();
        self.db == db && (pattern == b"*" || glob::matches(pattern, key, false))
    }

    /// As the words that it is read from.
    fn line(&self) -> Vec<u8> {
        let mut line = b"rule ".to_vec();
        line.extend(quote_if_needed(self.name.as_bytes()));
        line.extend(b" pattern ");
        line.extend(quote_if_needed(self.pattern.as_bytes()));
        line.extend(b" stream ");
        line.extend(quote_if_needed(self.stream.as_bytes()));
        line.extend(format!(" db {} maxlen {}", self.db, self.maxlen).into_bytes());
        line.extend(if self.value { &b" value"[..] } else { b"" });
        line
    }
}

/// All rules, in order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpiryRules(pub Vec<ExpiryRule>);

impl ExpiryRules {
    /// Adds a rule, or puts it in the place of the one with its name.
    ///
    /// # Errors
    /// If there are too many.
    pub fn put(&mut self, rule: ExpiryRule) -> Result<(), String> {
        if let Some(old) = self.0.iter_mut().find(|old| old.name == rule.name) {
            *old = rule;
        } else if self.0.len() >= RULES_MAX {
            return Err(format!("there are {RULES_MAX} rules already"));
        } else {
            self.0.push(rule);
        }
        Ok(())
    }
}

impl SettingValue for ExpiryRules {
    fn parse(words: &[&[u8]], _: &Spec, current: &Self, origin: Origin) -> Result<Self, String> {
        let mut rules = if origin == Origin::More { current.clone() } else { ExpiryRules::default() };
        if words == [b"".as_slice()] {
            return Ok(ExpiryRules::default());
        }
        let mut rest = words;
        while let Some((word, after)) = rest.split_first() {
            if !word.eq_ignore_ascii_case(b"rule") {
                return Err("each rule begins with the word 'rule'".to_owned());
            }
            let (rule, after) = ExpiryRule::read(after)?;
            if rules.0.iter().any(|other| other.name == rule.name) {
                return Err(format!("the rule '{}' is there twice", rule.name.to_str_lossy()));
            }
            rules.put(rule)?;
            rest = after;
        }
        Ok(rules)
    }

    fn show(&self, spec: &Spec) -> Vec<u8> {
        if self.0.is_empty() { Vec::new() } else { self.lines(spec).join(b" ".as_slice()) }
    }

    fn lines(&self, _: &Spec) -> Vec<Vec<u8>> {
        if self.0.is_empty() {
            return vec![b"\"\"".to_vec()];
        }
        self.0.iter().map(ExpiryRule::line).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ExpiryRules, String> {
        let words: Vec<&[u8]> = text.split(' ').map(str::as_bytes).collect();
        ExpiryRules::parse(&words, &Spec::Text, &ExpiryRules::default(), Origin::Whole)
    }

    #[test]
    fn rules_are_shown_as_they_are_read() {
        let rules =
            read("rule a pattern job:* stream s RULE b VALUE MaxLen 5 DB 3 stream t pattern *").expect("two");
        assert_eq!((rules.0.len(), rules.0[0].maxlen, rules.0[0].value), (2, MAXLEN_DEFAULT, false));
        assert!(rules.0[0].concerns(0, b"job:1") && !rules.0[0].concerns(1, b"job:1"));
        assert!(!rules.0[0].concerns(0, b"jobs") && rules.0[1].concerns(3, b""));
        let shown = String::from_utf8(rules.show(&Spec::Text)).expect("text");
        assert_eq!(
            shown,
            "rule a pattern job:* stream s db 0 maxlen 1000000 rule b pattern * stream t db 3 maxlen 5 value"
        );
        assert_eq!(read(&shown), Ok(rules));
        assert_eq!(read(""), Ok(ExpiryRules::default()));
    }

    #[test]
    fn what_is_no_rule_is_refused() {
        for text in [
            "a pattern * stream s",
            "rule",
            "rule a",
            "rule a pattern *",
            "rule a stream s",
            "rule a pattern * stream",
            "rule a pattern * stream s db x",
            "rule a pattern * stream s db 65535",
            "rule a pattern * stream s maxlen 0",
            "rule a pattern * stream s often",
            "rule a pattern * stream s rule a pattern * stream t",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
