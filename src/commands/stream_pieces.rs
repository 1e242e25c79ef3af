//! Replies with many entries of streams, from snapshots and in pieces (see `rest`).

use std::collections::VecDeque;

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::rest::{self, Rest, Sources};
use crate::commands::stream_args::{read, reply_entry};
use crate::commands::stream_entries::ReadOptions;
use crate::protocol::Reply;
use crate::values::stream::{Entry, StreamId};
use crate::values::{Stream, Value};

/// Many entries of a stream that nobody changes any more.
pub(super) fn many_entries(
    stream: Stream,
    from: StreamId,
    to: StreamId,
    most: usize,
    reverse: bool,
) -> Outcome {
    let mut pieces = Pieces { from, to, left: most, reverse, begun: false };
    Outcome::More(Rest::of(stream, move |stream: &Stream, reply, until| pieces.put(stream, reply, until)))
}

/// How far a reply with many entries has come.
struct Pieces {
    from: StreamId,
    to: StreamId,
    /// Entries to write.
    left: usize,
    reverse: bool,
    begun: bool,
}

impl Pieces {
    /// Writes entries, and how many they are before the first; whether there are more.
    fn put(&mut self, stream: &Stream, reply: &mut Reply<'_>, until: usize) -> bool {
        if !self.begun {
            let there = usize::try_from(stream.count(self.from, self.to)).unwrap_or(usize::MAX);
            self.left = self.left.min(there);
            self.begun = true;
            reply.array(self.left);
        }
        let mut last = None;
        let mut one = |reply: &mut Reply<'_>, entry: Entry<'_>| {
            reply_entry(reply, &entry);
            last = Some(entry.id);
        };
        let n = if self.reverse {
            rest::put(reply, until, stream.range_rev(self.from, self.to).take(self.left), &mut one)
        } else {
            rest::put(reply, until, stream.range(self.from, self.to).take(self.left), &mut one)
        };
        self.left -= n;
        let next = last.and_then(|id| if self.reverse { id.prev() } else { id.next() });
        match next {
            Some(next) if self.reverse => self.to = next,
            Some(next) => self.from = next,
            None => self.left = 0,
        }
        self.left > 0
    }
}

/// Whether much is to be read of one of the streams.
pub(super) fn any_spans_many(ctx: &mut Ctx<'_, '_>, wanted: &[Option<StreamId>]) -> bool {
    let mut spans = |(i, from): (usize, &Option<StreamId>)| {
        let Some(from) = *from else { return false };
        read(&mut ctx.keys, i, |s| s.is_some_and(|s| s.spans_many(from, StreamId::MAX))).unwrap_or(false)
    };
    wanted.iter().enumerate().any(&mut spans)
}

/// XREAD's reply from snapshots of the streams, behind its head.
pub(super) fn many_of_many(
    ctx: &mut Ctx<'_, '_>,
    options: &ReadOptions<'_>,
    wanted: &[Option<StreamId>],
) -> Outcome {
    let mut sources = Sources::new();
    let mut parts = VecDeque::new();
    for (i, from) in wanted.iter().enumerate() {
        let Some(from) = *from else { continue };
        let Some(stream) = ctx.keys.snapshot(i, |_: &Stream| true) else { continue };
        sources.push(Value::Stream(Box::new(stream)));
        let pieces = Pieces { from, to: StreamId::MAX, left: options.count, reverse: false, begun: false };
        parts.push_back((ctx.args.at(options.first + i).to_vec(), pieces));
    }
    let mut at = 0;
    Outcome::More(Rest::of_many(sources, move |sources, reply, until| {
        while let (Some((key, pieces)), Some(Value::Stream(stream))) = (parts.get_mut(at), sources.get(at)) {
            if !pieces.begun {
                if !reply.is_resp3() {
                    reply.array(2);
                }
                reply.bulk(key);
            }
            if pieces.put(stream, reply, until) {
                return true;
            }
            at += 1;
        }
        false
    }))
}
