//! RESP2 and RESP3 as state machines fed with bytes: requests in, replies out.
//!
//! There is deliberately no I/O here, no clock, no key and no command name (but the two
//! first words by which a stray HTTP client is recognised).
//!
//! - [`request`]: finds up to sixteen requests in a read buffer without copying them,
//!   with [`inline`] for commands typed by hand and [`limits`] for what is refused;
//! - [`owned`]: a request with a large argument that is received into its final place;
//! - [`reply`]: the one writer of replies, into an [`outbuf::OutBuf`] that refers to
//!   large values instead of copying them;
//! - [`float`]: doubles as text.

pub mod float;
mod fuzz;
pub mod inline;
pub mod limits;
pub mod number;
pub mod outbuf;
pub mod owned;
pub mod reply;
pub mod request;

pub use fuzz::fuzz_one;
pub use limits::{Limits, ProtocolError};
pub use outbuf::OutBuf;
pub use owned::OwnedRequest;
pub use reply::{Mark, Reply};
pub use request::{ArgRange, BATCH_MAX, Parser, Progress, RequestSpan, Requests};
