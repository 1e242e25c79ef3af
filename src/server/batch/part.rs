//! Up to 16 requests of one client inside one batch of the gate: looked up and prefetched together, then run.

use super::Work;
use super::timed::{Segment, record};
use crate::commands::args::Source;
use crate::commands::call::{Env, Request};
use crate::commands::ctx::Origin;
use crate::commands::dispatch::{Fate, dispatch};
use crate::commands::local::Lane;
use crate::commands::session::Session;
use crate::commands::streak::Streak;
use crate::commands::table::{self, Found, Lookup};
use crate::commands::timing;
use crate::config::Config;
use crate::keyspace::{Batch, DbId, KeyHash};
use crate::protocol::OutBuf;
use crate::protocol::request::BATCH_MAX;

/// With a slow log threshold below this, every command is timed alone.
const EXACT_BELOW_US: i64 = 1_000;

/// A request that was looked up.
#[derive(Clone, Copy)]
pub(super) enum Resolved {
    /// A simple command ([`Found::is_simple`]).
    Simple {
        found: Found,
        /// Of its only key.
        hash: KeyHash,
    },
    /// Any other.
    Other {
        lookup: Lookup,
        /// Of its only key, if that is in a fixed place.
        hash: Option<KeyHash>,
    },
}

/// None yet.
pub(super) const UNRESOLVED: Resolved = Resolved::Other { lookup: Lookup::Unknown, hash: None };

impl Resolved {
    #[inline(always)]
    fn hash(&self) -> Option<KeyHash> {
        match self {
            Resolved::Simple { hash, .. } => Some(*hash),
            Resolved::Other { hash, .. } => *hash,
        }
    }

    #[inline(always)]
    fn lookup(&self) -> Lookup {
        match self {
            Resolved::Simple { found, .. } => Lookup::Found(*found),
            Resolved::Other { lookup, .. } => *lookup,
        }
    }
}

/// Requests inside one batch of the gate.
pub(super) struct Part<'r> {
    env: Env<'r>,
    batch: &'r Batch<'r>,
    work: Work<'r>,
    /// Index of the first.
    begin: usize,
    resolved: &'r [Resolved],
    /// Every command is timed alone.
    exact: bool,
    /// From so many bytes on a reply is kept.
    large_reply: usize,
    /// A request may be so large that it is kept.
    large_request: bool,
}

impl<'r> Part<'r> {
    /// The requests from `begin` on, as many as there is place for.
    #[inline(always)]
    pub(super) fn new(
        env: Env<'r>,
        batch: &'r Batch<'r>,
        work: Work<'r>,
        begin: usize,
        db: DbId,
        place: &'r mut [Resolved; BATCH_MAX],
    ) -> Part<'r> {
        let end = work.len().min(begin + BATCH_MAX);
        let resolved = &mut place[..end - begin];
        resolve(batch, db, work, begin, resolved);
        Part {
            env,
            batch,
            work,
            begin,
            resolved,
            exact: every_command_alone(env.config),
            large_reply: timing::large_reply(env.config),
            large_request: timing::may_have_large_requests(env.config, work.buffer()),
        }
    }

    /// Index of the request behind the last one.
    #[inline(always)]
    pub(super) fn end(&self) -> usize {
        self.begin + self.resolved.len()
    }

    /// Runs simple commands up to the first that is none, or has to be asked about, or leads to something besides its
    /// reply.
    #[inline(always)]
    pub(super) fn streak(
        &self,
        lane: &mut Lane,
        session: &mut Session,
        out: &mut OutBuf,
        at: &mut usize,
        segment: &mut Segment,
    ) -> Fate {
        let mut rest = self.resolved[*at - self.begin..].iter();
        let mut fate = Fate::Done;
        let Some(Resolved::Simple { found, .. }) = rest.as_slice().first() else { return fate };
        if self.exact || self.large_request || !session.is_plain() {
            return fate;
        }
        let first =
            Request { found: *found, source: self.work.source(*at), hash: None, origin: Origin::Client };
        let mut streak = Streak::new(self.env, lane.hands(), self.batch, session, out, first);
        while let Some(&Resolved::Simple { found, hash }) = rest.next() {
            let source = self.work.source(*at);
            if !streak.takes(found, source) {
                break;
            }
            *at += 1;
            let before = streak.written();
            let key = found.single_key().map_or(&[][..], |key| source.at(key));
            fate = streak.run(found, source, key, hash);
            // One that waits counts when it is answered.
            if fate == Fate::Blocked {
                break;
            }
            segment.add(found.id);
            let replied = streak.written().saturating_sub(before);
            // One that goes on is kept at its end.
            if replied >= self.large_reply && fate != Fate::More {
                let ran = timing::Ran { found, source, redacted: &[] };
                timing::replied(self.env, streak.session(), replied, ran);
            }
            if fate != Fate::Done || streak.is_signalled() {
                break;
            }
        }
        streak.end();
        fate
    }

    /// Runs one request, whatever it is.
    #[inline(never)]
    pub(super) fn one(
        &self,
        lane: &mut Lane,
        session: &mut Session,
        out: &mut OutBuf,
        at: &mut usize,
        segment: &mut Segment,
    ) -> Fate {
        let env = self.env;
        let resolved = &self.resolved[*at - self.begin];
        let (lookup, source) = (resolved.lookup(), self.work.source(*at));
        let alone = self.exact || lookup.found().is_none_or(|f| f.timed_alone(source.len()));
        if alone {
            record(lane, env, session, segment, None);
        }
        let before = out.written();
        let fate = dispatch(env, lane.hands(), self.batch, session, out, lookup, source, resolved.hash());
        if matches!(fate, Fate::Gate | Fate::Paused(_)) {
            return fate;
        }
        *at += 1;
        // One that waits counts when it is answered.
        let ran = !matches!(fate, Fate::Refused | Fate::Blocked);
        let Some(found) = lookup.found().filter(|_| ran) else { return fate };
        let replied = out.written().saturating_sub(before);
        if replied >= self.large_reply || self.large_request {
            let ran = timing::Ran { found, source, redacted: &lane.local.redacted };
            if self.large_request {
                timing::requested(env, session, ran);
            }
            if replied >= self.large_reply && fate != Fate::More {
                timing::replied(env, session, replied, ran);
            }
        }
        segment.add(found.id);
        if alone {
            record(lane, env, session, segment, Some((source, found)));
        }
        fate
    }
}

/// Looks the commands up, hashes single keys, and prefetches where they will be found.
#[inline(always)]
fn resolve(batch: &Batch<'_>, db: DbId, work: Work<'_>, begin: usize, resolved: &mut [Resolved]) {
    let names = table::names();
    let ahead = if resolved.len() > 1 { batch.ahead(db) } else { None };
    let (mut hashes, mut n) = ([KeyHash(0); BATCH_MAX], 0);
    for (i, place) in resolved.iter_mut().enumerate() {
        *place = look_up(batch, names, work.source(begin + i));
        if let (Some(ahead), Some(hash)) = (ahead, place.hash()) {
            ahead.shard(hash);
            hashes[n] = hash;
            n += 1;
        }
    }
    let Some(ahead) = ahead else { return };
    let mut spots = [None; BATCH_MAX];
    for (spot, hash) in spots.iter_mut().zip(&hashes[..n]) {
        *spot = ahead.bucket(*hash);
    }
    spots[..n].iter().flatten().for_each(|spot| ahead.entry(*spot));
}

#[inline(always)]
fn look_up(batch: &Batch<'_>, names: table::Names, source: Source<'_>) -> Resolved {
    let n = source.len();
    let lookup = names.lookup(|i| source.at(i), n);
    let found = lookup.found();
    let Some((found, key)) = found.and_then(|f| Some((f, f.single_key()?))).filter(|(_, key)| *key < n)
    else {
        return Resolved::Other { lookup, hash: None };
    };
    let hash = batch.hash_key(source.at(key));
    if found.is_simple(n) {
        Resolved::Simple { found, hash }
    } else {
        Resolved::Other { lookup, hash: Some(hash) }
    }
}

fn every_command_alone(config: &Config) -> bool {
    (0..EXACT_BELOW_US).contains(&config.slowlog_log_slower_than)
}
