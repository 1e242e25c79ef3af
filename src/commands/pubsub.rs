//! SUBSCRIBE, PUBLISH and their kin.
//!
//! Confirmations are push frames in RESP3 and ordinary replies in RESP2, one per name.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::clients::{ClientHandle, LOST, NAME_OVERHEAD, State};
use crate::commands::command::{Arity, Command, Group, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::row::{flags, help, key_flags};
use crate::error::Error;
use crate::events::feeds::is_feed;
use crate::events::pubsub::is_expiry_alias;
use crate::events::{Scope, Subscriptions};
use crate::shared::Shared;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "psubscribe",
        arity: Arity::AtLeast(2),
        flags: flags!(PUBSUB | NOSCRIPT | LOADING | STALE | SENTINEL),
        syntax: "pattern:pattern...",
        summary: "Listens to all channels that match a pattern.",
        since: "2.0.0",
        group: Group::PubSub,
        complexity: "O(N), N patterns",
        run: psubscribe,
        ..Command::DEFAULT
    },
    Command {
        name: "publish",
        arity: Arity::Exactly(3),
        flags: flags!(PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE | SENTINEL),
        syntax: "channel message",
        summary: "Sends a message to a channel.",
        since: "2.0.0",
        group: Group::PubSub,
        complexity: "O(N+M), N subscribers of the channel, M patterns anyone listens to",
        run: publish,
        ..Command::DEFAULT
    },
    Command {
        name: "pubsub",
        arity: Arity::AtLeast(2),
        summary: "Looks at channels and their subscribers.",
        since: "2.8.0",
        group: Group::PubSub,
        complexity: "that of the subcommand",
        subcommands: &[
            Command {
                name: "channels",
                arity: Arity::AtLeast(2),
                flags: flags!(PUBSUB | LOADING | STALE),
                syntax: "[pattern:pattern]",
                summary: "Channels that somebody listens to.",
                since: "2.8.0",
                group: Group::PubSub,
                complexity: "O(N), N such channels",
                run: pubsub_channels,
                ..Command::DEFAULT
            },
            Command {
                name: "help",
                arity: Arity::Exactly(2),
                flags: flags!(LOADING | STALE),
                summary: "Lists the subcommands.",
                since: "6.2.0",
                group: Group::PubSub,
                run: help,
                ..Command::DEFAULT
            },
            Command {
                name: "numpat",
                arity: Arity::Exactly(2),
                flags: flags!(PUBSUB | LOADING | STALE),
                summary: "Number of patterns that somebody listens to.",
                since: "2.8.0",
                group: Group::PubSub,
                run: pubsub_numpat,
                ..Command::DEFAULT
            },
            Command {
                name: "numsub",
                arity: Arity::AtLeast(2),
                flags: flags!(PUBSUB | LOADING | STALE),
                syntax: "[channel]...",
                summary: "Number of subscribers for each channel.",
                since: "2.8.0",
                group: Group::PubSub,
                complexity: "O(N), N channels asked for",
                run: pubsub_numsub,
                ..Command::DEFAULT
            },
            Command {
                name: "shardchannels",
                arity: Arity::AtLeast(2),
                flags: flags!(PUBSUB | LOADING | STALE),
                syntax: "[pattern:pattern]",
                summary: "Shard channels that somebody listens to.",
                since: "7.0.0",
                group: Group::PubSub,
                complexity: "O(N), N such channels",
                run: pubsub_shardchannels,
                ..Command::DEFAULT
            },
            Command {
                name: "shardnumsub",
                arity: Arity::AtLeast(2),
                flags: flags!(PUBSUB | LOADING | STALE),
                syntax: "[shardchannel]...",
                summary: "Number of subscribers for each shard channel.",
                since: "7.0.0",
                group: Group::PubSub,
                complexity: "O(N), N channels asked for",
                run: pubsub_shardnumsub,
                ..Command::DEFAULT
            },
        ],
        ..Command::DEFAULT
    },
    Command {
        name: "punsubscribe",
        arity: Arity::AtLeast(1),
        flags: flags!(PUBSUB | NOSCRIPT | LOADING | STALE | SENTINEL),
        syntax: "[pattern:pattern]...",
        summary: "Stops listening to patterns.",
        since: "2.0.0",
        group: Group::PubSub,
        complexity: "O(N), N patterns",
        run: punsubscribe,
        ..Command::DEFAULT
    },
    Command {
        name: "spublish",
        arity: Arity::Exactly(3),
        flags: flags!(PUBSUB | LOADING | STALE | FAST | MAY_REPLICATE),
        keys: &[KeySpec::key(1, key_flags!(NOT_KEY))],
        syntax: "shardchannel message",
        summary: "Sends a message to a shard channel.",
        since: "7.0.0",
        group: Group::PubSub,
        complexity: "O(N), N subscribers of the channel",
        run: spublish,
        ..Command::DEFAULT
    },
    Command {
        name: "ssubscribe",
        arity: Arity::AtLeast(2),
        flags: flags!(PUBSUB | NOSCRIPT | LOADING | STALE),
        keys: &[KeySpec::range(1, -1, 1, 0, key_flags!(NOT_KEY))],
        syntax: "shardchannel...",
        summary: "Listens to shard channels.",
        since: "7.0.0",
        group: Group::PubSub,
        complexity: "O(N), N channels",
        run: ssubscribe,
        ..Command::DEFAULT
    },
    Command {
        name: "subscribe",
        arity: Arity::AtLeast(2),
        flags: flags!(PUBSUB | NOSCRIPT | LOADING | STALE | SENTINEL),
        syntax: "channel...",
        summary: "Listens to channels.",
        since: "2.0.0",
        group: Group::PubSub,
        complexity: "O(N), N channels",
        run: subscribe,
        ..Command::DEFAULT
    },
    Command {
        name: "sunsubscribe",
        arity: Arity::AtLeast(1),
        flags: flags!(PUBSUB | NOSCRIPT | LOADING | STALE),
        keys: &[KeySpec::range(1, -1, 1, 0, key_flags!(NOT_KEY))],
        syntax: "[shardchannel]...",
        summary: "Stops listening to shard channels.",
        since: "7.0.0",
        group: Group::PubSub,
        complexity: "O(N), N channels",
        run: sunsubscribe,
        ..Command::DEFAULT
    },
    Command {
        name: "unsubscribe",
        arity: Arity::AtLeast(1),
        flags: flags!(PUBSUB | NOSCRIPT | LOADING | STALE | SENTINEL),
        syntax: "[channel]...",
        summary: "Stops listening to channels.",
        since: "2.0.0",
        group: Group::PubSub,
        complexity: "O(N), N channels",
        run: unsubscribe,
        ..Command::DEFAULT
    },
];

/// SUBSCRIBE
pub fn subscribe(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    add(ctx, Scope::Channel, b"subscribe")
}

/// PSUBSCRIBE
pub fn psubscribe(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    add(ctx, Scope::Pattern, b"psubscribe")
}

/// SSUBSCRIBE
pub fn ssubscribe(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    add(ctx, Scope::Shard, b"ssubscribe")
}

/// UNSUBSCRIBE
pub fn unsubscribe(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    remove(ctx, Scope::Channel, b"unsubscribe")
}

/// PUNSUBSCRIBE
pub fn punsubscribe(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    remove(ctx, Scope::Pattern, b"punsubscribe")
}

/// SUNSUBSCRIBE
pub fn sunsubscribe(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    remove(ctx, Scope::Shard, b"sunsubscribe")
}

fn add(ctx: &mut Ctx<'_, '_>, scope: Scope, verb: &[u8]) -> Result<Outcome, Error> {
    for name in ctx.args.rest() {
        let mine = ctx.session.subscriptions.get_or_insert_default();
        if mine.of_mut(scope).insert(name.into()) {
            let handle = &ctx.session.handle;
            handle.figures.sub_mem.fetch_add(name.len() + NAME_OVERHEAD, Relaxed);
            if is_expiry_alias(scope, name) {
                ctx.shared.pubsub.subscribe_expiry(ctx.session.db, handle);
            } else if is_lost(scope, name) {
                handle.set_loses_messages(true);
            } else if is_feed(scope, name) {
                ctx.shared.feeds.subscribe(scope, name, handle);
            } else {
                ctx.shared.pubsub.subscribe(scope, name, handle);
            }
        }
        let count = mine.count(scope);
        confirm(ctx, verb, Some(name), count);
    }
    publish_figures(ctx);
    Ok(Outcome::Done)
}

fn remove(ctx: &mut Ctx<'_, '_>, scope: Scope, verb: &[u8]) -> Result<Outcome, Error> {
    let names: Vec<Box<[u8]>> = if ctx.args.left() > 0 {
        ctx.args.rest().map(Box::from).collect()
    } else {
        ctx.session.subscriptions.iter().flat_map(|s| s.of(scope).iter().cloned()).collect()
    };
    if names.is_empty() {
        let count = ctx.session.subscriptions.as_ref().map_or(0, |s| s.count(scope));
        confirm(ctx, verb, None, count);
    }
    for name in &names {
        let mut count = 0;
        if let Some(mine) = &mut ctx.session.subscriptions {
            if mine.of_mut(scope).remove(name) {
                ctx.session.handle.figures.sub_mem.fetch_sub(name.len() + NAME_OVERHEAD, Relaxed);
                leave(ctx.shared, scope, name, &ctx.session.handle);
            }
            count = mine.count(scope);
        }
        confirm(ctx, verb, Some(name), count);
    }
    publish_figures(ctx);
    Ok(Outcome::Done)
}

fn leave(shared: &Shared, scope: Scope, name: &[u8], client: &ClientHandle) {
    if is_lost(scope, name) {
        client.set_loses_messages(false);
    } else if is_feed(scope, name) {
        shared.feeds.unsubscribe(scope, name, client.id);
    } else {
        shared.pubsub.unsubscribe(scope, name, client.id);
    }
}

/// Whether this subscription says that messages may be lost.
fn is_lost(scope: Scope, name: &[u8]) -> bool {
    scope == Scope::Channel && name == LOST
}

/// Removes every subscription of a client that goes away.
pub(super) fn forget(shared: &Shared, subscriptions: &Subscriptions, client: &ClientHandle) {
    for scope in [Scope::Channel, Scope::Pattern, Scope::Shard] {
        for name in subscriptions.of(scope) {
            leave(shared, scope, name, client);
        }
    }
}

fn confirm(ctx: &mut Ctx<'_, '_>, verb: &[u8], name: Option<&[u8]>, count: usize) {
    ctx.reply.push(3);
    ctx.reply.bulk(verb);
    ctx.reply.bulk_or_null(name);
    ctx.reply.int(i64::try_from(count).unwrap_or(i64::MAX));
}

/// Tells CLIENT LIST and the output limits what this connection has become.
fn publish_figures(ctx: &mut Ctx<'_, '_>) {
    let handle = Arc::clone(&ctx.session.handle);
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let (sub, psub, ssub) = ctx.session.subscriptions.as_ref().map_or((0, 0, 0), |s| {
        (s.of(Scope::Channel).len(), s.of(Scope::Pattern).len(), s.of(Scope::Shard).len())
    });
    handle.figures.sub.store(count(sub), Relaxed);
    handle.figures.psub.store(count(psub), Relaxed);
    handle.figures.ssub.store(count(ssub), Relaxed);
    let any = sub + psub + ssub > 0;
    if !any {
        ctx.session.subscriptions = None;
    }
    if handle.state().contains(State::PUBSUB) != any {
        handle.put(State::PUBSUB, any);
        crate::clients::apply_output_limit(&handle, ctx.config);
    }
}

/// PUBLISH
pub fn publish(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let channel = ctx.args.next()?;
    let message = ctx.args.next()?;
    let receivers = ctx.shared.pubsub.publish(channel, message);
    ctx.reply.int(i64::try_from(receivers).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// SPUBLISH
pub fn spublish(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let channel = ctx.args.next()?;
    let message = ctx.args.next()?;
    let receivers = ctx.shared.pubsub.publish_shard(channel, message);
    ctx.reply.int(i64::try_from(receivers).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// PUBSUB CHANNELS
pub fn pubsub_channels(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    active(ctx, Scope::Channel)
}

/// PUBSUB SHARDCHANNELS
pub fn pubsub_shardchannels(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    active(ctx, Scope::Shard)
}

fn active(ctx: &mut Ctx<'_, '_>, scope: Scope) -> Result<Outcome, Error> {
    let pattern = ctx.args.next().ok();
    if ctx.args.left() > 0 {
        return Err(ctx.arity_error());
    }
    let mut names = ctx.shared.pubsub.active(scope, pattern);
    if scope == Scope::Channel {
        names.extend(ctx.shared.feeds.active(pattern));
    }
    ctx.reply.array(names.len());
    for name in &names {
        ctx.reply.bulk(name);
    }
    Ok(Outcome::Done)
}

/// PUBSUB NUMSUB
pub fn pubsub_numsub(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    listeners(ctx, Scope::Channel)
}

/// PUBSUB SHARDNUMSUB
pub fn pubsub_shardnumsub(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    listeners(ctx, Scope::Shard)
}

fn listeners(ctx: &mut Ctx<'_, '_>, scope: Scope) -> Result<Outcome, Error> {
    let names = ctx.args.rest();
    ctx.reply.array(2 * names.len());
    for name in names {
        let count = match is_feed(scope, name) {
            true => ctx.shared.feeds.listeners(name),
            false => ctx.shared.pubsub.listeners(scope, name),
        };
        ctx.reply.bulk(name);
        ctx.reply.int(i64::try_from(count).unwrap_or(i64::MAX));
    }
    Ok(Outcome::Done)
}

/// PUBSUB NUMPAT
pub fn pubsub_numpat(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let count = ctx.shared.pubsub.count(Scope::Pattern) + ctx.shared.feeds.count(Scope::Pattern);
    ctx.reply.int(i64::try_from(count).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}
