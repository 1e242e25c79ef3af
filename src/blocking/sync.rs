//! What `table.rs` is built from; the models in `tests/blocking_model.rs` put loom's in its place.

pub(super) use parking_lot::Mutex;
pub(super) use std::sync::Arc;
pub(super) use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
