//! sidecar.yaml and the manual page, written from the table. A test fails when the files in the repository differ.

use std::fmt::Write as _;

use super::{Config, SETTINGS, Setting, Spec, Status};

/// The settings of Redis whose defaults here are not redis-server's: theirs, and why.
pub const DIFFERENT: [(&str, &str, &str); 6] = [
    ("bind", "* -::*", "a sidecar serves its own machine; not so when started as redis-server is"),
    ("unixsocketperm", "0", "its owner and their group alone"),
    ("save", "3600 1 300 100 60 10000", "there are no snapshots yet"),
    ("activedefrag", "no", "memory goes back without being asked"),
    ("active-defrag-ignore-bytes", "100mb", "in small key spaces too"),
    ("active-defrag-cycle-min", "1", "memory is back within seconds"),
];

/// Where the shipped sidecar.yaml differs from the defaults, and why.
pub const SHIPPED: [(&str, &str, &str); 3] = [
    ("unixsocket", "/tmp/tandem.sock", "so that there is something to try"),
    ("maxmemory", "auto", "a sidecar stays within its container"),
    ("maxmemory-policy", "allkeys-arc", "the best hit ratio without tuning"),
];

/// sidecar.yaml: every setting with its default and a line of explanation.
pub fn sidecar_yaml() -> String {
    let mut out = String::from(
        "# tandem reads this file when it is started beside it, or by: tandem --config sidecar.yaml\n\
         #\n\
         # Every setting is here with its default, unless a line says otherwise.\n\
         # Sizes take units: 1k = 1000 bytes, 1kb = 1024, also mb, gb, tb.\n\
         # CONFIG GET, CONFIG SET and flags (--maxclients 500) use the same names without the group.\n\
         # This file is written from the program; ranges and reasons are in docs/configuration.md.\n",
    );
    let mut group = "";
    for setting in SETTINGS {
        if setting.group != group {
            group = setting.group;
            let _ = write!(out, "\n{group}:\n");
        } else if group.is_empty() {
            out.push('\n');
        }
        let indent = if group.is_empty() { "" } else { "  " };
        let shipped = SHIPPED.iter().find(|(name, ..)| *name == setting.name());
        let value = shipped.map_or(setting.default, |(_, value, _)| value);
        let _ = writeln!(out, "{indent}# {}{}", setting.explanation(), yaml_note(setting));
        if let Some((.., why)) = shipped {
            let default = if setting.default.is_empty() { "empty" } else { setting.default };
            let _ = writeln!(out, "{indent}# Not the default, which is {default}: {why}.");
        }
        let _ = writeln!(out, "{indent}{}: {}", setting.name(), yaml_value(setting, value));
    }
    out
}

/// Units that a number cannot be understood without; the others only name what is counted.
const MEASURES: [&str; 5] = ["microseconds", "milliseconds", "seconds", "minutes", "percent"];

fn yaml_note(setting: &Setting) -> String {
    let values = match setting.spec {
        Spec::Choice(words) | Spec::Choices(words) => format!(" One of: {}.", words.join(", ")),
        Spec::Int { unit, .. } if MEASURES.contains(&unit) => format!(" In {unit}."),
        _ => String::new(),
    };
    let values = match setting.spec {
        Spec::Choices(_) => values.replacen(" One of", " Any of", 1),
        _ => values,
    };
    let standing = match setting.status {
        Status::Active => "",
        Status::Inert(_) | Status::Refused(_) => " [no effect]",
        Status::Waits(_) | Status::Later(_) => " [not built yet]",
    };
    format!("{values}{standing}")
}

/// A value as YAML: plain where that reads back as the same text, else in double quotes.
pub(super) fn yaml_value(setting: &Setting, value: &str) -> String {
    if setting.spec == Spec::Bool {
        return if value == "yes" { "true" } else { "false" }.to_owned();
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '/' | '_' | '-' | '%');
    let first = |c: char| c.is_ascii_alphanumeric() || c == '/';
    let number = setting.spec != Spec::Octal && value.parse::<i64>().is_ok();
    let word = value.starts_with(first) && value.chars().all(plain) && !is_special(value);
    if number || word { value.to_owned() } else { yaml_quoted(value) }
}

/// Words that YAML readers take for something else than text.
fn is_special(value: &str) -> bool {
    ["yes", "no", "true", "false", "on", "off", "null", "y", "n"]
        .iter()
        .any(|word| word.eq_ignore_ascii_case(value))
}

fn yaml_quoted(value: &str) -> String {
    let mut out = String::from('"');
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The manual page.
pub fn manual() -> String {
    let mut out = String::from(MANUAL_HEAD);
    for (name, theirs, why) in DIFFERENT {
        let ours =
            SETTINGS.iter().find(|setting| setting.name() == name).map_or("", |setting| setting.default);
        let ours = if ours.is_empty() { "empty".to_owned() } else { format!("`{ours}`") };
        let _ = writeln!(out, "| `{name}` | {ours} | `{theirs}` | {why} |");
    }
    out.push_str(SHIPPED_HEAD);
    for (name, value, why) in SHIPPED {
        let _ = writeln!(out, "| `{name}` | `{value}` | {why} |");
    }
    let mut group = None;
    for setting in SETTINGS {
        if group != Some(setting.group) {
            group = Some(setting.group);
            let title = if setting.group.is_empty() { "top level" } else { setting.group };
            let _ = write!(
                out,
                "\n## {title}\n\n| setting | default | values | changes | |\n|---|---|---|---|---|\n"
            );
        }
        let _ = writeln!(out, "{}", manual_row(setting));
    }
    out.push_str("\n## Kept without effect\n\nAccepted because tools and configurations of Redis set them; tandem has no such mechanism.\n\n");
    reasons(&mut out, |status| match status {
        Status::Inert(reason) => Some(reason),
        _ => None,
    });
    out.push_str("\n## Kept for a part that is not built yet\n\nStored and reported, and named in the log at the start when changed; without effect until the part is there.\n\n");
    reasons(&mut out, |status| match status {
        Status::Waits(feature) => Some(feature),
        _ => None,
    });
    out.push_str("\n## Refused unless left at the default\n\n");
    reasons(&mut out, |status| match status {
        Status::Later(feature) => Some(feature),
        Status::Refused(reason) => Some(reason),
        _ => None,
    });
    out
}

const MANUAL_HEAD: &str = "\
# Configuration

This page is written from the table of settings in the program (`src/config/table.rs`).
After a change there: `TANDEM_BLESS=1 cargo test --test config_docs`.

tandem reads, each over the one before: its defaults; a file (`tandem FILE` or `--config FILE`; without any argument,
`sidecar.yaml` in the working directory if there is one); standard input for `-`; flags. A file named `*.yaml` or `*.yml`
is in the form of sidecar.yaml, any other in that of redis.conf. `--check-config` reads all of it, says what it would
listen on, and leaves. Unknown names and impossible values are errors that name the file, the line and the nearest known
name.

The name of a setting is the same everywhere: in its group of sidecar.yaml, as a line of redis.conf, as a flag
(`--maxclients 500`), in `CONFIG GET` and `CONFIG SET`. `CONFIG REWRITE` writes changes back to the file that was read,
and leaves comments, order and untouched lines as they are.

Lists (`bind`, `save`, …) may be a YAML list or one text with blanks between the words. Sizes take units: `1k` is 1000
bytes, `1kb` is 1024; also m, mb, g, gb, t, tb. Settings under *changes* are `live` (`CONFIG SET`), `start` (only read at
the start), or `protected` (live, and clients need `enable-protected-configs`).

Defaults are redis-server's but for these:

| setting | default | redis-server | because |
|---|---|---|---|
";

const SHIPPED_HEAD: &str = "
The sidecar.yaml of this repository has every setting with its default but for these:

| setting | there | because |
|---|---|---|
";

fn manual_row(setting: &Setting) -> String {
    let also = match &setting.names[1..] {
        [] => String::new(),
        others => format!("<br>also `{}`", others.join("`, `")),
    };
    let default =
        if setting.default.is_empty() { "empty".to_owned() } else { format!("`{}`", setting.default) };
    let changes = match (setting.is_live(), setting.is_protected()) {
        (_, true) => "protected",
        (true, _) => "live",
        _ => "start",
    };
    let standing = match setting.status {
        Status::Active => "",
        Status::Inert(_) => " *No effect.*",
        Status::Waits(_) => " *Not built yet.*",
        Status::Later(_) => " *Refused: not built yet.*",
        Status::Refused(_) => " *Refused.*",
    };
    let values = values(setting).replace('|', "\\|");
    format!(
        "| `{}`{also} | {default} | {values} | {changes} | {}{standing} |",
        setting.name(),
        setting.explanation()
    )
}

fn values(setting: &Setting) -> String {
    match setting.spec {
        Spec::Bool => "yes, no".to_owned(),
        Spec::Int { min, max, unit } => {
            let text = match (min == i64::from(i32::MIN), max >= i64::from(i32::MAX)) {
                (true, _) => "any number".to_owned(),
                (_, true) => format!("from {min}"),
                _ => format!("{min} to {max}"),
            };
            format!("{text} {unit}").trim_end().to_owned()
        }
        Spec::Memory { min: 0, .. } => "size".to_owned(),
        Spec::Memory { min, .. } => format!("size from {}", super::kinds::memory_text(min)),
        Spec::MemoryOrPercent => "size or share such as 5%".to_owned(),
        Spec::MemoryCap => "size, share such as 60%, or auto".to_owned(),
        Spec::Octal => "octal".to_owned(),
        Spec::Choice(words) => words.join(", "),
        Spec::Choices(words) => format!("any of {}", words.join(", ")),
        Spec::Text | Spec::Title | Spec::Password => "text".to_owned(),
        Spec::FileName(_) => "name without a path".to_owned(),
        Spec::Form(form) | Spec::Words(form) => form.to_owned(),
    }
}

/// Settings by reason, in the order of the table.
fn reasons(out: &mut String, reason: impl Fn(Status) -> Option<&'static str>) {
    let mut lines: Vec<(&str, Vec<String>)> = Vec::new();
    for setting in SETTINGS {
        let Some(why) = reason(setting.status) else {
            continue;
        };
        let name = format!("`{}`", setting.name());
        match lines.iter_mut().find(|(known, _)| *known == why) {
            Some((_, names)) => names.push(name),
            None => lines.push((why, vec![name])),
        }
    }
    for (why, names) in lines {
        let _ = writeln!(out, "- **{why}**: {}", names.join(", "));
    }
}

impl Config {
    /// The configuration that the shipped sidecar.yaml stands for.
    pub fn shipped() -> Self {
        let mut config = Config::default();
        for (name, value, _) in SHIPPED {
            let setting = super::find(name.as_bytes()).expect("invariant: SHIPPED names settings");
            super::runtime::assign_text(&mut config, setting, value.as_bytes())
                .expect("invariant: a test reads the shipped values");
        }
        config
    }
}
