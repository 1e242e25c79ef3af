//! Payloads of RESTORE: the footer, made by code that is not the server's.

/// Bytes of version and checksum behind the value.
pub const FOOTER: usize = 10;

/// CRC-64 as RDB has it, bit by bit.
fn crc64(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u64::from(*byte), |crc: u64, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0x95ac_9329_ac4b_c9b5 } else { crc >> 1 }
        })
    })
}

/// A written value with its footer.
pub fn seal(mut value: Vec<u8>, version: u16) -> Vec<u8> {
    value.extend_from_slice(&version.to_le_bytes());
    let sum = crc64(&value);
    value.extend_from_slice(&sum.to_le_bytes());
    value
}

/// The same payload with another version and the checksum that belongs to it.
pub fn in_version(mut payload: Vec<u8>, version: u16) -> Vec<u8> {
    payload.truncate(payload.len() - FOOTER);
    seal(payload, version)
}
