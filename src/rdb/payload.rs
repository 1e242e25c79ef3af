//! What DUMP answers and RESTORE takes: a value, two bytes of version, eight of checksum.

use crc::{CRC_64_REDIS, Crc, Table};

use super::decode::{self, Limits, Restored};
use super::encode::{Plain, encode};
use super::{
    Error, Reader, VERSION, VERSION_FIELD_DEADLINES, VERSION_REDIS_MAX, VERSIONS_VALKEY, Writer, kind,
};

static CRC: Crc<u64, Table<16>> = Crc::<u64, Table<16>>::new(&CRC_64_REDIS);

/// The payload of a value; `compress`: its long strings are compressed.
pub fn dump(value: Plain<'_>, compress: bool) -> Vec<u8> {
    let mut out = Writer::new(compress);
    encode(&mut out, value);
    let bytes = out.into_bytes();
    // Older servers do not know this form, and refuse the version rather than the value.
    let new = bytes.first() == Some(&kind::HASH_DEADLINES);
    let version = if new { VERSION_FIELD_DEADLINES } else { VERSION };
    seal(bytes, version)
}

/// A written value with its footer.
pub(super) fn seal(mut bytes: Vec<u8>, version: u16) -> Vec<u8> {
    bytes.extend_from_slice(&version.to_le_bytes());
    let sum = CRC.checksum(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    bytes
}

/// The value of a payload.
pub fn restore(payload: &[u8], limits: &Limits) -> Result<Restored, Error> {
    let (signed, sum) = payload.split_last_chunk::<8>().ok_or(Error::Footer)?;
    let (value, version) = signed.split_last_chunk::<2>().ok_or(Error::Footer)?;
    let version = u16::from_le_bytes(*version);
    let known = version <= VERSION_REDIS_MAX || VERSIONS_VALKEY.contains(&version);
    if !known || CRC.checksum(signed) != u64::from_le_bytes(*sum) {
        return Err(Error::Footer);
    }
    let mut reader = Reader::new(value, version);
    let read = decode::form(&mut reader, limits);
    let at = reader.position();
    match read {
        Err(bad) => Err(Error::Value { at, what: bad.0 }),
        Ok(_) if reader.left() > 0 => Err(Error::Value { at, what: "bytes are left over" }),
        Ok(restored) => Ok(restored),
    }
}
