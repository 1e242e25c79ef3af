//! Memory as the allocator and the kernel see it.
//!
//! [`allocator`] is jemalloc with the settings of a sidecar, its figures and its purge;
//! [`process`] is what the kernel says: resident memory, CPU time, the machine's memory;
//! [`gauge`] is how much is in use and may be, at any time; [`limits`] what the system grants;
//! [`renewal`] moves what holds pages that are mostly unused, [`unused`] bounds those that are wholly so.

pub mod allocator;
pub mod gauge;
pub mod limits;
pub mod process;
pub mod renewal;
pub mod unused;

pub use gauge::{Gauge, Tap};
pub use renewal::{Defrag, Renewal};
pub use unused::{Due, Unused};
