//! CLIENT: who is connected, and what may be done to them.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use crate::clients::{ClientHandle, ClientId, State};
use crate::clock;
use crate::commands::command::{Arity, Command, Group, Outcome};
use crate::commands::connection::check_name;
use crate::commands::ctx::Ctx;
use crate::commands::number;
use crate::commands::row::{acl, flags, help};
use crate::commands::table;
use crate::commands::tracking::{client_caching, client_getredir, client_tracking, client_trackinginfo};
use crate::error::Error;

mod filter;
mod modes;

use filter::{Filter, client_kill, role};
use modes::{
    client_import_source, client_no_evict, client_no_touch, client_pause, client_reply, client_unblock,
    client_unpause,
};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[Command {
    name: "client",
    arity: Arity::AtLeast(2),
    flags: flags!(SENTINEL),
    summary: "Commands about client connections.",
    since: "2.4.0",
    group: Group::Connection,
    complexity: "that of the subcommand",
    subcommands: &[
        Command {
            name: "caching",
            arity: Arity::Exactly(3),
            flags: flags!(NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "(mode: YES | NO)",
            summary: "Tells tracking whether to remember the keys of the next command.",
            since: "6.0.0",
            group: Group::Connection,
            run: client_caching,
            ..Command::DEFAULT
        },
        Command {
            name: "capa",
            arity: Arity::AtLeast(3),
            flags: flags!(NOSCRIPT | LOADING | STALE | ALLOW_BUSY),
            acl: acl!(CONNECTION),
            syntax: "capability...",
            summary: "States what the client is able to do.",
            since: "8.0.0",
            group: Group::Connection,
            run: client_capa,
            ..Command::DEFAULT
        },
        Command {
            name: "getname",
            arity: Arity::Exactly(2),
            flags: flags!(NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            summary: "Name of this connection.",
            since: "2.6.9",
            group: Group::Connection,
            run: client_getname,
            ..Command::DEFAULT
        },
        Command {
            name: "getredir",
            arity: Arity::Exactly(2),
            flags: flags!(NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            summary: "Client that gets this connection's invalidation messages.",
            since: "6.0.0",
            group: Group::Connection,
            run: client_getredir,
            ..Command::DEFAULT
        },
        Command {
            name: "help",
            arity: Arity::Exactly(2),
            flags: flags!(LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            summary: "Lists the subcommands.",
            since: "5.0.0",
            group: Group::Connection,
            run: help,
            ..Command::DEFAULT
        },
        Command {
            name: "id",
            arity: Arity::Exactly(2),
            flags: flags!(NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            summary: "Number of this connection.",
            since: "5.0.0",
            group: Group::Connection,
            run: client_id,
            ..Command::DEFAULT
        },
        Command {
            name: "import-source",
            arity: Arity::Exactly(3),
            flags: flags!(NOSCRIPT | LOADING | STALE),
            acl: acl!(CONNECTION),
            syntax: "(enabled: ON | OFF)",
            summary: "Marks this connection as the source of an import.",
            since: "8.1.0",
            group: Group::Connection,
            run: client_import_source,
            ..Command::DEFAULT
        },
        Command {
            name: "info",
            arity: Arity::Exactly(2),
            flags: flags!(NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            summary: "Facts about this connection.",
            since: "6.2.0",
            group: Group::Connection,
            tips: &["nondeterministic_output"],
            run: client_info,
            ..Command::DEFAULT
        },
        Command {
            name: "kill",
            arity: Arity::AtLeast(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "(filter: old-format#ip:port!2.8.12 | (new-format: [ID client-id:int^2.8.12] | [TYPE client-type^2.8.12: 'normal' | 'master'^3.2.0 | 'slave' | 'replica'^5.0.0 | 'pubsub'] | [USER username] | [ADDR addr#ip:port] | [LADDR laddr#ip:port^6.2.0] | [SKIPME skipme: YES | NO])...)",
            summary: "Closes connections.",
            since: "2.4.0",
            group: Group::Connection,
            complexity: "O(N), N connections",
            history: &[
                ("2.8.12", "Connections are chosen by filters."),
                ("2.8.12", "`ID` filter."),
                ("3.2.0", "`TYPE` knows `master`."),
                ("5.0.0", "`TYPE` says `replica`; `slave` is still understood."),
                ("6.2.0", "`LADDR` filter."),
            ],
            run: client_kill,
            ..Command::DEFAULT
        },
        Command {
            name: "list",
            arity: Arity::AtLeast(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "[TYPE client-type^5.0.0: 'normal' | 'master' | 'replica' | 'pubsub'] [ID client-id:int^6.2.0]...",
            summary: "All connections, one a line.",
            since: "2.4.0",
            group: Group::Connection,
            complexity: "O(N), N connections",
            history: &[
                ("2.8.12", "Field `id`."),
                ("5.0.0", "`TYPE` filter."),
                ("6.0.0", "Field `user`."),
                ("6.2.0", "Fields `argv-mem`, `tot-mem`, `laddr`, `redir`; `ID` filter."),
                ("7.0.0", "Fields `resp`, `multi-mem`, `rbs`, `rbp`."),
                ("7.0.3", "Field `ssub`."),
            ],
            tips: &["nondeterministic_output"],
            run: client_list,
            ..Command::DEFAULT
        },
        Command {
            name: "no-evict",
            arity: Arity::Exactly(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "(enabled: ON | OFF)",
            summary: "Spares this connection when clients are closed to free memory.",
            since: "7.0.0",
            group: Group::Connection,
            run: client_no_evict,
            ..Command::DEFAULT
        },
        Command {
            name: "no-touch",
            arity: Arity::Exactly(3),
            flags: flags!(NOSCRIPT | LOADING | STALE),
            acl: acl!(CONNECTION),
            syntax: "(enabled: ON | OFF)",
            summary: "Commands of this connection do not count as use of a key.",
            since: "7.2.0",
            group: Group::Connection,
            run: client_no_touch,
            ..Command::DEFAULT
        },
        Command {
            name: "pause",
            arity: Arity::AtLeast(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "timeout:int [mode^6.2.0: WRITE | ALL]",
            summary: "Holds back commands for a while.",
            since: "3.0.0",
            group: Group::Connection,
            history: &[("6.2.0", "`mode` argument: `WRITE` holds back writes only.")],
            run: client_pause,
            ..Command::DEFAULT
        },
        Command {
            name: "reply",
            arity: Arity::Exactly(3),
            flags: flags!(NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "(action: ON | OFF | SKIP)",
            summary: "Turns replies on or off.",
            since: "3.2.0",
            group: Group::Connection,
            run: client_reply,
            ..Command::DEFAULT
        },
        Command {
            name: "setinfo",
            arity: Arity::Exactly(4),
            flags: flags!(NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "(attr: 'lib-name' libname | 'lib-ver' libver)",
            summary: "Tells the server which client library this is.",
            since: "7.2.0",
            group: Group::Connection,
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            run: client_setinfo,
            ..Command::DEFAULT
        },
        Command {
            name: "setname",
            arity: Arity::Exactly(3),
            flags: flags!(NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "connection-name",
            summary: "Names this connection.",
            since: "2.6.9",
            group: Group::Connection,
            tips: &["request_policy:all_nodes", "response_policy:all_succeeded"],
            run: client_setname,
            ..Command::DEFAULT
        },
        Command {
            name: "tracking",
            arity: Arity::AtLeast(3),
            flags: flags!(NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "(status: ON | OFF) [REDIRECT client-id:int] [PREFIX prefix]...+ [BCAST] [OPTIN] [OPTOUT] [NOLOOP]",
            summary: "Switches invalidation messages for client-side caches.",
            since: "6.0.0",
            group: Group::Connection,
            complexity: "O(1), more with some options",
            run: client_tracking,
            ..Command::DEFAULT
        },
        Command {
            name: "trackinginfo",
            arity: Arity::Exactly(2),
            flags: flags!(NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            summary: "How tracking is set for this connection.",
            since: "6.2.0",
            group: Group::Connection,
            run: client_trackinginfo,
            ..Command::DEFAULT
        },
        Command {
            name: "unblock",
            arity: Arity::AtLeast(3),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            syntax: "client-id:int [unblock-type: TIMEOUT | ERROR]",
            summary: "Ends the wait of a blocked client.",
            since: "5.0.0",
            group: Group::Connection,
            complexity: "O(log N), N connections",
            run: client_unblock,
            ..Command::DEFAULT
        },
        Command {
            name: "unpause",
            arity: Arity::Exactly(2),
            flags: flags!(ADMIN | NOSCRIPT | LOADING | STALE | SENTINEL),
            acl: acl!(CONNECTION),
            summary: "Lets held commands go on.",
            since: "6.2.0",
            group: Group::Connection,
            complexity: "O(N), N clients held",
            run: client_unpause,
            ..Command::DEFAULT
        },
    ],
    ..Command::DEFAULT
}];

/// CLIENT ID
pub fn client_id(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.reply.int(i64::try_from(ctx.session.id()).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

/// CLIENT GETNAME
pub fn client_getname(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let name = ctx.session.handle.labels().name;
    if name.is_empty() {
        ctx.reply.null()
    } else {
        ctx.reply.bulk(&name)
    }
    Ok(Outcome::Done)
}

/// CLIENT SETNAME
pub fn client_setname(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let name = check_name(ctx.args.next()?)?;
    ctx.session.handle.with_labels(|l| l.name = name.to_vec());
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// CLIENT SETINFO
pub fn client_setinfo(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let option = ctx.args.next()?;
    let value = ctx.args.next()?;
    let is = |word: &str| option.eq_ignore_ascii_case(word.as_bytes());
    let (lib_name, lib_ver) = (is("lib-name"), is("lib-ver"));
    if !lib_name && !lib_ver {
        return Err(Error::quoting("ERR Unrecognized option '", option, "'"));
    }
    if check_name(value).is_err() {
        let what = if lib_name { "lib-name" } else { "lib-ver" };
        return Err(Error::text(format!(
            "ERR {what} cannot contain spaces, newlines or special characters."
        )));
    }
    ctx.session.handle.with_labels(|l| {
        let field = if lib_name { &mut l.lib_name } else { &mut l.lib_ver };
        *field = value.to_vec();
    });
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// CLIENT CAPA: unknown capabilities are ignored, as the command promises.
pub fn client_capa(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let redirect = ctx.args.rest().any(|c| c.eq_ignore_ascii_case(b"redirect"));
    ctx.session.capa_redirect |= redirect;
    ctx.reply.ok();
    Ok(Outcome::Done)
}

/// CLIENT INFO
pub fn client_info(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let mut text = describe(&ctx.session.handle, clock::mono_ms());
    text.push('\n');
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

/// CLIENT LIST
pub fn client_list(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let mut filter = Filter::default();
    if ctx.args.token("TYPE") {
        filter.role = Some(role(ctx.args.next()?)?);
    } else if ctx.args.token("ID") {
        if ctx.args.left() == 0 {
            return Err(Error::Syntax);
        }
        for id in ctx.args.rest() {
            // Any number may be asked for; nobody is number 0.
            let id = number::parse_i64(id).ok_or(Error::Line("ERR Invalid client ID"))?;
            filter.ids.push(ClientId::try_from(id).unwrap_or(0));
        }
        ctx.args.seek(ctx.args.count());
    }
    ctx.args.end()?;
    let now = clock::mono_ms();
    let mut text = String::new();
    for client in ctx.shared.clients.list() {
        // Those that were killed are gone for everybody but their worker.
        let gone = client.state().contains(State::KILLED);
        if !gone && filter.accepts(&client, ctx.session.id()) {
            text.push_str(&describe(&client, now));
            text.push('\n');
        }
    }
    ctx.reply.verbatim("txt", text.as_bytes());
    Ok(Outcome::Done)
}

/// One line of CLIENT LIST.
pub fn describe(client: &Arc<ClientHandle>, now_ms: u64) -> String {
    let f = &client.figures;
    let labels = client.labels();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    let command = match f.cmd.load(Relaxed) {
        u16::MAX => "NULL".into(),
        id => table::full_name(id),
    };
    let mut line = String::with_capacity(320);
    let _ = write!(
        line,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={}",
        client.id,
        client.addr,
        client.laddr,
        client.fd,
        text(&labels.name),
        now_ms.saturating_sub(client.created_ms) / 1000,
        now_ms.saturating_sub(f.last_ms.load(Relaxed)) / 1000,
        flags(client),
        f.db.load(Relaxed),
        f.sub.load(Relaxed),
        f.psub.load(Relaxed),
        f.ssub.load(Relaxed),
        f.multi.load(Relaxed),
    );
    let out = f.out.load(Relaxed) + client.mail_bytes();
    let redir = match client.state().contains(State::TRACKING) {
        true => i64::try_from(f.redir.load(Relaxed)).unwrap_or(i64::MAX),
        false => -1,
    };
    let _ = write!(
        line,
        " qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs=0 rbp=0 obl=0 oll={} omem={} tot-mem={} events={}",
        f.qbuf.load(Relaxed),
        f.qbuf_free.load(Relaxed),
        f.argv_mem.load(Relaxed),
        f.multi_mem.load(Relaxed),
        u8::from(out > 0),
        out,
        client.memory(),
        if out > 0 { "rw" } else { "r" },
    );
    let _ = write!(
        line,
        " cmd={command} user={} redir={} resp={} lib-name={} lib-ver={} watch={} tot-net-in={} tot-net-out={} tot-cmds={}",
        text(&labels.user),
        redir,
        f.resp.load(Relaxed),
        text(&labels.lib_name),
        text(&labels.lib_ver),
        f.watch.load(Relaxed),
        f.total_in.load(Relaxed),
        f.total_out.load(Relaxed),
        f.total_cmds.load(Relaxed),
    );
    line
}

fn flags(client: &ClientHandle) -> String {
    let state = client.state();
    let letters = [
        (State::MONITOR, 'O'),
        (State::PUBSUB, 'P'),
        (State::MULTI, 'x'),
        (State::BLOCKED, 'b'),
        (State::TRACKING, 't'),
        (State::TRACKING_BROKEN, 'R'),
        (State::TRACKING_BCAST, 'B'),
        (State::DIRTY_CAS, 'd'),
        (State::CLOSE_AFTER_REPLY, 'c'),
        (State::KILLED, 'A'),
        (State::UNIX, 'U'),
        (State::NO_EVICT, 'e'),
        (State::NO_TOUCH, 'T'),
    ];
    let text: String = letters.iter().filter(|(s, _)| state.contains(*s)).map(|(_, c)| *c).collect();
    if text.is_empty() { "N".to_owned() } else { text }
}
