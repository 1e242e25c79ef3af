//! `tandem top`: the live figures of a running server in a terminal.
//!
//! ```text
//! mod       options, connection, the loop        wire     the client's side of RESP
//! figures   what is asked, rates since last time  screen   the figures as lines
//! ```
//!
//! It asks as any client would, once a second: INFO, ENGINE, SLOWLOG, CLIENT LIST. So it needs no HTTP endpoint, works over
//! the socket that the application uses, and shows of a redis-server what that has. The terminal is driven by a dozen
//! escape sequences, since a library for it would be larger than all of this.
//!
//! Architecture invariant: nothing here knows the server's inside; the process that runs it serves nobody.

mod figures;
mod screen;
mod wire;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Read, Write};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

use crate::clock;
use figures::{Figures, Look};
use screen::Size;
use wire::Ask;

/// Time between two looks, if it is not said.
const INTERVAL: Duration = Duration::from_secs(1);
/// The size of a terminal that does not say it.
const SIZE: Size = Size { columns: 100, rows: 50 };
/// Ctrl-C, as it comes while the terminal makes no signal of it.
const INTERRUPT: u8 = 3;

const USAGE: &str = "\
usage: tandem top [--socket PATH | HOST:PORT] [--interval SECONDS] [--once]

Shows what a running server does; q quits. Without an address it asks 127.0.0.1:6379.
The password is taken from TANDEM_PASSWORD (or REDISCLI_AUTH), the user from TANDEM_USER.
--once prints one screen, over one interval, and leaves.
";

/// Where to, and how often.
#[derive(Debug, Clone, PartialEq)]
struct Options {
    socket: Option<String>,
    address: String,
    interval: Duration,
    once: bool,
}

/// Runs until the user quits.
///
/// # Errors
/// A line that says what is wrong with the arguments, the server or the terminal.
pub fn run(args: &[OsString]) -> Result<(), String> {
    let words: Vec<&str> = args.iter().filter_map(|arg| arg.to_str()).collect();
    if words.len() < args.len() {
        return Err("arguments of tandem top are UTF-8".to_owned());
    }
    if words.iter().any(|word| matches!(*word, "-h" | "--help")) {
        return io::stdout().write_all(USAGE.as_bytes()).map_err(|error| error.to_string());
    }
    let options = parse(&words)?;
    let mut server = connect(&options).map_err(|error| format!("{}: {error}", options.name()))?;
    let result = match options.once || !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        true => once(&mut *server, &options),
        false => watch(server, &options),
    };
    result.map_err(|error| format!("{}: {error}", options.name()))
}

impl Options {
    fn name(&self) -> &str {
        self.socket.as_deref().unwrap_or(&self.address)
    }
}

fn parse(words: &[&str]) -> Result<Options, String> {
    let mut options =
        Options { socket: None, address: "127.0.0.1:6379".to_owned(), interval: INTERVAL, once: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or(format!("{word} needs a value\n\n{USAGE}"));
        match *word {
            "--socket" => options.socket = Some((*value()?).to_owned()),
            "--interval" => {
                let seconds = value()?.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
                options.interval = seconds
                    .map(Duration::from_secs_f64)
                    .ok_or("--interval is a number of seconds from 0.1 to 3600")?;
            }
            "--once" => options.once = true,
            address if !address.starts_with('-') => options.address = address.to_owned(),
            other => return Err(format!("tandem top does not know {other}\n\n{USAGE}")),
        }
    }
    Ok(options)
}

fn connect(options: &Options) -> io::Result<Box<dyn Ask>> {
    let mut server: Box<dyn Ask> = match &options.socket {
        Some(path) => Box::new(wire::unix(path)?),
        None => Box::new(wire::tcp(&options.address)?),
    };
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    if let Some(password) = variable("TANDEM_PASSWORD").or_else(|| variable("REDISCLI_AUTH")) {
        let user = variable("TANDEM_USER");
        let words: Vec<&str> =
            ["AUTH"].into_iter().chain(user.as_deref()).chain([password.as_str()]).collect();
        if let [wire::Reply::Error(error)] = server.ask(&[&words])?.as_slice() {
            return Err(io::Error::other(error.clone()));
        }
    }
    // An old server may not know it: then the client has no name.
    server.ask(&[&["CLIENT", "SETNAME", "tandem-top"]])?;
    Ok(server)
}

/// Two looks, so that there are rates, and one screen.
fn once(server: &mut dyn Ask, options: &Options) -> io::Result<()> {
    let mut figures = Figures::default();
    figures.add(Look::take(server, clock::mono_ms())?);
    std::thread::sleep(options.interval);
    figures.add(Look::take(server, clock::mono_ms())?);
    let lines = screen::draw(&figures, SIZE, false, None);
    io::stdout().write_all((lines.join("\n") + "\n").as_bytes())
}

fn watch(server: Box<dyn Ask>, options: &Options) -> io::Result<()> {
    let mut figures = Figures::default();
    let mut server = Some(server);
    let mut terminal = Terminal::take()?;
    loop {
        let look = match &mut server {
            Some(server) => Look::take(&mut **server, clock::mono_ms()),
            None => connect(options).and_then(|mut fresh| {
                let look = Look::take(&mut *fresh, clock::mono_ms());
                server = Some(fresh);
                look
            }),
        };
        let trouble = look.map(|look| figures.add(look)).err();
        let trouble = trouble.map(|error| {
            server = None;
            format!("{}: {error}; trying again", options.name())
        });
        terminal.show(&figures, trouble.as_deref())?;
        if terminal.quits_within(options.interval)? {
            return Ok(());
        }
    }
}

/// The terminal in its other screen, without echo; as it was when this is dropped.
struct Terminal {
    before: Termios,
}

impl Terminal {
    fn take() -> io::Result<Terminal> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG);
        raw.special_codes[SpecialCodeIndex::VMIN] = 0;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        let terminal = Terminal { before };
        // The other screen, no cursor.
        io::stdout().write_all(b"\x1b[?1049h\x1b[?25l")?;
        Ok(terminal)
    }

    fn show(&mut self, figures: &Figures, trouble: Option<&str>) -> io::Result<()> {
        let size = tcgetwinsize(io::stdout()).ok().filter(|size| size.ws_col > 0 && size.ws_row > 0);
        let size = size.map_or(SIZE, |size| Size { columns: size.ws_col.into(), rows: size.ws_row.into() });
        let colour = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let lines = screen::draw(figures, size, colour, trouble);
        // Over what was there: each line to its end, then what is below. One write, so that nothing flickers.
        let text = format!("\x1b[H{}\x1b[K\x1b[J", lines.join("\x1b[K\r\n"));
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())?;
        out.flush()
    }

    /// Waits for a key; whether it is one that quits.
    fn quits_within(&mut self, time: Duration) -> io::Result<bool> {
        let until = clock::mono_ms() + u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        loop {
            let left = Duration::from_millis(until.saturating_sub(clock::mono_ms()));
            let timeout = Timespec::try_from(left).map_err(io::Error::other)?;
            let stdin = io::stdin();
            match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&timeout)) {
                // A change of the window's size: drawn at once.
                Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(false),
                Ok(_) => {}
                Err(error) => return Err(error.into()),
            }
            let mut keys = [0; 16];
            let n = stdin.lock().read(&mut keys)?;
            if n == 0 || keys[..n].iter().any(|key| matches!(key, b'q' | b'Q' | &INTERRUPT)) {
                return Ok(true);
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // Nothing is left to do when even this fails.
        let _ = io::stdout().write_all(b"\x1b[?25h\x1b[?1049l");
        let _ = io::stdout().flush();
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments() {
        let ok = |words: &[&str]| parse(words).unwrap();
        assert_eq!(ok(&[]).address, "127.0.0.1:6379");
        let options = ok(&["--socket", "/tmp/s", "--interval", "0.5", "--once"]);
        assert_eq!((options.name(), options.interval.as_millis(), options.once), ("/tmp/s", 500, true));
        assert_eq!(ok(&["cache:7000"]).name(), "cache:7000");
        for bad in [&["--socket"][..], &["--interval", "0"], &["--interval", "x"], &["--colour"]] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }
}
