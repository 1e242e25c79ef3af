//! What the table locks with; `tests/tracking_model.rs` has loom's types in this place.

pub use parking_lot::Mutex;
pub use std::sync::atomic::{AtomicUsize, Ordering};

/// Number of parts of the table.
pub const PARTS: usize = 256;
