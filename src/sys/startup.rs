//! Lets go of what only the start needed.
//!
//! Most code of a process runs while it starts (reading settings, building tables) and then never again, yet its pages
//! stay mapped and count as resident. Pages of files that were never written to can be unmapped at any time: what is
//! used again comes back from the page cache by a fault of about a microsecond, and what is not stays away.
#![allow(unsafe_code)] // madvise takes addresses; what makes them harmless is checked here

use std::ffi::c_void;
use std::io::{self, BufRead, BufReader};

use smallvec::SmallVec;

/// Unmaps the pages of code and constants; those in use come back by themselves. Gives the bytes that were let go of.
///
/// # Errors
/// If the system does not tell what is mapped.
pub fn let_go() -> io::Result<usize> {
    // Line by line through a small buffer: a large one would be freed, and wake the allocator's thread a second later.
    let smaps = std::fs::File::open("/proc/self/smaps")?;
    let ranges = droppable(BufReader::with_capacity(2048, smaps))?;
    let mut bytes = 0;
    // From the end: the program itself comes before its libraries, and is to be dropped after them. Nothing is freed after
    // that: each page of code that runs from here on is one that stays.
    for range in ranges.iter().rev() {
        let at = std::ptr::with_exposed_provenance_mut::<c_void>(range.start);
        // SAFETY: a private mapping of a file without write permission, none of whose pages differs from the file:
        // unmapped, they are read from it again, with the same content.
        let done = unsafe { rustix::mm::madvise(at, range.len, rustix::mm::Advice::LinuxDontNeed) };
        if done.is_ok() {
            bytes += range.resident;
        }
    }
    Ok(bytes)
}

#[derive(Debug, PartialEq, Eq)]
struct Range {
    start: usize,
    len: usize,
    /// Bytes of it in memory.
    resident: usize,
}

/// The mappings of files that hold nothing of this process' own, in text as /proc/self/smaps has it.
fn droppable(mut smaps: impl BufRead) -> io::Result<SmallVec<[Range; 64]>> {
    let mut found = SmallVec::new();
    let mut current: Option<Range> = None;
    let mut line = Vec::with_capacity(512);
    loop {
        line.clear();
        if smaps.read_until(b'\n', &mut line)? == 0 {
            return Ok(found);
        }
        // A path that is no UTF-8 belongs to nobody here.
        let Ok(text) = std::str::from_utf8(&line) else {
            current = None;
            continue;
        };
        if let Some(header) = header(text) {
            current = header;
            continue;
        }
        let Some((name, value)) = text.split_once(':') else { continue };
        let kib = || value.trim().trim_end_matches(" kB").parse::<usize>().ok();
        match (name, &mut current) {
            ("Rss", Some(range)) => range.resident = kib().unwrap_or(0) * 1024,
            // Pages that were written to, by relocation for one, exist in this process only.
            ("Anonymous", it @ Some(_)) => {
                let range = it.take();
                found.extend(range.filter(|range| kib() == Some(0) && range.resident > 0));
            }
            _ => {}
        }
    }
}

/// `start-end perms offset device inode path`: `Some` if the line is one, with the mapping if it can be dropped.
fn header(line: &str) -> Option<Option<Range>> {
    let mut words = line.split_ascii_whitespace();
    let (range, permissions) = (words.next()?, words.next()?);
    let (start, end) = range.split_once('-')?;
    let (start, end) = (usize::from_str_radix(start, 16).ok()?, usize::from_str_radix(end, 16).ok()?);
    let path = words.nth(3).unwrap_or_default();
    let fits = matches!(permissions, "r-xp" | "r--p") && path.starts_with('/') && end > start;
    Some(fits.then_some(Range { start, len: end.saturating_sub(start), resident: 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMAPS: &str = "\
1000-3000 r-xp 00000000 fe:00 42                         /bin/x
Size:                  8 kB
Rss:                   4 kB
Private_Dirty:         0 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
3000-4000 r--p 00002000 fe:00 42                         /bin/x
Rss:                   4 kB
Anonymous:             4 kB
4000-5000 rw-p 00003000 fe:00 42                         /bin/x
Rss:                   4 kB
Anonymous:             0 kB
5000-6000 r--p 00000000 00:00 0
Rss:                   4 kB
Anonymous:             0 kB
6000-7000 r--s 00000000 fe:00 43                         /shared
Rss:                   4 kB
Anonymous:             0 kB
7000-8000 r-xp 00000000 00:00 0                          [vdso]
Rss:                   4 kB
Anonymous:             0 kB
8000-9000 r--p 00000000 fe:00 42                         /bin/x
Rss:                   0 kB
Anonymous:             0 kB
";

    #[test]
    fn only_untouched_files_are_dropped() {
        assert_eq!(
            droppable(SMAPS.as_bytes()).expect("text")[..],
            [Range { start: 0x1000, len: 0x2000, resident: 4096 }]
        );
    }

    #[test]
    #[cfg_attr(miri, ignore = "there is no /proc")]
    fn this_process_lives_on() {
        let constant: &'static [u8] = include_bytes!("startup.rs");
        let sum = |bytes: &[u8]| bytes.iter().map(|b| u64::from(*b)).sum::<u64>();
        let before = sum(constant);
        assert!(let_go().expect("/proc/self/smaps") > 0);
        assert_eq!(sum(constant), before);
    }
}
