//! `SORT` and `SORT_RO`.

use std::cmp::Ordering;
use std::ops::Range;

use crate::commands::args::Args;
use crate::commands::command::{Access, Arity, Command, Group, KeySpec, Outcome};
use crate::commands::ctx::Ctx;
use crate::commands::row::{acl, flags, key_flags};
use crate::commands::{keyspec, list, number};
use crate::effects::Class;
use crate::error::Error;
use crate::values::list::End;
use crate::values::packed::Elem;
use crate::values::{Hash, Kind, List, Value};

/// The commands of this family.
pub static COMMANDS: &[Command] = &[
    Command {
        name: "sort",
        arity: Arity::AtLeast(2),
        flags: flags!(WRITE | DENYOOM | MOVABLEKEYS),
        acl: acl!(SET | SORTEDSET | LIST | DANGEROUS),
        keys: &[
            KeySpec::key(1, key_flags!(RO | ACCESS)),
            KeySpec::unknown(key_flags!(RO | ACCESS)).note("Keys of BY and GET are made from the elements."),
            KeySpec::unknown(key_flags!(OW | UPDATE)).note("STORE may stand at any place."),
        ],
        access: Access::Whole,
        access_of: Some(access),
        syntax: "key [BY by-pattern:pattern@1#pattern] [LIMIT limit: offset:int count:int] [GET get-pattern:pattern@1#pattern]...+ [order: ASC | DESC] [ALPHA=sorting] [STORE destination@2]",
        summary: "Sorts a list, set or sorted set; replies or stores.",
        since: "1.0.0",
        group: Group::Generic,
        complexity: "O(N+M*log(M)), N elements, M returned; O(N) unsorted",
        find: Some(keyspec::of_sort),
        run: sort,
        ..Command::DEFAULT
    },
    Command {
        name: "sort_ro",
        arity: Arity::AtLeast(2),
        flags: flags!(READONLY | MOVABLEKEYS),
        acl: acl!(SET | SORTEDSET | LIST | DANGEROUS),
        keys: &[
            KeySpec::key(1, key_flags!(RO | ACCESS)),
            KeySpec::unknown(key_flags!(RO | ACCESS)).note("Keys of BY and GET are made from the elements."),
        ],
        access: Access::Whole,
        access_of: Some(access),
        syntax: "key [BY by-pattern:pattern@1#pattern] [LIMIT limit: offset:int count:int] [GET get-pattern:pattern@1#pattern]...+ [order: ASC | DESC] [ALPHA=sorting]",
        summary: "Sorts a list, set or sorted set; replies only.",
        since: "7.0.0",
        group: Group::Generic,
        complexity: "O(N+M*log(M)), N elements, M returned; O(N) unsorted",
        run: sort_ro,
        ..Command::DEFAULT
    },
];

/// What is locked: the named keys, unless patterns make further keys out of elements.
fn access(args: &Args<'_>) -> Access {
    let mut i = 2;
    while i < args.count() {
        let word = args.at(i);
        let takes = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
        if takes("limit") {
            i += 2;
        } else if takes("store") {
            i += 1;
        } else if takes("by") || takes("get") {
            i += 1;
            if i < args.count() && args.at(i).contains(&b'*') {
                return Access::Whole;
            }
        }
        i += 1;
    }
    Access::Keys
}

/// A key made from an element, and perhaps a field of the hash there.
#[derive(Clone, Copy)]
enum Pattern<'k> {
    /// `#`: the element itself.
    Element,
    /// Nothing to put the element into: never anything.
    Nothing,
    /// Bytes before and behind the element; the field.
    Key(&'k [u8], &'k [u8], Option<&'k [u8]>),
}

impl<'k> Pattern<'k> {
    fn parse(text: &'k [u8]) -> Pattern<'k> {
        if text == b"#" {
            return Pattern::Element;
        }
        let Some(star) = memchr::memchr(b'*', text) else { return Pattern::Nothing };
        let (before, behind) = (&text[..star], &text[star + 1..]);
        match memchr::memmem::find(behind, b"->") {
            Some(arrow) if arrow + 2 < behind.len() => {
                Pattern::Key(before, &behind[..arrow], Some(&behind[arrow + 2..]))
            }
            _ => Pattern::Key(before, behind, None),
        }
    }

    /// What stands there for an element. Keys are reached behind the gate only.
    fn look_up(&self, ctx: &mut Ctx<'_, '_>, element: &[u8]) -> Option<Vec<u8>> {
        let Pattern::Key(before, behind, field) = *self else {
            return matches!(self, Pattern::Element).then(|| element.to_vec());
        };
        let key = [before, element, behind].concat();
        // It may be open already: the source or where to store.
        let before = ctx.keys.len();
        let i = ctx.open(ctx.db, &key);
        let found = match field {
            None => ctx.keys.string(i, |text| text.map(|t| t.to_vec())),
            Some(field) => {
                ctx.keys.read::<Hash, _>(i, |hash| hash.and_then(|h| h.get(field).map(|v| v.to_vec())))
            }
        };
        ctx.keys.close(before, false);
        found.ok().flatten()
    }
}

struct Sort<'k> {
    descending: bool,
    alpha: bool,
    offset: i64,
    count: i64,
    by: Option<Pattern<'k>>,
    /// BY without a place for the element: nothing is sorted.
    unsorted: bool,
    get: Vec<Pattern<'k>>,
    store: Option<&'k [u8]>,
}

impl<'k> Sort<'k> {
    fn parse(ctx: &Ctx<'_, 'k>, may_store: bool) -> Result<Sort<'k>, Error> {
        let mut sort = Sort {
            descending: false,
            alpha: false,
            offset: 0,
            count: -1,
            by: None,
            unsorted: false,
            get: Vec::new(),
            store: None,
        };
        let mut args = ctx.args;
        args.seek(2);
        while args.left() > 0 {
            if args.token("ASC") {
                sort.descending = false;
            } else if args.token("DESC") {
                sort.descending = true;
            } else if args.token("ALPHA") {
                sort.alpha = true;
            } else if args.left() >= 3 && args.token("LIMIT") {
                (sort.offset, sort.count) = (args.int()?, args.int()?);
            } else if may_store && args.left() >= 2 && args.token("STORE") {
                sort.store = Some(args.next()?);
            } else if args.left() >= 2 && args.token("BY") {
                sort.set_by(args.next()?, ctx.config.cluster_enabled)?;
            } else if args.left() >= 2 && args.token("GET") {
                if ctx.config.cluster_enabled {
                    return Err(Error::Line("ERR GET option of SORT denied in cluster mode."));
                }
                sort.get.push(Pattern::parse(args.next()?));
            } else {
                return Err(Error::Syntax);
            }
        }
        Ok(sort)
    }

    fn set_by(&mut self, text: &'k [u8], cluster: bool) -> Result<(), Error> {
        if !text.contains(&b'*') {
            self.unsorted = true;
            return Ok(());
        }
        if cluster {
            return Err(Error::Line("ERR BY option of SORT denied in cluster mode."));
        }
        self.by = Some(Pattern::parse(text));
        Ok(())
    }

    /// The positions of the answer in a result of `len` elements.
    fn window(&self, len: usize) -> Range<usize> {
        let size = |n: i64| usize::try_from(n.max(0)).unwrap_or(usize::MAX);
        let start = size(self.offset).min(len);
        let count = if self.count < 0 { len } else { size(self.count) };
        start..start.saturating_add(count).min(len)
    }
}

/// SORT
pub fn sort(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    run(ctx, true)
}

/// SORT_RO
pub fn sort_ro(ctx: &mut Ctx<'_, '_>) -> Result<Outcome, Error> {
    run(ctx, false)
}

fn run(ctx: &mut Ctx<'_, '_>, may_store: bool) -> Result<Outcome, Error> {
    let mut sort = Sort::parse(ctx, may_store)?;
    let (source, target) = places(ctx, &sort);
    let kind = ctx.keys.kind(source);
    if !matches!(kind, None | Some(Kind::List | Kind::Set | Kind::ZSet)) {
        return Err(Error::WrongType);
    }
    if sort.unsorted && kind == Some(Kind::Set) && sort.store.is_some() {
        // The order of a set is nobody's; what is stored should not depend on it.
        (sort.unsorted, sort.alpha, sort.by) = (false, true, None);
    }
    let elements = if sort.unsorted {
        in_order(ctx, source, &sort)?
    } else {
        let all = all_elements(ctx, source)?;
        sorted(ctx, all, &sort)?
    };
    match target {
        Some(target) => store(ctx, target, elements, &sort.get),
        None => {
            answer(ctx, &elements, &sort.get);
            Ok(Outcome::Done)
        }
    }
}

/// The key to sort and the one to store at, in the view of locked keys.
fn places(ctx: &mut Ctx<'_, '_>, sort: &Sort<'_>) -> (usize, Option<usize>) {
    if access(&ctx.args) != Access::Whole {
        return (0, sort.store.map(|_| 1));
    }
    let source = ctx.open(ctx.db, ctx.args.at(1));
    let target = sort.store.map(|key| ctx.open(ctx.db, key));
    (source, target)
}

fn collect<'e>(elems: impl Iterator<Item = Elem<'e>>, window: &Range<usize>) -> Vec<Vec<u8>> {
    elems.take(window.len()).map(|e| e.to_vec()).collect()
}

/// The elements as they stand, without sorting: a list and a sorted set both ways.
fn in_order(ctx: &mut Ctx<'_, '_>, i: usize, sort: &Sort<'_>) -> Result<Vec<Vec<u8>>, Error> {
    Ok(ctx.keys.value(i, |value| match value {
        Some(Value::List(list)) => {
            let w = sort.window(list.len());
            match sort.descending {
                false => collect(list.iter_from(w.start), &w),
                true if w.is_empty() => Vec::new(),
                true => collect(list.iter_rev_from(list.len() - 1 - w.start), &w),
            }
        }
        Some(Value::ZSet(zset)) => {
            let w = sort.window(zset.len());
            match sort.descending {
                false => collect(zset.iter_from(w.start).map(|m| m.0), &w),
                true if w.is_empty() => Vec::new(),
                true => collect(zset.iter_rev_from(zset.len() - 1 - w.start).map(|m| m.0), &w),
            }
        }
        Some(Value::Set(set)) => {
            let w = sort.window(set.len());
            collect(set.iter().skip(w.start), &w)
        }
        _ => Vec::new(),
    }))
}

fn all_elements(ctx: &mut Ctx<'_, '_>, i: usize) -> Result<Vec<Vec<u8>>, Error> {
    Ok(ctx.keys.value(i, |value| match value {
        Some(Value::List(list)) => list.iter().map(|e| e.to_vec()).collect(),
        Some(Value::ZSet(zset)) => zset.iter().map(|m| m.0.to_vec()).collect(),
        Some(Value::Set(set)) => set.iter().map(|e| e.to_vec()).collect(),
        _ => Vec::new(),
    }))
}

/// The number by which an element sorts, read as C's `strtod` does: blanks before it do not
/// count, nothing is 0, and a NUL ends it.
fn score(text: &[u8]) -> Option<f64> {
    let text = &text[..memchr::memchr(0, text).unwrap_or(text.len())];
    let blanks = text.iter().take_while(|b| matches!(b, b' ' | 9..=13)).count();
    match &text[blanks..] {
        [] if blanks == 0 => Some(0.0),
        digits => number::parse_f64(digits),
    }
}

/// The elements in order, cut to the window.
fn sorted(ctx: &mut Ctx<'_, '_>, all: Vec<Vec<u8>>, sort: &Sort<'_>) -> Result<Vec<Vec<u8>>, Error> {
    let window = sort.window(all.len());
    let turn = |order: Ordering| if sort.descending { order.reverse() } else { order };
    let mut elements: Vec<Vec<u8>>;
    if sort.alpha {
        let mut keyed: Vec<(Option<Vec<u8>>, Vec<u8>)> = all
            .into_iter()
            .map(|element| (sort.by.as_ref().and_then(|by| by.look_up(ctx, &element)), element))
            .collect();
        match sort.by {
            // Where nothing stands, the element comes first.
            Some(_) => keyed.sort_by(|a, b| turn(a.0.cmp(&b.0))),
            None => keyed.sort_by(|a, b| turn(a.1.cmp(&b.1))),
        }
        elements = keyed.into_iter().map(|k| k.1).collect();
    } else {
        let mut keyed = Vec::with_capacity(all.len());
        for element in all {
            let by = sort.by.as_ref().map(|by| by.look_up(ctx, &element));
            let score = match &by {
                None => score(&element),
                Some(None) => Some(0.0),
                Some(Some(text)) => score(text),
            };
            let wrong = Error::Line("ERR One or more scores can't be converted into double");
            keyed.push((score.ok_or(wrong)?, element));
        }
        // Equal numbers: by the element, so that the order is the same every time.
        keyed.sort_by(|a, b| {
            turn(a.0.partial_cmp(&b.0).unwrap_or(Ordering::Equal).then_with(|| a.1.cmp(&b.1)))
        });
        elements = keyed.into_iter().map(|k| k.1).collect();
    }
    elements.truncate(window.end);
    elements.drain(..window.start);
    Ok(elements)
}

fn answer(ctx: &mut Ctx<'_, '_>, elements: &[Vec<u8>], get: &[Pattern<'_>]) {
    if get.is_empty() {
        ctx.reply.array(elements.len());
        elements.iter().for_each(|e| ctx.reply.bulk(e));
        return;
    }
    ctx.reply.array(elements.len() * get.len());
    for element in elements {
        for pattern in get {
            let found = pattern.look_up(ctx, element);
            ctx.reply.bulk_or_null(found.as_deref());
        }
    }
}

fn store(
    ctx: &mut Ctx<'_, '_>,
    target: usize,
    elements: Vec<Vec<u8>>,
    get: &[Pattern<'_>],
) -> Result<Outcome, Error> {
    let outcome = if get.is_empty() {
        elements
    } else {
        let pairs = elements.iter().flat_map(|e| get.iter().map(move |p| (p, e)));
        // What is not there is stored as an empty element.
        pairs.map(|(pattern, element)| pattern.look_up(ctx, element).unwrap_or_default()).collect()
    };
    let mut list = List::new();
    list.push_all(End::Tail, outcome.iter().map(Vec::as_slice), &list::limits(ctx.config));
    ctx.store(target, list, Class::LIST, "sortstore")?;
    ctx.fx.silent((outcome.len() as u64).saturating_sub(1));
    ctx.reply.int(i64::try_from(outcome.len()).unwrap_or(i64::MAX));
    Ok(Outcome::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_taken_apart() {
        let key = |text: &'static [u8]| match Pattern::parse(text) {
            Pattern::Key(before, behind, field) => Some((before, behind, field)),
            _ => None,
        };
        assert_eq!(key(b"w_*"), Some((&b"w_"[..], &b""[..], None)));
        assert_eq!(key(b"w_*_x->f"), Some((&b"w_"[..], &b"_x"[..], Some(&b"f"[..]))));
        assert_eq!(key(b"w_*->"), Some((&b"w_"[..], &b"->"[..], None)));
        assert_eq!(key(b"a->b*"), Some((&b"a->b"[..], &b""[..], None)));
        assert!(matches!(Pattern::parse(b"#"), Pattern::Element));
        assert!(matches!(Pattern::parse(b"nosort"), Pattern::Nothing));
    }

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, want) in [
            (&b"1.5"[..], Some(1.5)),
            (b" \t-2", Some(-2.0)),
            (b"", Some(0.0)),
            (b"1\0x", Some(1.0)),
            (b"\0x", Some(0.0)),
            (b"inf", Some(f64::INFINITY)),
            (b"0x10", Some(16.0)),
            (b"nan", None),
            (b"1x", None),
            (b"1 ", None),
            (b" ", None),
            (b"1e999", None),
        ] {
            assert_eq!(score(text), want, "{:?}", String::from_utf8_lossy(text));
        }
    }

    #[test]
    fn windows_are_cut_to_the_result() {
        let window = |offset, count, len| {
            let get = Vec::new();
            let sort = Sort {
                descending: false,
                alpha: false,
                offset,
                count,
                by: None,
                unsorted: false,
                get,
                store: None,
            };
            sort.window(len)
        };
        assert_eq!(window(0, -1, 5), 0..5);
        assert_eq!(window(-10, 2, 5), 0..2);
        assert_eq!(window(2, i64::MAX, 5), 2..5);
        assert_eq!(window(9, 1, 5), 5..5);
        assert_eq!(window(i64::MAX, i64::MAX, 5), 5..5);
        assert_eq!(window(1, 0, 5), 1..1);
        assert_eq!(window(0, -1, 0), 0..0);
    }
}
