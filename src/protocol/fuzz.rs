//! What the fuzz target and the test of its corpus run.

use crate::protocol::{Limits, OwnedRequest, Parser, Progress, ProtocolError, Requests};

/// All requests of a stream, and how it ended.
type Seen = (Vec<Vec<Vec<u8>>>, Option<ProtocolError>);

/// Parses `data` as a stream in one piece and in pieces, and panics if the pieces change what
/// is found. The first byte chooses the limits, the second the size of the pieces; the rest is
/// the stream.
pub fn fuzz_one(data: &[u8]) {
    let [choice, piece, stream @ ..] = data else {
        return;
    };
    let limits = Limits {
        authenticated: choice & 1 == 0,
        bulk_len_max: if choice & 2 == 0 { 512 * 1024 * 1024 } else { 100 },
        args_max: if choice & 4 == 0 { 1024 * 1024 } else { 99 },
        line_bytes_max: if choice & 8 == 0 { 64 * 1024 } else { 40 },
        ..Limits::default()
    };
    let whole = read_stream(stream, stream.len().max(1), &limits);
    let pieces = read_stream(stream, usize::from(*piece).max(1), &limits);
    assert!(whole == pieces, "a split of the stream changed the requests");
}

/// Reads a stream as a connection does, `piece` bytes at a time.
pub(crate) fn read_stream(stream: &[u8], piece: usize, limits: &Limits) -> Seen {
    let mut seen = Seen::default();
    let mut parser = Parser::new();
    let mut requests = Requests::new();
    let mut large: Option<Box<OwnedRequest>> = None;
    let mut tail = Vec::new();
    for part in stream.chunks(piece) {
        tail.extend_from_slice(part);
        if let Err(error) = read_tail(&mut tail, &mut parser, &mut requests, &mut large, limits, &mut seen.0)
        {
            seen.1 = Some(error);
            break;
        }
    }
    seen
}

fn read_tail(
    tail: &mut Vec<u8>,
    parser: &mut Parser,
    requests: &mut Requests,
    large: &mut Option<Box<OwnedRequest>>,
    limits: &Limits,
    seen: &mut Vec<Vec<Vec<u8>>>,
) -> Result<(), ProtocolError> {
    loop {
        if let Some(mut request) = large.take() {
            let mut used = 0;
            if let Some(room) = request.spare(tail.len())? {
                used = room.len().min(tail.len());
                room[..used].copy_from_slice(&tail[..used]);
                request.advance(used);
            }
            used += request.feed(&tail[used..])?;
            tail.drain(..used);
            if !request.is_complete() {
                assert!(tail.is_empty(), "an unfinished request takes everything");
                *large = Some(request);
                return Ok(());
            }
            seen.push(request.into_args());
        }
        let progress = parser.parse(tail, limits, requests);
        for span in &requests.spans {
            seen.push(requests.slices(tail, span).map(<[u8]>::to_vec).collect());
        }
        match progress? {
            Progress::All { consumed } => {
                tail.drain(..consumed);
                return Ok(());
            }
            Progress::Full { consumed } => {
                tail.drain(..consumed);
            }
            Progress::Large { consumed, request } => {
                tail.drain(..consumed);
                *large = Some(request);
            }
        }
    }
}
