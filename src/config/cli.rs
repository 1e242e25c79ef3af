//! The command line: `tandem [FILE | -] [--setting value …]`, as redis-server reads it, and a few flags of its own.

use std::ffi::OsString;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::conf::{Loader, Place, read, read_all};
use super::error::{COMMAND_LINE, ConfigError};
use super::quote::{repr, split_words};
use super::{Config, docs, help, yaml};

/// The file that is read when nothing is said.
const DEFAULT_FILE: &str = "sidecar.yaml";

/// What the command line asks for.
#[derive(Debug)]
pub enum Start {
    /// Serve.
    Run(Box<Config>),
    /// Say whether the configuration is good.
    Check(Box<Config>),
    /// Print this and leave.
    Print(String),
}

/// The parts of a command line.
#[derive(Default)]
struct Parts {
    file: Option<PathBuf>,
    stdin: bool,
    check: bool,
    options: Vec<Vec<Vec<u8>>>,
}

/// Reads the arguments behind the program's name, and the files that they name.
pub fn start(args: &[OsString], stdin: impl Read) -> Result<Start, ConfigError> {
    if let Some(first) = args.first().map(|arg| arg.as_bytes()) {
        match first {
            b"-v" | b"--version" => return Ok(Start::Print(help::version())),
            b"-h" | b"--help" => return Ok(Start::Print(help::help())),
            b"--dump-default-config" => return Ok(Start::Print(docs::sidecar_yaml())),
            b"--test-memory" => {
                return refuse("tandem does not test memory: use a tool made for that (memtester)");
            }
            b"--check-system" => return refuse("tandem has no checks of the system"),
            _ => {}
        }
    }
    let parts = parts(args)?;
    let check = parts.check;
    let loaded = Box::new(load(parts, stdin, args.iter().all(|arg| arg == "--check-config"))?);
    Ok(if check { Start::Check(loaded) } else { Start::Run(loaded) })
}

fn refuse<T>(reason: &str) -> Result<T, ConfigError> {
    Err(ConfigError::Arguments(reason.to_owned()))
}

fn parts(args: &[OsString]) -> Result<Parts, ConfigError> {
    let mut parts = Parts::default();
    let mut words = args.iter().map(|arg| arg.as_bytes()).enumerate().peekable();
    // Whether the option at hand still lacks its value, which then may begin with `--`.
    let mut wants_value = false;
    // The place of the file: in front of all options but the one that only asks about it.
    let first = args.iter().take_while(|arg| arg.as_bytes().eq_ignore_ascii_case(b"--check-config")).count();
    while let Some((index, word)) = words.next() {
        let next = words.peek().map(|(_, next)| *next);
        if word == b"-" && (index == first || next.is_none()) {
            parts.stdin = true;
        } else if index == first && !word.starts_with(b"-") {
            parts.file = Some(PathBuf::from(&args[first]));
        } else if wants_value || !word.starts_with(b"--") {
            match parts.options.last_mut() {
                Some(option) => option.push(word.to_vec()),
                None => parts.options.push(vec![word.to_vec()]),
            }
            wants_value = false;
        } else if word.eq_ignore_ascii_case(b"--check-config") {
            parts.check = true;
        } else if word.eq_ignore_ascii_case(b"--config") || word.starts_with(b"--config=") {
            let file = word.strip_prefix(b"--config=").map(<[u8]>::to_vec);
            let Some(file) = file.or_else(|| words.next().map(|(_, file)| file.to_vec())) else {
                return refuse("--config needs a file");
            };
            if parts.file.is_some() {
                return refuse("two configuration files are given; use include in one of them");
            }
            parts.file = Some(PathBuf::from(std::ffi::OsStr::from_bytes(&file)));
        } else if word.eq_ignore_ascii_case(b"--sentinel") {
            return refuse("Sentinel mode is not built yet");
        } else {
            let (option, complete) = option(&word[2..], next);
            parts.options.push(option);
            wants_value = !complete;
        }
    }
    Ok(parts)
}

/// The words of an option's first argument, and whether the next one is free to be an option.
///
/// `--port 6380` in one argument is name and value. `--save` right before another option or at the end stands for
/// no save points; any other option takes the next argument as its value even if that begins with `--`.
fn option(text: &[u8], next: Option<&[u8]>) -> (Vec<Vec<u8>>, bool) {
    let mut words = split_words(text).unwrap_or_else(|_| vec![text.to_vec()]);
    if words.len() > 1 {
        return (words, true);
    }
    if words.is_empty() {
        words.push(Vec::new());
    }
    if words[0].eq_ignore_ascii_case(b"save") && next.is_none_or(|next| next.starts_with(b"--")) {
        words.push(Vec::new());
        return (words, true);
    }
    (words, false)
}

fn load(parts: Parts, stdin: impl Read, implied_file: bool) -> Result<Config, ConfigError> {
    let here = Config::default().dir.0;
    let file = parts.file.or_else(|| {
        let default = PathBuf::from(DEFAULT_FILE);
        (implied_file && default.exists()).then_some(default)
    });
    let source = "standard input";
    let input = match parts.stdin {
        true => Some(read_all(stdin).map_err(|error| ConfigError::file(Path::new(source), &error))?),
        false => None,
    };
    // What is written for tandem has tandem's defaults; what is written for Redis, those of Redis.
    let for_redis = match (&file, &input) {
        (Some(path), _) => !is_yaml(path),
        (None, Some(text)) => !looks_like_yaml(text),
        (None, None) => !parts.options.is_empty(),
    };
    let mut loader =
        Loader::new(if for_redis { Config::started_as_redis(here) } else { Config::started_in(here) });
    if let Some(path) = file {
        loader.config.file = Some(path.canonicalize().map_err(|error| ConfigError::file(&path, &error))?);
        load_file(&mut loader, &path)?;
    }
    match input {
        Some(text) if looks_like_yaml(&text) => yaml::load(&mut loader, &text, source)?,
        Some(text) => loader.text(&text, source, 0)?,
        None => {}
    }
    for (index, words) in parts.options.iter().enumerate() {
        let shown = shown(words);
        let place = Place { source: COMMAND_LINE, line: index + 1 };
        let values: Vec<&[u8]> = words[1..].iter().map(Vec::as_slice).collect();
        if let Err(reason) = loader.words(&words[0], &values, place.of(&shown, "")) {
            return Err(ConfigError::Line(Box::new(place.of(&shown, reason))));
        }
    }
    loader.finish()
}

/// The two forms of configuration text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As sidecar.yaml.
    Yaml,
    /// As redis.conf.
    Conf,
}

/// Reads text that stands for a whole configuration; it cannot include files.
pub fn parse(text: &[u8], form: Form) -> Result<Config, ConfigError> {
    let here = Config::default().dir.0;
    let mut loader = Loader::new(match form {
        Form::Yaml => Config::started_in(here),
        Form::Conf => Config::started_as_redis(here),
    });
    loader.may_include = false;
    match form {
        Form::Yaml => yaml::load(&mut loader, text, "text")?,
        Form::Conf => loader.text(text, "text", 0)?,
    }
    loader.finish()
}

/// Reads a file of either form.
pub(super) fn load_file(loader: &mut Loader, path: &Path) -> Result<(), ConfigError> {
    if is_yaml(path) {
        return yaml::load(loader, &read(path)?, &path.display().to_string());
    }
    loader.file(path, 0)
}

/// Whether the name of a file says that it is YAML.
pub(super) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|end| end.eq_ignore_ascii_case("yaml") || end.eq_ignore_ascii_case("yml"))
}

/// No directive of redis.conf begins with a word that ends in a colon.
fn looks_like_yaml(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.find(|line| !line.is_empty() && line[0] != b'#').unwrap_or_default();
    let word = first.split(u8::is_ascii_whitespace).next().unwrap_or_default();
    word == b"---" || word.ends_with(b":")
}

/// An option as the line of redis.conf that it stands for.
fn shown(words: &[Vec<u8>]) -> Vec<u8> {
    let mut line = words[0].clone();
    for word in &words[1..] {
        line.push(b' ');
        line.extend(repr(word));
    }
    line
}
