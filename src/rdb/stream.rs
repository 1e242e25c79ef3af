//! Streams, both ways.
//!
//! ```text
//! nodes     count, then for each: id (16 bytes as a string), listpack as a string
//! counters  entries, last id; from the second form on: first id, largest deleted id, added
//! groups    count, then for each: name, last id; from the second form on: entries read
//!   pending   count, then for each: id (16 bytes), delivered (8), deliveries
//!   consumers count, then for each: name, seen (8); third form: active (8);
//!             count and ids (16 bytes) of those pending entries that are its
//! ```

use std::collections::BTreeMap;

use super::{Bad, Reader, Writer, kind};
use crate::values::Stream;
use crate::values::packed::Listpack;
use crate::values::stream::{Consumer, Counters, Group, StreamId};

type Result<T> = std::result::Result<T, Bad>;

/// "Not known", for entries read; "never", for the time of activity.
const NONE: u64 = u64::MAX;

fn put_id(out: &mut Writer, id: StreamId) {
    out.length(id.ms);
    out.length(id.seq);
}

fn id(r: &mut Reader<'_>) -> Result<StreamId> {
    Ok(StreamId { ms: r.length()?, seq: r.length()? })
}

/// Writes the form's number and the stream.
pub fn encode(out: &mut Writer, stream: &Stream) {
    out.byte(kind::STREAM_3);
    out.count(stream.node_count());
    for (id, pack) in stream.nodes() {
        out.string(&id.to_bytes());
        out.string(&pack.to_bytes());
    }
    out.length(stream.len());
    let counters = stream.counters();
    put_id(out, counters.last_id);
    put_id(out, stream.first_id());
    put_id(out, counters.max_deleted_id);
    out.length(counters.entries_added);
    let groups = stream.groups();
    out.count(groups.len());
    for (name, group) in groups {
        out.string(name);
        encode_group(out, group);
    }
}

fn encode_group(out: &mut Writer, group: &Group) {
    put_id(out, group.last_id);
    out.length(group.entries_read.unwrap_or(NONE));
    out.count(group.pending_len());
    for (id, pending) in group.pending(StreamId::MIN, StreamId::MAX) {
        out.raw(&id.to_bytes());
        out.fixed(pending.delivered_ms);
        out.length(pending.deliveries);
    }
    let consumers = group.consumers();
    out.count(consumers.len());
    for (name, consumer) in consumers {
        out.string(name);
        encode_consumer(out, consumer);
    }
}

fn encode_consumer(out: &mut Writer, consumer: &Consumer) {
    out.fixed(consumer.seen_ms);
    out.fixed(consumer.active_ms.unwrap_or(NONE));
    out.count(consumer.pending_len());
    for id in consumer.pending_from(StreamId::MIN) {
        out.raw(&id.to_bytes());
    }
}

/// Reads a stream of one of the three forms.
pub fn decode(r: &mut Reader<'_>, form: u8) -> Result<Stream> {
    let mut nodes = Vec::new();
    for _ in 0..r.count(2)? {
        let key = r.string()?;
        let key = <[u8; 16]>::try_from(&*key).map_err(|_| Bad("the id of a node is not 16 bytes"))?;
        nodes.push((StreamId::from_bytes(key), Listpack::from_untrusted(&r.string()?)?));
    }
    let len = r.length()?;
    let mut counters = Counters { last_id: id(r)?, entries_added: len, ..Counters::default() };
    if form != kind::STREAM {
        id(r)?; // the first id, which the entries tell as well
        counters.max_deleted_id = id(r)?;
        counters.entries_added = signed(r.length()?)?;
    }
    let mut stream = Stream::from_nodes(nodes.into_iter(), len, counters)
        .map_err(|_| Bad("the entries of a stream and its counters do not agree"))?;
    for _ in 0..r.count(4)? {
        let name = r.string()?;
        let group = decode_group(r, form, &stream)?;
        if !stream.create_group(&name, group) {
            return Err(Bad("a group stands twice"));
        }
    }
    Ok(stream)
}

/// A number that other servers keep as a signed one.
fn signed(n: u64) -> Result<u64> {
    i64::try_from(n).map(|_| n).map_err(|_| Bad("a counter is out of range"))
}

/// A time that other servers keep as a signed number: before 1970 is no time.
fn time(n: u64) -> u64 {
    if i64::try_from(n).is_ok() { n } else { 0 }
}

fn decode_group(r: &mut Reader<'_>, form: u8, stream: &Stream) -> Result<Group> {
    let last_id = id(r)?;
    let entries_read = match form {
        kind::STREAM => stream.entries_up_to(last_id),
        _ => match r.length()? {
            NONE => None,
            n => Some(signed(n)?),
        },
    };
    let mut group = Group::new(last_id, entries_read);
    let mut pending = BTreeMap::new();
    for _ in 0..r.count(25)? {
        let id = StreamId::from_bytes(r.sixteen()?);
        let delivered = time(r.fixed()?);
        if pending.insert(id, (delivered, signed(r.length()?)?)).is_some() {
            return Err(Bad("a pending entry stands twice"));
        }
    }
    for _ in 0..r.count(10)? {
        decode_consumer(r, form, &mut group, &mut pending)?;
    }
    if pending.is_empty() { Ok(group) } else { Err(Bad("a pending entry without a consumer")) }
}

fn decode_consumer(
    r: &mut Reader<'_>,
    form: u8,
    group: &mut Group,
    pending: &mut BTreeMap<StreamId, (u64, u64)>,
) -> Result<()> {
    let name = r.string()?;
    let seen = time(r.fixed()?);
    // Older servers did not tell the two apart.
    let active = if form == kind::STREAM_3 { i64::try_from(r.fixed()?).ok() } else { Some(seen as i64) };
    if !group.create_consumer(&name, seen) {
        return Err(Bad("a consumer stands twice"));
    }
    if let Some(consumer) = group.consumer_mut(&name) {
        consumer.active_ms = active.and_then(|ms| u64::try_from(ms).ok());
    }
    for _ in 0..r.count(16)? {
        let id = StreamId::from_bytes(r.sixteen()?);
        // Each belongs to one consumer: whoever takes it leaves none for the next.
        let (delivered, deliveries) =
            pending.remove(&id).ok_or(Bad("a consumer's entry is not pending in the group"))?;
        group.deliver(id, &name, delivered, deliveries);
    }
    Ok(())
}
