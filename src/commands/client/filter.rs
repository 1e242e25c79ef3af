//! Choosing clients: the conditions of CLIENT LIST and CLIENT KILL, and the latter.

use crate::clients::{ClientHandle, ClientId, Role};
use crate::clock;
use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::number;
use crate::error::Error;

/// Which clients CLIENT LIST shows and CLIENT KILL closes: those that meet every condition.
#[derive(Default)]
pub(super) struct Filter {
    pub(super) ids: Vec<ClientId>,
    pub(super) role: Option<Role>,
    addr: Option<Box<[u8]>>,
    laddr: Option<Box<[u8]>>,
    user: Option<Box<[u8]>>,
    max_age_s: Option<u64>,
    skip_me: bool,
}

impl Filter {
    pub(super) fn accepts(&self, client: &ClientHandle, me: ClientId) -> bool {
        (self.ids.is_empty() || self.ids.contains(&client.id))
            && self.role.is_none_or(|r| client.role() == r)
            && self.addr.as_deref().is_none_or(|a| client.addr.as_bytes() == a)
            && self.laddr.as_deref().is_none_or(|a| client.laddr.as_bytes() == a)
            && self.user.as_deref().is_none_or(|u| client.labels().user == u)
            && self.max_age_s.is_none_or(|s| (clock::mono_ms() - client.created_ms) / 1000 >= s)
            && !(self.skip_me && client.id == me)
    }
}

/// CLIENT KILL
pub fn client_kill(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    let old_form = ctx.args.left() == 1;
    let filter = if old_form {
        Filter { addr: Some(ctx.args.next()?.into()), ..Filter::default() }
    } else {
        kill_filter(ctx)?
    };
    let me = ctx.session.id();
    let mut killed = 0;
    let mut myself = false;
    for client in ctx.shared.clients.list() {
        if !filter.accepts(&client, me) {
            continue;
        }
        killed += 1;
        if client.id == me {
            // The reply still goes out.
            myself = true;
        } else {
            client.kill();
        }
    }
    match (old_form, killed) {
        (true, 0) => return Err(Error::Line("ERR No such client")),
        (true, _) => ctx.reply.ok(),
        (false, n) => ctx.reply.int(n),
    }
    Ok(if myself { Outcome::Close } else { Outcome::Done })
}

fn kill_filter(ctx: &mut Ctx<'_, '_>) -> Result<Filter, Error> {
    let mut filter = Filter { skip_me: true, ..Filter::default() };
    while ctx.args.left() > 0 {
        if ctx.args.left() < 2 {
            return Err(Error::Syntax);
        }
        if ctx.args.token("ID") {
            let id = ctx.args.next()?;
            let id = client_number(id).ok_or(Error::Line("ERR client-id should be greater than 0"))?;
            filter.ids.push(id);
        } else if ctx.args.token("TYPE") {
            filter.role = Some(role(ctx.args.next()?)?);
        } else if ctx.args.token("ADDR") {
            filter.addr = Some(ctx.args.next()?.into());
        } else if ctx.args.token("LADDR") {
            filter.laddr = Some(ctx.args.next()?.into());
        } else if ctx.args.token("USER") {
            let user = ctx.args.next()?;
            if user != b"default" {
                return Err(Error::quoting("ERR No such user '", user, "'"));
            }
            filter.user = Some(user.into());
        } else if ctx.args.token("MAXAGE") {
            let age =
                ctx.args.int().map_err(|_| Error::Line("ERR maxage is not an integer or out of range"))?;
            filter.max_age_s = Some(
                u64::try_from(age)
                    .ok()
                    .filter(|a| *a > 0)
                    .ok_or(Error::Line("ERR maxage should be greater than 0"))?,
            );
        } else if ctx.args.token("SKIPME") {
            let yes = ctx.args.token("YES");
            if !yes && !ctx.args.token("NO") {
                return Err(Error::Syntax);
            }
            filter.skip_me = yes;
        } else {
            return Err(Error::Syntax);
        }
    }
    Ok(filter)
}

/// The number of a client, as an argument.
fn client_number(arg: &[u8]) -> Option<ClientId> {
    number::parse_i64(arg).and_then(|id| ClientId::try_from(id).ok()).filter(|id| *id > 0)
}

/// The class of a client, as an argument.
pub(super) fn role(name: &[u8]) -> Result<Role, Error> {
    Ok(match name.to_ascii_lowercase().as_slice() {
        b"normal" => Role::Normal,
        b"pubsub" => Role::PubSub,
        b"slave" | b"replica" => Role::Replica,
        b"master" => Role::Master,
        _ => return Err(Error::quoting("ERR Unknown client type '", name, "'")),
    })
}
