//! The numbers of the forms in which a value can be written. Frozen: they are in files.

pub const STRING: u8 = 0;
pub const LIST: u8 = 1;
pub const SET: u8 = 2;
/// Scores as text.
pub const ZSET: u8 = 3;
pub const HASH: u8 = 4;
/// Scores as eight bytes.
pub const ZSET_2: u8 = 5;
pub const HASH_ZIPMAP: u8 = 9;
pub const LIST_ZIPLIST: u8 = 10;
pub const SET_INTSET: u8 = 11;
pub const ZSET_ZIPLIST: u8 = 12;
pub const HASH_ZIPLIST: u8 = 13;
pub const LIST_QUICKLIST: u8 = 14;
pub const STREAM: u8 = 15;
pub const HASH_LISTPACK: u8 = 16;
pub const ZSET_LISTPACK: u8 = 17;
pub const LIST_QUICKLIST_2: u8 = 18;
pub const STREAM_2: u8 = 19;
pub const SET_LISTPACK: u8 = 20;
pub const STREAM_3: u8 = 21;
/// Valkey 9: a field's deadline behind its value. In candidates of Redis 7.4: before the field.
pub const HASH_22: u8 = 22;
/// Candidates of Redis 7.4.
pub const HASH_LISTPACK_DEADLINES_OLD: u8 = 23;
/// Redis 7.4: deadlines relative to the earliest.
pub const HASH_DEADLINES: u8 = 24;
/// Redis 7.4: triples in a listpack.
pub const HASH_LISTPACK_DEADLINES: u8 = 25;

/// Before a node of a quicklist: one element as it is.
pub const NODE_PLAIN: u64 = 1;
/// Before a node of a quicklist: a listpack.
pub const NODE_PACKED: u64 = 2;
