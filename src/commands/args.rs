//! The arguments of a request: a cursor over byte strings that stay where they were read.

use crate::commands::number;
use crate::error::Error;
use crate::protocol::request::{ArgRange, Requests};
use crate::values::Blob;

/// Where the bytes of a request are.
#[derive(Clone, Copy)]
pub enum Source<'k> {
    /// Ranges of a worker's read buffer.
    Buffer {
        /// The read buffer.
        buf: &'k [u8],
        /// What was found in it.
        requests: &'k Requests,
        /// The ranges of this request.
        words: &'k [ArgRange],
    },
    /// Kept copies: queued commands, waiters, and requests with a large value, which was
    /// read straight into the allocation that becomes the value.
    Owned(&'k [Blob]),
}

impl<'k> Source<'k> {
    /// Number of arguments, the name included.
    #[inline]
    #[allow(clippy::len_without_is_empty)] // a request has a name
    pub fn len(&self) -> usize {
        match self {
            Source::Buffer { words, .. } => words.len(),
            Source::Owned(v) => v.len(),
        }
    }

    /// Argument `i` (0 is the command's name).
    ///
    /// # Panics
    /// If `i` is not below [`len`](Self::len).
    #[inline(always)]
    pub fn at(&self, i: usize) -> &'k [u8] {
        match self {
            Source::Buffer { buf, requests, words } => words[i].bytes(buf, &requests.side),
            Source::Owned(v) => v[i].as_slice(),
        }
    }

    /// All arguments.
    pub fn iter(self) -> impl ExactSizeIterator<Item = &'k [u8]> + Clone {
        (0..self.len()).map(move |i| self.at(i))
    }

    /// Copies, for a queue or a waiter; large arguments are shared, not copied.
    pub fn to_owned(&self) -> Vec<Blob> {
        match self {
            Source::Owned(v) => v.to_vec(),
            Source::Buffer { .. } => self.iter().map(Blob::copy_from).collect(),
        }
    }
}

/// Cursor over the arguments after the command's name (and subcommand, if it has one).
#[derive(Clone, Copy)]
pub struct Args<'k> {
    source: Source<'k>,
    next: usize,
    len: usize,
}

impl<'k> Args<'k> {
    /// A cursor that stands behind the first `skip` arguments.
    #[inline]
    pub fn new(source: Source<'k>, skip: usize) -> Args<'k> {
        Args { source, next: skip, len: source.len() }
    }

    /// Number of arguments in all, the name included.
    #[inline]
    pub fn count(&self) -> usize {
        self.len
    }

    /// How many are left.
    #[inline]
    pub fn left(&self) -> usize {
        self.len - self.next.min(self.len)
    }

    /// The arguments from the cursor on as a request of their own, for commands about commands.
    pub fn request(&self) -> Args<'k> {
        let from = self.next.min(self.len);
        let source = match self.source {
            Source::Buffer { buf, requests, words } => {
                Source::Buffer { buf, requests, words: &words[from..] }
            }
            Source::Owned(v) => Source::Owned(&v[from..]),
        };
        Args::new(source, 0)
    }

    /// The index of the argument that `next` would return.
    #[inline]
    pub fn position(&self) -> usize {
        self.next
    }

    /// Moves the cursor to argument `index`.
    pub fn seek(&mut self, index: usize) {
        self.next = index.min(self.len);
    }

    /// Argument `i` of the whole request (0 is the command's name).
    ///
    /// # Panics
    /// If `i` is not below [`count`](Self::count).
    #[inline]
    pub fn at(&self, i: usize) -> &'k [u8] {
        self.source.at(i)
    }

    /// Argument `i` by reference, if it was read into an allocation of its own.
    pub fn blob_at(&self, i: usize) -> Option<&'k Blob> {
        match self.source {
            Source::Buffer { .. } => None,
            Source::Owned(v) => v.get(i),
        }
    }

    /// The next argument; a syntax error where there is none.
    #[inline]
    #[allow(clippy::should_implement_trait)] // it fails instead of ending
    pub fn next(&mut self) -> Result<&'k [u8], Error> {
        if self.next >= self.len {
            return Err(Error::Syntax);
        }
        self.next += 1;
        Ok(self.at(self.next - 1))
    }

    /// The next argument without taking it.
    pub fn peek(&self) -> Option<&'k [u8]> {
        (self.next < self.len).then(|| self.at(self.next))
    }

    /// The next argument as a signed 64-bit integer.
    #[inline]
    pub fn int(&mut self) -> Result<i64, Error> {
        number::parse_i64(self.next()?).ok_or(Error::NotInteger)
    }

    /// The next argument as a signed 32-bit integer, such as a database's number.
    pub fn int32(&mut self) -> Result<i32, Error> {
        i32::try_from(self.int()?).map_err(|_| {
            Error::Line("ERR value is out of range, value must between -2147483648 and 2147483647")
        })
    }

    /// The next argument as an integer of the given range, else `error`.
    pub fn int_in(&mut self, range: std::ops::RangeInclusive<i64>, error: Error) -> Result<i64, Error> {
        let n = self.int()?;
        if range.contains(&n) { Ok(n) } else { Err(error) }
    }

    /// The next argument as a finite or infinite float; NaN is refused.
    pub fn float(&mut self) -> Result<f64, Error> {
        number::parse_f64(self.next()?).ok_or(Error::NotFloat)
    }

    /// Takes the next argument if it is this word, whatever its case.
    pub fn token(&mut self, word: &str) -> bool {
        match self.peek() {
            Some(arg) if arg.eq_ignore_ascii_case(word.as_bytes()) => {
                self.next += 1;
                true
            }
            _ => false,
        }
    }

    /// The arguments from the cursor to the end, without moving it.
    pub fn rest(&self) -> impl ExactSizeIterator<Item = &'k [u8]> + Clone + use<'k> {
        let this = *self;
        (this.next.min(this.len)..this.len).map(move |i| this.at(i))
    }

    /// Where the bytes are.
    pub fn source(&self) -> Source<'k> {
        self.source
    }

    /// A syntax error unless everything was taken.
    pub fn end(&self) -> Result<(), Error> {
        if self.next >= self.len { Ok(()) } else { Err(Error::Syntax) }
    }
}
