//! Memory as the allocator and the kernel see it.
//!
//! [`allocator`] is jemalloc with the settings of a sidecar, its figures and its purge;
//! [`process`] is what the kernel says: resident memory, CPU time, the machine's memory.

pub mod allocator;
pub mod process;
