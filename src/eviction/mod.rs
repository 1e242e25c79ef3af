//! Recency and frequency of access, and (as it is built) what is evicted by them.

pub mod access;
