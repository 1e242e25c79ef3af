//! The process: listeners, workers, the helper thread, signals, shutdown.
//!
//! Architecture invariant: nothing here knows a command or a value type. Bytes come in and
//! go to `commands::dispatch`, bytes go out.

mod alarm;
pub mod batch;
pub mod connection;
pub mod defrag;
pub mod helper;
pub mod listen;
mod pace;
mod packing;
mod process;
mod quiet;
mod start;
pub mod sweep;
pub mod tcp;
mod turns;
pub mod worker;

pub use start::run;
