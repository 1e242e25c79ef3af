//! GEOSEARCH and the older GEORADIUS commands: one query, told in different words.

use crate::commands::command::Outcome;
use crate::commands::ctx::Ctx;
use crate::commands::geo::{place, put_distance, put_place, unit};
use crate::commands::number;
use crate::commands::sorted_set::algebra::sorted_set;
use crate::commands::sorted_set::bounds;
use crate::effects::Class;
use crate::error::Error;
use crate::protocol::Reply;
use crate::values::SortedSet;
use crate::values::geo::{Place, Shape};
use crate::values::sorted_set::{Score, ScoreRange};

/// What a command's name says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    /// GEORADIUS: centre and radius come first.
    Radius,
    /// GEORADIUSBYMEMBER: the centre is a member.
    RadiusByMember,
    /// GEOSEARCH: both are options.
    Search,
    /// GEOSEARCHSTORE: the same behind a destination.
    SearchStore,
}

impl Words {
    fn is_search(self) -> bool {
        matches!(self, Words::Search | Words::SearchStore)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    None,
    Ascending,
    Descending,
}

/// What each place is answered with.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct With {
    distance: bool,
    hash: bool,
    coordinates: bool,
}

struct Query {
    centre: Option<Place>,
    shape: Option<Shape>,
    /// Metres of the unit in which the shape was given, and distances are answered.
    metres: f64,
    with: With,
    order: Order,
    /// 0: all.
    count: usize,
    /// The first that are found will do.
    any: bool,
    /// Index of the key to store to.
    store: Option<usize>,
    store_distance: bool,
}

/// A place that was found.
struct Found {
    member: Vec<u8>,
    score: f64,
    place: Place,
    distance_m: f64,
}

/// GEORADIUS, GEORADIUS_RO
pub fn georadius(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    search(ctx, Words::Radius, 0)
}

/// GEORADIUSBYMEMBER, GEORADIUSBYMEMBER_RO
pub fn georadiusbymember(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    search(ctx, Words::RadiusByMember, 0)
}

/// GEOSEARCH
pub fn geosearch(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    search(ctx, Words::Search, 0)
}

/// GEOSEARCHSTORE: key 0 is the destination, key 1 the source.
pub fn geosearchstore(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    search(ctx, Words::SearchStore, 1)
}

fn search(ctx: &mut Ctx<'_, '_>, words: Words, source: usize) -> Result<Outcome, Error> {
    let there = ctx.keys.read(source, |set: Option<&SortedSet>| set.is_some())?;
    let query = Query::parse(ctx, words, there.then_some(source))?;
    let mut found = match (query.centre, query.shape) {
        (Some(centre), Some(shape)) if there => find(ctx, source, centre, shape, &query)?,
        _ => Vec::new(),
    };
    match query.order {
        Order::None => {}
        Order::Ascending => found.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m)),
        Order::Descending => found.sort_by(|a, b| b.distance_m.total_cmp(&a.distance_m)),
    }
    if query.count > 0 {
        found.truncate(query.count);
    }
    match query.store {
        Some(key) => store(ctx, key, words, &query, found)?,
        None => reply(&mut ctx.reply, &query, &found),
    }
    Ok(Outcome::Done)
}

fn find(
    ctx: &mut Ctx<'_, '_>,
    source: usize,
    centre: Place,
    shape: Shape,
    query: &Query,
) -> Result<Vec<Found>, Error> {
    let enough = if query.any { query.count } else { usize::MAX };
    ctx.keys.read(source, |set: Option<&SortedSet>| {
        let mut found = Vec::new();
        let Some(set) = set else { return found };
        for scores in shape.ranges(centre) {
            let (Some(min), Some(max)) = (Score::new(scores.start), Score::new(scores.end)) else { continue };
            let range = ScoreRange { min, min_exclusive: false, max, max_exclusive: true };
            let ranks = set.ranks_by_score(&range);
            for (member, score) in set.iter_from(ranks.start).take(ranks.len()) {
                if found.len() >= enough {
                    return found;
                }
                let (score, place) = (score.get(), Place::of_score(score.get()));
                if let Some(distance_m) = shape.distance(centre, place) {
                    found.push(Found { member: member.to_vec(), score, place, distance_m });
                }
            }
        }
        found
    })
}

fn reply(reply: &mut Reply<'_>, query: &Query, found: &[Found]) {
    let With { distance, hash, coordinates } = query.with;
    let extras = usize::from(distance) + usize::from(hash) + usize::from(coordinates);
    reply.array(found.len());
    for one in found {
        if extras > 0 {
            reply.array(1 + extras);
        }
        reply.bulk(&one.member);
        if distance {
            put_distance(reply, one.distance_m / query.metres);
        }
        if hash {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::as_conversions,
                reason = "scores in a range of 52 bits"
            )]
            reply.int(one.score as i64);
        }
        if coordinates {
            put_place(reply, one.place);
        }
    }
}

fn store(
    ctx: &mut Ctx<'_, '_>,
    key: usize,
    words: Words,
    query: &Query,
    found: Vec<Found>,
) -> Result<(), Error> {
    let score = |one: &Found| if query.store_distance { one.distance_m / query.metres } else { one.score };
    let mut members: Vec<_> =
        found.into_iter().map(|one| (score(&one), one.member)).map(|(s, m)| (m, s)).collect();
    members.sort_unstable_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
    let set = sorted_set(&members, &bounds::limits(ctx.config));
    let event = if words == Words::SearchStore { "geosearchstore" } else { "georadiusstore" };
    ctx.store(key, set, Class::ZSET, event)?;
    ctx.reply.int(i64::try_from(members.len()).unwrap_or(i64::MAX));
    Ok(())
}

/// The place of the member that is the next argument.
fn member_place(ctx: &mut Ctx<'_, '_>, source: usize) -> Result<Place, Error> {
    let member = ctx.args.next()?;
    let score = ctx.keys.read(source, |set: Option<&SortedSet>| set?.score(member))?;
    let score = score.ok_or(Error::Line("ERR could not decode requested zset member"))?;
    Ok(Place::of_score(score.get()))
}

/// A length and then, as the last argument, its unit.
fn length(ctx: &mut Ctx<'_, '_>, not_a_number: &'static str) -> Result<f64, Error> {
    number::parse_f64(ctx.args.next()?).ok_or(Error::Line(not_a_number))
}

impl Query {
    /// Reads the arguments; `source` is the key to search in, if it is there.
    fn parse(ctx: &mut Ctx<'_, '_>, words: Words, source: Option<usize>) -> Result<Query, Error> {
        let mut query = Query {
            centre: None,
            shape: None,
            metres: 1.0,
            with: With::default(),
            order: Order::None,
            count: 0,
            any: false,
            store: (words == Words::SearchStore).then_some(0),
            store_distance: false,
        };
        ctx.args.seek(2);
        match (words, source) {
            (Words::Radius, _) => {
                query.centre = Some(place(ctx)?);
                query.circle(ctx)?;
            }
            (Words::RadiusByMember, Some(source)) => {
                query.centre = Some(member_place(ctx, source)?);
                query.circle(ctx)?;
            }
            // Nothing to search in: only the options decide about the reply.
            (Words::RadiusByMember, None) => ctx.args.seek(5),
            (Words::Search, _) => {}
            (Words::SearchStore, _) => ctx.args.seek(3),
        }
        let (mut centred, mut shaped) = (None, None);
        while ctx.args.left() > 0 {
            let known = query.option(ctx, words)?
                || words.is_search() && query.search_option(ctx, words, source, &mut centred, &mut shaped)?;
            if !known {
                return Err(Error::Syntax);
            }
        }
        query.check(ctx, words, centred.is_some(), shaped.is_some())?;
        Ok(query)
    }

    /// An option that all the commands have, and the store options of the older ones.
    fn option(&mut self, ctx: &mut Ctx<'_, '_>, words: Words) -> Result<bool, Error> {
        let more = ctx.args.left() > 1;
        let read_only = ctx.command.name.ends_with("_ro");
        if ctx.args.token("WITHDIST") {
            self.with.distance = true;
        } else if ctx.args.token("WITHHASH") {
            self.with.hash = true;
        } else if ctx.args.token("WITHCOORD") {
            self.with.coordinates = true;
        } else if ctx.args.token("ANY") {
            self.any = true;
        } else if ctx.args.token("ASC") {
            self.order = Order::Ascending;
        } else if ctx.args.token("DESC") {
            self.order = Order::Descending;
        } else if more && ctx.args.token("COUNT") {
            let count = ctx.args.int()?;
            if count <= 0 {
                return Err(Error::Line("ERR COUNT must be > 0"));
            }
            self.count = usize::try_from(count).unwrap_or(usize::MAX);
        } else if more && !words.is_search() && !read_only && ctx.args.token("STORE") {
            self.destination(ctx, false)?;
        } else if more && !words.is_search() && !read_only && ctx.args.token("STOREDIST") {
            self.destination(ctx, true)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// The key to store to is the second one that the declaration found: the last one given.
    fn destination(&mut self, ctx: &mut Ctx<'_, '_>, distance: bool) -> Result<(), Error> {
        ctx.args.next()?;
        if ctx.keys.len() < 2 {
            return Err(Error::Syntax);
        }
        self.store = Some(1);
        self.store_distance = distance;
        Ok(())
    }

    /// An option that says where and what to search. The first one of each kind counts.
    fn search_option(
        &mut self,
        ctx: &mut Ctx<'_, '_>,
        words: Words,
        source: Option<usize>,
        centred: &mut Option<&'static str>,
        shaped: &mut Option<&'static str>,
    ) -> Result<bool, Error> {
        let left = ctx.args.left();
        let free = |taken: &Option<&'static str>, by| taken.is_none_or(|one| one == by);
        if left > 1 && free(centred, "member") && ctx.args.token("FROMMEMBER") {
            *centred = Some("member");
            match source {
                Some(source) => self.centre = Some(member_place(ctx, source)?),
                None => drop(ctx.args.next()?),
            }
        } else if left > 2 && free(centred, "place") && ctx.args.token("FROMLONLAT") {
            *centred = Some("place");
            self.centre = Some(place(ctx)?);
        } else if left > 2 && free(shaped, "circle") && ctx.args.token("BYRADIUS") {
            *shaped = Some("circle");
            self.circle(ctx)?;
        } else if left > 3 && free(shaped, "box") && ctx.args.token("BYBOX") {
            *shaped = Some("box");
            self.rectangle(ctx)?;
        } else if words == Words::SearchStore && ctx.args.token("STOREDIST") {
            self.store_distance = true;
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// `radius unit`
    fn circle(&mut self, ctx: &mut Ctx<'_, '_>) -> Result<(), Error> {
        let radius = length(ctx, "ERR need numeric radius")?;
        if radius < 0.0 {
            return Err(Error::Line("ERR radius cannot be negative"));
        }
        self.metres = unit(ctx.args.next()?)?;
        self.shape = Some(Shape::Circle(radius * self.metres));
        Ok(())
    }

    /// `width height unit`
    fn rectangle(&mut self, ctx: &mut Ctx<'_, '_>) -> Result<(), Error> {
        let width = length(ctx, "ERR need numeric width")?;
        let height = length(ctx, "ERR need numeric height")?;
        if width < 0.0 || height < 0.0 {
            return Err(Error::Line("ERR height or width cannot be negative"));
        }
        self.metres = unit(ctx.args.next()?)?;
        self.shape = Some(Shape::Box(width * self.metres, height * self.metres));
        Ok(())
    }

    fn check(&mut self, ctx: &Ctx<'_, '_>, words: Words, centred: bool, shaped: bool) -> Result<(), Error> {
        if self.store.is_some() && self.with != With::default() {
            let who =
                if words == Words::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(Error::text(format!(
                "ERR {who} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let missing = |what| {
            let before = format!("ERR exactly one of {what} can be specified for ");
            Err(Error::quoting(&before, ctx.args.at(0), ""))
        };
        if words.is_search() && !centred {
            return missing("FROMMEMBER or FROMLONLAT");
        }
        if words.is_search() && !shaped {
            return missing("BYRADIUS and BYBOX");
        }
        if self.any && self.count == 0 {
            return Err(Error::Line("ERR the ANY argument requires COUNT argument"));
        }
        if self.count > 0 && self.order == Order::None && !self.any {
            self.order = Order::Ascending;
        }
        Ok(())
    }
}
