//! The few system interfaces that no safe crate wraps.

pub mod process;
pub mod readiness;
pub mod socket;
pub mod startup;
