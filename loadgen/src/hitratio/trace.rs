//! Which keys are asked for, one after the other: made up by a law, or recorded in a file.

use std::collections::HashMap;
use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context, Result, bail, ensure};

use crate::keys::{Rng, Zipf};

/// A trace may have as many requests as this.
const REQUESTS_MAX: usize = 200_000_000;
/// Keys that one scan of the polluted trace reads, by the number of keys.
const SCAN_SHARE: u64 = 20;
/// How often the popular keys change in the shifting trace.
const SHIFTS: u64 = 10;

/// The laws that are replayed when no traces are named.
pub const USUAL: [&str; 5] = ["zipf:0.8", "zipf:1.1", "scan", "shift", "loop"];

/// What to replay, as the user names it.
#[derive(Debug, Clone, PartialEq)]
pub enum TraceSpec {
    /// One popularity for all time.
    Zipf(f64),
    /// Zipf requests; every other thousand belongs to a scan of keys that come once.
    Scan,
    /// Zipf requests; now and then other keys become the popular ones.
    Shift,
    /// Half of the keys over and over in turn, the others by Zipf.
    Loop,
    File {
        name: String,
        format: Format,
        path: PathBuf,
    },
}

/// How a file is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A key per line.
    Lines,
    /// The n-th field of lines that are separated by commas, counted from 1.
    Csv(usize),
    /// First block and number of blocks, as the traces that came with ARC.
    Arc,
}

impl FromStr for TraceSpec {
    type Err = anyhow::Error;

    fn from_str(s: &str) -> Result<Self> {
        if let Some((name, file)) = s.split_once('=') {
            let (format, path) = file.split_once(':').context("a recorded trace is NAME=FORMAT:FILE")?;
            let format = match format {
                "lines" => Format::Lines,
                "arc" => Format::Arc,
                _ => match format.strip_prefix("csv").map(str::parse::<usize>) {
                    Some(Ok(n)) if n >= 1 => Format::Csv(n),
                    _ => bail!("a format is lines, arc or csvN with the number of the field, not '{format}'"),
                },
            };
            return Ok(TraceSpec::File { name: name.to_owned(), format, path: path.into() });
        }
        match s.split_once(':') {
            Some(("zipf", exponent)) => match exponent.parse::<f64>() {
                Ok(e) if e > 0.0 && e <= 10.0 => Ok(TraceSpec::Zipf(e)),
                _ => bail!("zipf:S needs an exponent above 0 and up to 10"),
            },
            None if s == "scan" => Ok(TraceSpec::Scan),
            None if s == "shift" => Ok(TraceSpec::Shift),
            None if s == "loop" => Ok(TraceSpec::Loop),
            _ => bail!("a trace is zipf:S, scan, shift, loop or NAME=FORMAT:FILE, not '{s}'"),
        }
    }
}

/// Requests as numbers of keys.
pub struct Trace {
    pub name: String,
    pub requests: Vec<u32>,
    /// Different keys in it: the working set.
    pub distinct: u64,
}

impl TraceSpec {
    /// `keys` and `requests` are what a made-up trace draws from and how long it is; the latter also cuts a file.
    pub fn build(&self, keys: u64, requests: u64, seed: u64) -> Result<Trace> {
        let mut rng = Rng::new(seed.wrapping_mul(0x51_7cc1_b727_220a));
        let raw: Vec<u64> = match self {
            TraceSpec::Zipf(exponent) => {
                let zipf = Zipf::new(keys, *exponent);
                (0..requests).map(|_| zipf.sample(&mut rng)).collect()
            }
            TraceSpec::Scan => scan(keys, requests, &mut rng),
            TraceSpec::Shift => {
                let zipf = Zipf::new(keys, 0.9);
                let moved = |i: u64| i * SHIFTS / requests.max(1) * (keys / SHIFTS);
                (0..requests).map(|i| (zipf.sample(&mut rng) + moved(i)) % keys).collect()
            }
            TraceSpec::Loop => {
                let (half, mut next) = (keys / 2, 0);
                let zipf = Zipf::new(keys - half, 0.9);
                let mut draw = || {
                    if rng.below(2) == 0 {
                        next = (next + 1) % half.max(1);
                        return next;
                    }
                    half + zipf.sample(&mut rng)
                };
                (0..requests).map(|_| draw()).collect()
            }
            TraceSpec::File { format, path, .. } => read(path, *format, requests)?,
        };
        number(self.name(), raw)
    }

    fn name(&self) -> String {
        match self {
            TraceSpec::Zipf(exponent) => format!("Zipf {exponent}"),
            TraceSpec::Scan => "Zipf 0.9 with scans".to_owned(),
            TraceSpec::Shift => "shifting Zipf 0.9".to_owned(),
            TraceSpec::Loop => "loop beside Zipf 0.9".to_owned(),
            TraceSpec::File { name, .. } => name.clone(),
        }
    }
}

fn scan(keys: u64, requests: u64, rng: &mut Rng) -> Vec<u64> {
    let zipf = Zipf::new(keys / 2, 0.9);
    let long = (keys / SCAN_SHARE).max(1);
    let (mut left, mut next) = (0, keys);
    let mut draw = || {
        // Scans take as many requests as the rest.
        if left == 0 && rng.below(long) == 0 {
            left = long;
        }
        if left > 0 && rng.below(2) == 0 {
            left -= 1;
            next += 1;
            // A scan reads what no one else does, and comes back to it only much later.
            return keys + next % (4 * keys);
        }
        zipf.sample(rng)
    };
    (0..requests).map(|_| draw()).collect()
}

/// Numbers keys in the order in which they come.
fn number(name: String, raw: Vec<u64>) -> Result<Trace> {
    ensure!(!raw.is_empty(), "trace '{name}' is empty");
    let mut numbers: HashMap<u64, u32> = HashMap::new();
    let requests = raw
        .into_iter()
        .map(|key| {
            let next = numbers.len() as u32;
            *numbers.entry(key).or_insert(next)
        })
        .collect();
    Ok(Trace { name, requests, distinct: numbers.len() as u64 })
}

fn read(path: &Path, format: Format, most: u64) -> Result<Vec<u64>> {
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let zipped = path.extension().is_some_and(|e| e == "gz");
    let plain: Box<dyn Read> =
        if zipped { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut reader = BufReader::new(plain);
    let most = (most as usize).min(REQUESTS_MAX);
    let (mut keys, mut line, mut number) = (Vec::new(), Vec::new(), 0);
    while keys.len() < most {
        line.clear();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        let text = line.trim_ascii();
        if !text.is_empty() {
            take(text, format, most, &mut keys)
                .with_context(|| format!("{} line {number}", path.display()))?;
        }
    }
    Ok(keys)
}

fn take(text: &[u8], format: Format, most: usize, keys: &mut Vec<u64>) -> Result<()> {
    let hash = |bytes: &[u8]| {
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        hasher.finish()
    };
    match format {
        Format::Lines => keys.push(hash(text)),
        Format::Csv(n) => {
            let field = text.split(|&b| b == b',').nth(n - 1).with_context(|| format!("no field {n}"))?;
            keys.push(hash(field));
        }
        Format::Arc => {
            let mut fields = std::str::from_utf8(text)?.split_ascii_whitespace().map(str::parse::<u64>);
            let mut field = || fields.next().context("two numbers are needed")?.context("not a number");
            let (first, blocks) = (field()?, field()?);
            let room = (most - keys.len()) as u64;
            keys.extend((0..blocks.min(room)).map(|i| first.wrapping_add(i)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_up_traces_have_the_length_and_keys_that_were_asked_for() {
        for name in USUAL {
            let trace = name.parse::<TraceSpec>().unwrap().build(1000, 20_000, 1).unwrap();
            assert_eq!(trace.requests.len(), 20_000, "{name}");
            assert!(trace.distinct > 400 && trace.distinct <= 20_000, "{name}: {}", trace.distinct);
            assert!(trace.requests.iter().all(|&k| u64::from(k) < trace.distinct));
        }
        let scan = TraceSpec::Scan.build(1000, 20_000, 1).unwrap();
        let shift = TraceSpec::Shift.build(1000, 20_000, 1).unwrap();
        assert!(scan.distinct > shift.distinct, "{} {}", scan.distinct, shift.distinct);
    }

    #[test]
    fn files_are_read_in_their_formats() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let build = |text: &str, spec: &str, most: u64| {
            std::fs::write(&path, text).unwrap();
            let spec: TraceSpec = format!("x={spec}:{}", path.display()).parse().unwrap();
            spec.build(1, most, 1)
        };
        assert_eq!(build("a\nb\n\na\n", "lines", 100).unwrap().requests, [0, 1, 0]);
        assert_eq!(build("1,a,9\n2,b,9\n3,a,9\n", "csv2", 100).unwrap().requests, [0, 1, 0]);
        assert_eq!(build("5 3 0 0\n6 1 0 1\n", "arc", 100).unwrap().requests, [0, 1, 2, 1]);
        assert_eq!(build("5 3 0 0\n6 1 0 1\n", "arc", 2).unwrap().requests, [0, 1]);
        for (text, spec) in [("", "lines"), ("a", "csv2"), ("1", "arc"), ("x 1", "arc")] {
            assert!(build(text, spec, 100).is_err(), "{text} {spec}");
        }
    }

    #[test]
    fn bad_names_are_refused() {
        for bad in ["", "zipf", "zipf:0", "zipf:x", "x=", "x=lines", "x=csv0:f", "x=tar:f", "hot"] {
            assert!(bad.parse::<TraceSpec>().is_err(), "{bad}");
        }
    }
}
