//! The figures as lines of a terminal: no more of them than it has rows, none wider than it is.

use std::fmt::Write as _;

use super::figures::Figures;
use super::wire::Reply;

const BOLD: &str = "\x1b[1m";
const DIM: &str = "\x1b[2m";
const BLUE: &str = "\x1b[34m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// What there is room for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// A screen that is being filled.
struct Screen {
    size: Size,
    lines: Vec<String>,
    colour: bool,
}

impl Screen {
    /// A line of this text, cut to the width; what the terminal would obey is taken out.
    fn line(&mut self, style: &str, text: &str) {
        if self.lines.len() < self.size.rows {
            let cut: String = text.chars().map(visible).take(self.size.columns).collect();
            let cut = cut.trim_end();
            let styled = self.colour && !style.is_empty() && !cut.is_empty();
            self.lines.push(if styled { format!("{style}{cut}{PLAIN}") } else { cut.to_owned() });
        }
    }

    fn title(&mut self, text: &str) {
        self.line("", "");
        self.line(BOLD, text);
    }
}

/// Names and addresses come from clients: none of them moves the cursor.
fn visible(c: char) -> char {
    if c.is_control() { '?' } else { c }
}

/// All of it.
pub(super) fn draw(figures: &Figures, size: Size, colour: bool, trouble: Option<&str>) -> Vec<String> {
    let mut screen = Screen { size, lines: Vec::new(), colour };
    header(&mut screen, figures);
    if let Some(trouble) = trouble {
        screen.line(RED, trouble);
    }
    engines(&mut screen, figures);
    commands(&mut screen, figures);
    slow(&mut screen, figures);
    clients(&mut screen, figures);
    screen.lines
}

fn header(screen: &mut Screen, figures: &Figures) {
    let now = &figures.now;
    let (name, version) = match now.text("tandem_version") {
        "" => ("redis", now.text("redis_version")),
        version => ("tandem", version),
    };
    let up = span(now.number("uptime_in_seconds"));
    screen.line(BOLD, &format!("{name} {version}   up {up}   {} workers   q quits", now.number("workers")));
    let rate = figures.rate("total_commands_processed");
    let hits = figures.hit_percent().map_or_else(|| "-".to_owned(), |percent| format!("{percent:.1} %"));
    screen.line(
        "",
        &format!(
            "commands {}/s   hits {hits}   in {}/s   out {}/s   clients {} ({} waiting)",
            short(rate),
            bytes(figures.rate("total_net_input_bytes")),
            bytes(figures.rate("total_net_output_bytes")),
            now.number("connected_clients"),
            now.number("blocked_clients"),
        ),
    );
    let (keys, expires) = now.keys();
    let limit = now.number("maxmemory");
    let limit = if limit > 0.0 { format!(" of {}", bytes(limit)) } else { String::new() };
    screen.line(
        "",
        &format!(
            "keys {} ({} with a deadline)   memory {} used{limit}, {} resident   expired {}/s   evicted {}/s",
            short(keys),
            short(expires),
            bytes(now.number("used_memory")),
            bytes(now.number("used_memory_rss")),
            short(figures.rate("expired_keys")),
            short(figures.rate("evicted_keys")),
        ),
    );
    screen.line(BLUE, &spark(&figures.history, screen.size.columns));
}

fn engines(screen: &mut Screen, figures: &Figures) {
    let Some(status) = &figures.now.status else { return };
    screen.title("engines");
    screen.line(DIM, "  db state      generation        shards    load        keys  moving over");
    let databases = status.get("databases").map_or(&[][..], Reply::items);
    for pair in databases.chunks_exact(2) {
        let (name, db) = (pair[0].text(), &pair[1]);
        let state = db.get("state").map_or("", Reply::text);
        let moving = state != "steady";
        let shards = match moving {
            true => format!("{} > {}", db.number("shards-before"), db.number("shards")),
            false => db.number("shards").to_string(),
        };
        let progress = if moving { bar(db.number("progress-percent"), 24) } else { String::new() };
        screen.line(
            if moving { BLUE } else { "" },
            &format!(
                "{name:>4} {state:<10} {:>10} {shards:>13} {:>5.1} % {:>11}  {progress}",
                db.number("generation"),
                db.number("load-percent"),
                short(db.number("keys")),
            ),
        );
    }
    screen.line(
        DIM,
        &format!(
            "moved {}   purged {}   migrations {}   longest slice {}   given back {}",
            short(status.number("keys-moved")),
            short(status.number("keys-purged")),
            short(status.number("migrations-done")),
            micros(status.number("slice-longest-us")),
            bytes(status.number("bytes-given-back")),
        ),
    );
    if let Some(step) = figures.now.steps.first() {
        screen.line(
            DIM,
            &format!(
                "last: db{} {} > {} shards by {}, {} keys in {}",
                step.number("db"),
                step.number("shards-before"),
                step.number("shards"),
                step.get("reason").map_or("", Reply::text),
                short(step.number("keys-moved")),
                micros(step.number("took-ms") * 1000.0),
            ),
        );
    }
}

fn commands(screen: &mut Screen, figures: &Figures) {
    screen.title("commands");
    screen.line(DIM, "name                  per second       mean        p50        p99     failed   core");
    for row in figures.commands().iter().take(8) {
        let percentile = |share| micros(figures.percentile(&row.name, share));
        screen.line(
            "",
            &format!(
                "{:<20} {:>11} {:>10} {:>10} {:>10} {:>10} {:>4.1} % {}",
                row.name,
                short(row.rate),
                micros(row.mean),
                percentile(0.5),
                percentile(0.99),
                short(row.failed),
                row.core,
                bar(row.core, 10),
            ),
        );
    }
}

/// Without arguments, as on the live page: a terminal is looked at over shoulders too.
fn slow(screen: &mut Screen, figures: &Figures) {
    if figures.now.slow.is_empty() {
        return;
    }
    screen.title("slow log");
    let clock = figures.now.number("server_time_usec") / 1e6;
    for entry in figures.now.slow.iter().take(5) {
        let [_, at, took, words, rest @ ..] = entry.items() else { continue };
        let number = |reply: &Reply| reply.text().parse::<f64>().unwrap_or(0.0);
        let client = rest.iter().rev().map(Reply::text).find(|text| !text.is_empty()).unwrap_or("");
        let name = words.items().first().map_or("", Reply::text);
        let ago =
            if clock > 0.0 { format!("{} ago", span((clock - number(at)).max(0.0))) } else { String::new() };
        screen.line(
            "",
            &format!(
                "{:<20} {:>10} {:>4} arguments  {ago:<14} {client}",
                name,
                micros(number(took)),
                words.items().len().saturating_sub(1),
            ),
        );
    }
}

fn clients(screen: &mut Screen, figures: &Figures) {
    screen.title("clients");
    screen.line(
        DIM,
        "  id name                 address                db last command     commands    age   idle   memory",
    );
    let mut clients: Vec<_> = figures.now.clients.iter().collect();
    let number = |client: &std::collections::BTreeMap<String, String>, field: &str| {
        client.get(field).and_then(|n| n.parse::<f64>().ok()).unwrap_or(0.0)
    };
    clients.sort_by(|a, b| {
        number(a, "idle")
            .total_cmp(&number(b, "idle"))
            .then(number(b, "tot-mem").total_cmp(&number(a, "tot-mem")))
    });
    for client in clients {
        let text = |field: &str| client.get(field).map_or("", String::as_str);
        screen.line(
            "",
            &format!(
                "{:>4} {:<20.20} {:<22.22} {:>2} {:<15.15} {:>8} {:>6} {:>6} {:>8}",
                text("id"),
                text("name"),
                text("addr"),
                text("db"),
                text("cmd"),
                short(number(client, "tot-cmds")),
                span(number(client, "age")),
                span(number(client, "idle")),
                bytes(number(client, "tot-mem")),
            ),
        );
    }
}

/// The last values as a line of blocks, the newest at the right.
fn spark(values: &[f64], columns: usize) -> String {
    const BLOCKS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &values[values.len().saturating_sub(columns)..];
    let most = shown.iter().copied().fold(1.0, f64::max);
    // Cut off on purpose: the range is checked by the table.
    shown.iter().map(|value| BLOCKS[((value / most * 7.0).round() as usize).min(7)]).collect()
}

fn bar(percent: f64, width: usize) -> String {
    let full = (percent.clamp(0.0, 100.0) / 100.0 * width as f64).round() as usize;
    let mut text = "█".repeat(full);
    text.push_str(&"░".repeat(width - full));
    let _ = write!(text, " {percent:.0} %");
    text
}

fn scaled(value: f64, step: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut unit = 0;
    while value >= step && unit + 1 < units.len() {
        value /= step;
        unit += 1;
    }
    let digits = usize::from(value < 100.0 && (unit > 0 || value.fract() > 0.0));
    format!("{value:.digits$} {}", units[unit]).trim_end().to_owned()
}

fn short(value: f64) -> String {
    scaled(value, 1000.0, &["", "k", "M", "G"])
}

fn bytes(value: f64) -> String {
    scaled(value, 1024.0, &["B", "KiB", "MiB", "GiB", "TiB"])
}

fn micros(value: f64) -> String {
    if value == 0.0 { "-".to_owned() } else { scaled(value, 1000.0, &["us", "ms", "s"]) }
}

fn span(seconds: f64) -> String {
    match seconds {
        s if s < 60.0 => format!("{s:.0}s"),
        s if s < 3600.0 => format!("{:.0}m", (s / 60.0).floor()),
        s if s < 86_400.0 => format!("{:.0}h", (s / 3600.0).floor()),
        s => format!("{:.0}d", (s / 86_400.0).floor()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::look;
    use super::*;

    fn figures() -> Figures {
        let mut figures = Figures::default();
        figures.add(look(1_000, 100));
        figures.add(look(2_000, 50_100));
        figures
    }

    #[test]
    fn a_screen() {
        let size = Size { columns: 100, rows: 40 };
        let text = draw(&figures(), size, false, None).join("\n");
        for part in [
            "tandem 0.1.0   up 1h",
            "commands 50.0 k/s   hits 100.0 %",
            "keys 1.5 k (20 with a deadline)   memory 1.0 MiB used, 2.0 MiB resident",
            " db0 growing             5        8 > 16  61.5 %",
            "████████████░░░░░░░░░░░░ 50 %",
            "moved 12.3 k",
            "get                       50.0 k",
            "SET                     15.0 ms    2 arguments",
            "   3 web                  127.0.0.1:5",
        ] {
            assert!(text.contains(part), "{part:?} is not in\n{text}");
        }
        assert!(!text.contains("secret"), "{text}");
        assert!(!text.contains('\x1b'), "what a client calls itself is shown, not obeyed: {text}");
    }

    #[test]
    fn it_fits() {
        for (columns, rows) in [(1, 1), (40, 10), (80, 24), (400, 200)] {
            let lines = draw(&figures(), Size { columns, rows }, false, Some("lost the connection"));
            assert!(lines.len() <= rows && lines.iter().all(|line| line.chars().count() <= columns));
        }
        let coloured = draw(&figures(), Size { columns: 80, rows: 24 }, true, None);
        assert!(coloured[0].starts_with(BOLD) && coloured[0].ends_with(PLAIN));
    }

    #[test]
    fn numbers_for_people() {
        assert_eq!([short(0.0), short(999.0), short(1_234.0)], ["0", "999", "1.2 k"]);
        assert_eq!([bytes(1_048_576.0), micros(15_000.0), micros(0.0)], ["1.0 MiB", "15.0 ms", "-"]);
        assert_eq!([span(59.0), span(3_700.0)], ["59s", "1h"]);
        assert_eq!(spark(&[0.0, 7.0, 14.0], 2), "▅█");
    }
}
