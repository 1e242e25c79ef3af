//! Unions, intersections and differences of sorted sets. A set counts as a sorted set in
//! which every score is 1.
//!
//! The keys are locked, but looked at one after the other: an intersection takes the smallest
//! input in steps of some members and passes them through the other inputs.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use smallvec::SmallVec;

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::number;
use crate::commands::sorted_set::bounds::{self, Form};
use crate::commands::table;
use crate::effects::Class;
use crate::error::Error;
use crate::values::packed::Elem;
use crate::values::sorted_set::{Limits, Score};
use crate::values::{Kind, SortedSet, Value};

/// Members of the smallest input that an intersection takes at a time.
const STEP: usize = 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// How the scores of one member become one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Aggregate {
    Sum,
    Min,
    Max,
}

/// What a command's name says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Use {
    Reply,
    Store,
    Count,
}

/// One input.
struct Input {
    /// Index of its key.
    key: usize,
    weight: f64,
    len: usize,
}

struct Query {
    inputs: SmallVec<[Input; 4]>,
    aggregate: Aggregate,
    with_scores: bool,
    /// At which count to stop; 0: never.
    limit: usize,
}

type Member = (Vec<u8>, f64);

/// ZUNION
pub fn zunion(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    reply(ctx, Operation::Union)
}

/// ZINTER
pub fn zinter(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    reply(ctx, Operation::Inter)
}

/// ZDIFF
pub fn zdiff(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    reply(ctx, Operation::Diff)
}

/// ZUNIONSTORE
pub fn zunionstore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    store(ctx, Operation::Union, "zunionstore")
}

/// ZINTERSTORE
pub fn zinterstore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    store(ctx, Operation::Inter, "zinterstore")
}

/// ZDIFFSTORE
pub fn zdiffstore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    store(ctx, Operation::Diff, "zdiffstore")
}

/// ZINTERCARD
pub fn zintercard(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let query = Query::parse(ctx, Operation::Inter, Use::Count)?;
    let mut count = 0;
    intersect(ctx, &query, |found| {
        count += found.len();
        query.limit == 0 || count < query.limit
    });
    if query.limit > 0 {
        count = count.min(query.limit);
    }
    ctx.reply.int(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

fn reply(ctx: &mut Ctx<'_, '_>, operation: Operation) -> Result<Outcome, Error> {
    let query = Query::parse(ctx, operation, Use::Reply)?;
    let members = evaluate(ctx, operation, &query);
    let form = Form::with_scores(&ctx.reply, query.with_scores);
    form.begin(&mut ctx.reply, members.len());
    for (member, score) in &members {
        form.put(&mut ctx.reply, Elem::Bytes(member), *score);
    }
    Ok(Outcome::Done)
}

fn store(ctx: &mut Ctx<'_, '_>, operation: Operation, event: &'static str) -> Result<Outcome, Error> {
    let query = Query::parse(ctx, operation, Use::Store)?;
    let members = evaluate(ctx, operation, &query);
    let len = members.len();
    let set = sorted_set(&members, &bounds::limits(ctx.config));
    ctx.store(0, set, Class::ZSET, event)?;
    ctx.reply.int(i64::try_from(len).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// A sorted set of these members, which are in order.
pub fn sorted_set(members: &[Member], limits: &Limits) -> SortedSet {
    let mut set = SortedSet::new();
    set.expect(members.len(), members.iter().map(|m| m.0.len()).max().unwrap_or(0), limits);
    for (member, score) in members {
        if let Some(score) = Score::new(*score) {
            set.insert(member, score, limits);
        }
    }
    set
}

fn evaluate(ctx: &mut Ctx<'_, '_>, operation: Operation, query: &Query) -> Vec<Member> {
    let mut members = match operation {
        Operation::Union => unite(ctx, query),
        Operation::Diff => subtract(ctx, query),
        Operation::Inter => {
            let mut all = Vec::new();
            intersect(ctx, query, |found| {
                all.append(found);
                true
            });
            all
        }
    };
    members.sort_unstable_by(|a, b| {
        a.1.partial_cmp(&b.1).unwrap_or(Ordering::Equal).then_with(|| a.0.cmp(&b.0))
    });
    members
}

impl Aggregate {
    fn of(self, a: f64, b: f64) -> f64 {
        match self {
            // The infinities of both signs make none.
            Aggregate::Sum => number_or_zero(a + b),
            Aggregate::Min => {
                if b < a {
                    b
                } else {
                    a
                }
            }
            Aggregate::Max => {
                if b > a {
                    b
                } else {
                    a
                }
            }
        }
    }
}

fn number_or_zero(n: f64) -> f64 {
    if n.is_nan() { 0.0 } else { n }
}

/// Visits the members of an input, one step from `cursor`; the next cursor.
fn scan(value: Option<&Value>, cursor: u64, mut visit: impl FnMut(Elem<'_>, f64)) -> u64 {
    match value {
        Some(Value::ZSet(set)) => set.scan(cursor, STEP, |member, score| visit(member, score.get())),
        Some(Value::Set(set)) => set.scan(cursor, STEP, |member| visit(member, 1.0)),
        _ => 0,
    }
}

fn score_in(value: Option<&Value>, member: &[u8]) -> Option<f64> {
    match value {
        Some(Value::ZSet(set)) => set.score(member).map(Score::get),
        Some(Value::Set(set)) => set.contains(member).then_some(1.0),
        _ => None,
    }
}

/// All members of an input.
fn for_each(ctx: &mut Ctx<'_, '_>, key: usize, mut visit: impl FnMut(Elem<'_>, f64)) {
    ctx.keys.value(key, |value| match value {
        Some(Value::ZSet(set)) => set.iter().for_each(|(member, score)| visit(member, score.get())),
        Some(Value::Set(set)) => set.iter().for_each(|member| visit(member, 1.0)),
        _ => {}
    });
}

fn unite(ctx: &mut Ctx<'_, '_>, query: &Query) -> Vec<Member> {
    let largest = query.inputs.last().map_or(0, |input| input.len);
    let mut scores: HashMap<Vec<u8>, f64> = HashMap::with_capacity(largest);
    for input in &query.inputs {
        for_each(ctx, input.key, |member, score| {
            let score = number_or_zero(score * input.weight);
            match scores.entry(member.to_vec()) {
                Entry::Occupied(mut old) => *old.get_mut() = query.aggregate.of(*old.get(), score),
                Entry::Vacant(new) => {
                    new.insert(score);
                }
            }
        });
    }
    scores.into_iter().collect()
}

/// Hands the members that all inputs have to `found`, some at a time, until it has enough.
fn intersect(ctx: &mut Ctx<'_, '_>, query: &Query, mut found: impl FnMut(&mut Vec<Member>) -> bool) {
    let Some((first, others)) = query.inputs.split_first() else { return };
    let mut cursor = 0;
    loop {
        let mut members: Vec<Member> = Vec::new();
        cursor = ctx.keys.value(first.key, |value| {
            scan(value, cursor, |member, score| {
                members.push((member.to_vec(), number_or_zero(score * first.weight)));
            })
        });
        for input in others {
            ctx.keys.value(input.key, |value| {
                members.retain_mut(|(member, total)| match score_in(value, member) {
                    Some(score) => {
                        *total = query.aggregate.of(*total, score * input.weight);
                        true
                    }
                    None => false,
                });
            });
        }
        if !found(&mut members) || cursor == 0 {
            return;
        }
    }
}

fn subtract(ctx: &mut Ctx<'_, '_>, query: &Query) -> Vec<Member> {
    let Some((first, others)) = query.inputs.split_first() else { return Vec::new() };
    let mut members: Vec<Member> = Vec::with_capacity(first.len);
    for_each(ctx, first.key, |member, score| members.push((member.to_vec(), score)));
    for input in others {
        // The smaller side is walked, the larger side is asked.
        if members.len() <= input.len {
            ctx.keys
                .value(input.key, |value| members.retain(|(member, _)| score_in(value, member).is_none()));
        } else {
            let mut gone = std::collections::HashSet::with_capacity(input.len);
            for_each(ctx, input.key, |member, _| {
                gone.insert(member.to_vec());
            });
            members.retain(|(member, _)| !gone.contains(member));
        }
    }
    members
}

impl Query {
    /// Reads `numkeys key… [options]`. The types of the keys are checked before the options.
    fn parse(ctx: &mut Ctx<'_, '_>, operation: Operation, used: Use) -> Result<Query, Error> {
        let first = usize::from(used == Use::Store);
        ctx.args.seek(1 + first);
        let keys = ctx.args.int()?;
        if keys < 1 {
            let name = table::full_name(ctx.id);
            return Err(Error::text(format!("ERR at least 1 input key is needed for '{name}' command")));
        }
        let keys = usize::try_from(keys).unwrap_or(usize::MAX);
        if keys > ctx.args.left() {
            return Err(Error::Syntax);
        }
        ctx.args.seek(ctx.args.position() + keys);
        let mut query =
            Query { inputs: SmallVec::new(), aggregate: Aggregate::Sum, with_scores: false, limit: 0 };
        for key in first..first + keys {
            let len = input_len(ctx, key)?;
            query.inputs.push(Input { key, weight: 1.0, len });
        }
        query.options(ctx, operation, used)?;
        if operation != Operation::Diff {
            query.inputs.sort_by_key(|input| input.len);
        }
        Ok(query)
    }

    fn options(&mut self, ctx: &mut Ctx<'_, '_>, operation: Operation, used: Use) -> Result<(), Error> {
        let weighs = operation != Operation::Diff && used != Use::Count;
        while ctx.args.left() > 0 {
            if weighs && ctx.args.left() > self.inputs.len() && ctx.args.token("WEIGHTS") {
                for input in &mut self.inputs {
                    input.weight = number::parse_f64(ctx.args.next()?)
                        .ok_or(Error::Line("ERR weight value is not a float"))?;
                }
            } else if weighs && ctx.args.left() > 1 && ctx.args.token("AGGREGATE") {
                self.aggregate = if ctx.args.token("SUM") {
                    Aggregate::Sum
                } else if ctx.args.token("MIN") {
                    Aggregate::Min
                } else if ctx.args.token("MAX") {
                    Aggregate::Max
                } else {
                    return Err(Error::Syntax);
                };
            } else if used == Use::Reply && ctx.args.token("WITHSCORES") {
                self.with_scores = true;
            } else if used == Use::Count && ctx.args.left() > 1 && ctx.args.token("LIMIT") {
                let limit = number::parse_i64(ctx.args.next()?).filter(|n| *n >= 0);
                let limit = limit.ok_or(Error::Line("ERR LIMIT can't be negative"))?;
                self.limit = usize::try_from(limit).unwrap_or(usize::MAX);
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(())
    }
}

/// Number of members of the input at key `i`; WRONGTYPE if it is neither kind of set.
fn input_len(ctx: &mut Ctx<'_, '_>, i: usize) -> Result<usize, Error> {
    if let Some(kind) = ctx.keys.kind(i)
        && !matches!(kind, Kind::ZSet | Kind::Set)
    {
        return Err(Error::WrongType);
    }
    Ok(ctx.keys.value(i, |value| match value {
        Some(Value::ZSet(set)) => set.len(),
        Some(Value::Set(set)) => set.len(),
        _ => 0,
    }))
}
