//! Registering a socket with the runtime for chosen interests.
//!
//! tokio cannot check that a type keeps answering with the same descriptor and keeps it open
//! while it is registered, so its constructor is `unsafe`. [`KeepsFd`] is that promise, made
//! here once for the types of this crate.

#![allow(unsafe_code)] // one call whose contract is the trait below

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::sys::socket::{Stream, UnixSocket};

mod sealed {
    pub trait Sealed {}
}

/// A type that owns one descriptor for its whole life and always answers with that one.
pub trait KeepsFd: AsRawFd + sealed::Sealed {}

impl sealed::Sealed for Stream {}
impl KeepsFd for Stream {}
impl sealed::Sealed for UnixSocket {}
impl KeepsFd for UnixSocket {}
impl sealed::Sealed for OwnedFd {}
impl KeepsFd for OwnedFd {}

/// Watches a socket for these interests.
///
/// # Errors
/// If the runtime cannot register the descriptor.
pub fn watch<T: KeepsFd>(io: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    // SAFETY: `T: KeepsFd` owns its descriptor, gives no other out and closes it on drop only,
    // and `AsyncFd` deregisters before it drops `T`. The trait is sealed.
    Ok(unsafe { AsyncFd::register_with_interest(io, interest) }?)
}
