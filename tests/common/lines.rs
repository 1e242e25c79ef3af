//! Commands and their replies as lines of text.

use super::{Client, Value, now_ms};

/// A reply in short: `[1,-2]`, `"text"`, `nil`, `!error`.
pub fn short(value: &Value) -> String {
    match value {
        Value::Int(n) => n.to_string(),
        Value::Null => "nil".to_owned(),
        Value::Error(line) => format!("!{line}"),
        Value::Array(items) => format!("[{}]", items.iter().map(short).collect::<Vec<_>>().join(",")),
        other => other.text(),
    }
}

/// Runs lines of `command => reply`, in order. `@` in a command is the Unix time in seconds.
pub fn table(client: &mut Client, lines: &str) {
    for line in lines.lines().map(str::trim).filter(|l| !l.is_empty()) {
        let (command, want) = line.split_once("=>").expect("a reply");
        let command = command.trim().replace('@', &(now_ms() / 1000).to_string());
        assert_eq!(short(&client.command(&command)), want.trim(), "{command}");
    }
}
