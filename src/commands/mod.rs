//! The commands: what they are, how they are found and run, and one file per family.
//!
//! Architecture invariant: a handler takes no lock, reads no clock, writes to no socket and
//! notifies nobody. It reads arguments, changes the keys it was given, states what it did,
//! and replies.

pub mod acl;
pub mod args;
pub mod bitfield;
pub mod bitmap;
pub mod call;
pub mod client;
pub mod cluster;
pub mod command;
pub mod command_info;
pub mod config;
pub mod connection;
pub mod ctx;
pub mod debug;
mod digest;
pub mod dispatch;
mod dump;
pub mod element;
pub mod engine;
pub mod expire;
pub mod expiry;
pub mod function;
pub mod generic;
pub mod geo;
pub mod hash;
pub mod hyperloglog;
pub mod keyspec;
pub mod latency;
pub mod lcs;
pub mod list;
pub mod local;
pub mod lolwut;
pub mod long_double;
pub mod memory;
pub mod number;
pub mod object;
pub mod outbox;
pub mod persistence;
pub mod pubsub;
mod reload;
pub mod replication;
pub mod rest;
pub mod room;
pub mod row;
pub mod scan;
pub mod script;
pub mod server;
pub mod session;
pub mod set;
pub mod slowlog;
pub mod sort;
pub mod sorted_set;
pub mod streak;
pub mod stream;
mod stream_args;
mod stream_entries;
mod stream_group;
mod stream_info;
mod stream_pending;
mod stream_pieces;
pub mod string;
pub mod syntax;
pub mod table;
pub mod timing;
pub mod tracking;
pub mod transaction;
pub mod ttl;
pub mod waiting;

use command::Command;

/// Every family of commands.
pub static FAMILIES: &[&[Command]] = &[
    acl::COMMANDS,
    bitmap::COMMANDS,
    client::COMMANDS,
    cluster::COMMANDS,
    command_info::COMMANDS,
    config::COMMANDS,
    connection::COMMANDS,
    debug::COMMANDS,
    engine::COMMANDS,
    expire::COMMANDS,
    expiry::COMMANDS,
    function::COMMANDS,
    generic::COMMANDS,
    geo::COMMANDS,
    hash::COMMANDS,
    hyperloglog::COMMANDS,
    latency::COMMANDS,
    list::COMMANDS,
    memory::COMMANDS,
    object::COMMANDS,
    persistence::COMMANDS,
    pubsub::COMMANDS,
    replication::COMMANDS,
    scan::COMMANDS,
    script::COMMANDS,
    server::COMMANDS,
    set::COMMANDS,
    slowlog::COMMANDS,
    sort::COMMANDS,
    sorted_set::COMMANDS,
    stream::COMMANDS,
    string::COMMANDS,
    transaction::COMMANDS,
];
