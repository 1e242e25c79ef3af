//! Geo indexes: sorted sets whose scores are places (see [`crate::values::geo`]).

pub mod search;

use crate::commands::command::{Access, Arity, Command, Group, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::keyspec;
use crate::commands::row::{acl, flags, key_flags};
use crate::commands::sorted_set::write::{AddOptions, Pairs, add};
use crate::error::Error;
use crate::protocol::Reply;
use crate::values::SortedSet;
use crate::values::geo::Place;

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "geoadd",
        arity: Arity::AtLeast(5),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(GEO),
        keys: &[KeySpec::key(1, key_flags!(RW | UPDATE))],
        access: Access::Keys,
        syntax: "key [condition^6.2.0: NX | XX] [CH=change^6.2.0] (data: longitude:double latitude:double member)...",
        summary: "Puts places with their coordinates into a geo index.",
        since: "3.2.0",
        group: Group::Geo,
        complexity: "O(log(N)) for each place, N in the index",
        history: &[("6.2.0", "Options `CH`, `NX`, `XX`.")],
        run: geoadd,
        ..Command::DEFAULT
    },
    Command {
        name: "geodist",
        arity: Arity::AtLeast(4),
        flags: flags!(READONLY),
        acl: acl!(GEO),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key member1 member2 [unit: 'm' | 'km' | 'ft' | 'mi']",
        summary: "Distance between two places.",
        since: "3.2.0",
        group: Group::Geo,
        run: geodist,
        ..Command::DEFAULT
    },
    Command {
        name: "geohash",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY),
        acl: acl!(GEO),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key [member]...",
        summary: "Geohash text of places.",
        since: "3.2.0",
        group: Group::Geo,
        complexity: "O(1) for each place",
        run: geohash,
        ..Command::DEFAULT
    },
    Command {
        name: "geopos",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY),
        acl: acl!(GEO),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key [member]...",
        summary: "Coordinates of places.",
        since: "3.2.0",
        group: Group::Geo,
        complexity: "O(1) for each place",
        run: geopos,
        ..Command::DEFAULT
    },
    Command {
        name: "georadius",
        arity: Arity::AtLeast(6),
        flags: flags!(WRITE | DENYOOM | MOVABLEKEYS),
        acl: acl!(GEO),
        keys: &[
            KeySpec::key(1, key_flags!(RO | ACCESS)),
            KeySpec::after("STORE", 6, 0, 1, 0, key_flags!(OW | UPDATE)),
            KeySpec::after("STOREDIST", 6, 0, 1, 0, key_flags!(OW | UPDATE)),
        ],
        access: Access::Keys,
        syntax: "key longitude:double latitude:double radius:double (unit: 'm' | 'km' | 'ft' | 'mi') [WITHCOORD] [WITHDIST] [WITHHASH] [count-block: COUNT count:int [ANY^6.2.0]] [order: ASC | DESC] [store: STORE storekey@1#key | STOREDIST storedistkey@2#key]",
        summary: "Places within a distance of a point; can store them.",
        since: "3.2.0",
        group: Group::Geo,
        complexity: "O(N+log(M)), N places in the enclosing box, M in the index",
        history: &[("6.2.0", "`COUNT` takes `ANY`."), ("7.0.0", "Units may be in upper case.")],
        deprecated: Some(("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE`, option `BYRADIUS`")),
        find: Some(keyspec::of_georadius),
        run: search::georadius,
        ..Command::DEFAULT
    },
    Command {
        name: "georadius_ro",
        arity: Arity::AtLeast(6),
        flags: flags!(READONLY),
        acl: acl!(GEO),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key longitude:double latitude:double radius:double (unit: 'm' | 'km' | 'ft' | 'mi') [WITHCOORD] [WITHDIST] [WITHHASH] [count-block: COUNT count:int [ANY^6.2.0]] [order: ASC | DESC]",
        summary: "Places within a distance of a point.",
        since: "3.2.10",
        group: Group::Geo,
        complexity: "O(N+log(M)), N places in the enclosing box, M in the index",
        history: &[("6.2.0", "`COUNT` takes `ANY`.")],
        deprecated: Some(("6.2.0", "`GEOSEARCH`, option `BYRADIUS`")),
        run: search::georadius,
        ..Command::DEFAULT
    },
    Command {
        name: "georadiusbymember",
        arity: Arity::AtLeast(5),
        flags: flags!(WRITE | DENYOOM | MOVABLEKEYS),
        acl: acl!(GEO),
        keys: &[
            KeySpec::key(1, key_flags!(RO | ACCESS)),
            KeySpec::after("STORE", 5, 0, 1, 0, key_flags!(OW | UPDATE)),
            KeySpec::after("STOREDIST", 5, 0, 1, 0, key_flags!(OW | UPDATE)),
        ],
        access: Access::Keys,
        syntax: "key member radius:double (unit: 'm' | 'km' | 'ft' | 'mi') [WITHCOORD] [WITHDIST] [WITHHASH] [count-block: COUNT count:int [ANY]] [order: ASC | DESC] [store: STORE storekey@1#key | STOREDIST storedistkey@2#key]",
        summary: "Places within a distance of a place; can store them.",
        since: "3.2.0",
        group: Group::Geo,
        complexity: "O(N+log(M)), N places in the enclosing box, M in the index",
        history: &[("7.0.0", "Units may be in upper case.")],
        deprecated: Some(("6.2.0", "`GEOSEARCH` and `GEOSEARCHSTORE`, options `BYRADIUS` and `FROMMEMBER`")),
        find: Some(keyspec::of_georadiusbymember),
        run: search::georadiusbymember,
        ..Command::DEFAULT
    },
    Command {
        name: "georadiusbymember_ro",
        arity: Arity::AtLeast(5),
        flags: flags!(READONLY),
        acl: acl!(GEO),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key member radius:double (unit: 'm' | 'km' | 'ft' | 'mi') [WITHCOORD] [WITHDIST] [WITHHASH] [count-block: COUNT count:int [ANY]] [order: ASC | DESC]",
        summary: "Places within a distance of a place.",
        since: "3.2.10",
        group: Group::Geo,
        complexity: "O(N+log(M)), N places in the enclosing box, M in the index",
        deprecated: Some(("6.2.0", "`GEOSEARCH`, options `BYRADIUS` and `FROMMEMBER`")),
        run: search::georadiusbymember,
        ..Command::DEFAULT
    },
    Command {
        name: "geosearch",
        arity: Arity::AtLeast(7),
        flags: flags!(READONLY),
        acl: acl!(GEO),
        keys: &[KeySpec::key(1, key_flags!(RO | ACCESS))],
        access: Access::Read,
        syntax: "key (from: FROMMEMBER member | (FROMLONLAT fromlonlat: longitude:double latitude:double)) (by: (circle: BYRADIUS radius:double (unit: 'm' | 'km' | 'ft' | 'mi')) | (box: BYBOX width:double height:double (unit: 'm' | 'km' | 'ft' | 'mi'))) [order: ASC | DESC] [count-block: COUNT count:int [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
        summary: "Places inside a circle or a box.",
        since: "6.2.0",
        group: Group::Geo,
        complexity: "O(N+log(M)), N places in the grid cells around the shape, M inside it",
        history: &[("7.0.0", "Units may be in upper case.")],
        run: search::geosearch,
        ..Command::DEFAULT
    },
    Command {
        name: "geosearchstore",
        arity: Arity::AtLeast(8),
        flags: flags!(WRITE | DENYOOM),
        acl: acl!(GEO),
        keys: &[KeySpec::key(1, key_flags!(OW | UPDATE)), KeySpec::key(2, key_flags!(RO | ACCESS))],
        access: Access::Keys,
        syntax: "destination@0 source@1 (from: FROMMEMBER member | (FROMLONLAT fromlonlat: longitude:double latitude:double)) (by: (circle: BYRADIUS radius:double (unit: 'm' | 'km' | 'ft' | 'mi')) | (box: BYBOX width:double height:double (unit: 'm' | 'km' | 'ft' | 'mi'))) [order: ASC | DESC] [count-block: COUNT count:int [ANY]] [STOREDIST]",
        summary: "Stores the places inside a circle or a box.",
        since: "6.2.0",
        group: Group::Geo,
        complexity: "O(N+log(M)), N places in the grid cells around the shape, M inside it",
        history: &[("7.0.0", "Units may be in upper case.")],
        run: search::geosearchstore,
        ..Command::DEFAULT
    },
];

/// A unit of length, in metres.
fn unit(arg: &[u8]) -> Result<f64, Error> {
    for (name, metres) in [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)] {
        if arg.eq_ignore_ascii_case(name.as_bytes()) {
            return Ok(metres);
        }
    }
    Err(Error::Line("ERR unsupported unit provided. please use M, KM, FT, MI"))
}

/// The next two arguments as a place.
fn place(ctx: &mut Ctx<'_, '_>) -> Result<Place, Error> {
    let (longitude, latitude) = (ctx.args.float()?, ctx.args.float()?);
    Place::new(longitude, latitude).ok_or_else(|| {
        Error::text(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}"))
    })
}

/// GEOADD
pub fn geoadd(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let mut options = AddOptions::default();
    loop {
        if ctx.args.token("NX") {
            options.nx = true;
        } else if ctx.args.token("XX") {
            options.xx = true;
        } else if ctx.args.token("CH") {
            options.ch = true;
        } else {
            break;
        }
    }
    let left = ctx.args.left();
    if left == 0 || !left.is_multiple_of(3) || options.nx && options.xx {
        return Err(Error::Syntax);
    }
    let mut pairs = Pairs::new();
    while ctx.args.left() > 0 {
        pairs.push((place(ctx)?.score(), ctx.args.next()?));
    }
    add(ctx, options, &pairs)
}

/// GEODIST
pub fn geodist(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    ctx.args.seek(4);
    if ctx.args.left() > 1 {
        return Err(Error::Syntax);
    }
    let metres = if ctx.args.left() > 0 { unit(ctx.args.next()?)? } else { 1.0 };
    let (from, to) = (ctx.args.at(2), ctx.args.at(3));
    let distance = ctx.keys.read(0, |set: Option<&SortedSet>| {
        let find = |member| set?.score(member).map(|score| Place::of_score(score.get()));
        Some(find(from)?.distance(find(to)?) / metres)
    })?;
    match distance {
        Some(distance) => put_distance(&mut ctx.reply, distance),
        None => ctx.reply.null(),
    }
    Ok(Outcome::Done)
}

fn put_distance(reply: &mut Reply<'_>, distance: f64) {
    reply.bulk(format!("{distance:.4}").as_bytes());
}

/// A place as two numbers of 17 decimals, as Redis writes them in its "human" form.
fn put_place(reply: &mut Reply<'_>, place: Place) {
    reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        let text = text.trim_end_matches('0').trim_end_matches('.');
        let text = if text == "-0" { "0" } else { text };
        if reply.is_resp3() {
            reply.raw(format!(",{text}\r\n").as_bytes());
        } else {
            reply.bulk(text.as_bytes());
        }
    }
}

/// Answers each member's place in its own way.
fn places(ctx: &mut Ctx<'_, '_>, put: fn(&mut Reply<'_>, Option<Place>)) -> Result<Outcome, Error> {
    ctx.args.seek(2);
    let (members, reply) = (ctx.args.rest(), &mut ctx.reply);
    ctx.keys.read(0, |set: Option<&SortedSet>| {
        reply.array(members.len());
        for member in members {
            let score = set.and_then(|set| set.score(member));
            put(reply, score.map(|score| Place::of_score(score.get())));
        }
    })?;
    Ok(Outcome::Done)
}

/// GEOHASH
pub fn geohash(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    places(ctx, |reply, place| match place {
        Some(place) => reply.bulk(&place.text()),
        None => reply.null(),
    })
}

/// GEOPOS
pub fn geopos(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    places(ctx, |reply, place| match place {
        Some(place) => put_place(reply, place),
        None => reply.null_array(),
    })
}
