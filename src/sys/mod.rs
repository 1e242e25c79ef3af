//! The few system interfaces that no safe crate wraps.

pub mod readiness;
pub mod process;
