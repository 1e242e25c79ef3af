//! What the table locks with; `tests/tracking_model.rs` has loom's types in this place.

pub use parking_lot::Mutex;
pub use std::sync::atomic::{AtomicUsize, Ordering};
