//! The command table: consistent in itself, and equal to what a redis-server says of the same commands.
//!
//! The table follows Redis 7.2 and knows some later commands; the redis-server of Debian is older. Every difference
//! that follows from that is listed here with its reason, and a listed difference that is none fails too.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Client, Options, Value};
use tandem::commands::FAMILIES;
use tandem::commands::command::{Access, Arity, Categories, Command, Flags, Group, KeyFlags};
use tandem::commands::syntax::{self, Arg, Kind};
use tandem::commands::{keyspec, table};

fn every() -> impl Iterator<Item = (String, &'static Command)> {
    (0..table::all().len()).map(|id| {
        let id = u16::try_from(id).expect("fits");
        (table::full_name(id).into_owned(), table::all()[usize::from(id)])
    })
}

fn leaves() -> impl Iterator<Item = (String, &'static Command)> {
    every().filter(|(_, command)| command.subcommands.is_empty())
}

#[test]
fn names_are_unique_and_sorted() {
    let mut seen = BTreeSet::new();
    for (name, _) in every() {
        assert!(seen.insert(name.clone()), "{name} is declared twice");
        assert_eq!(name, name.to_ascii_lowercase());
    }
    let sorted = |rows: &[Command]| rows.windows(2).all(|w| w[0].name < w[1].name);
    for family in FAMILIES {
        assert!(sorted(family), "the family of {}", family[0].name);
        for command in *family {
            assert!(sorted(command.subcommands), "{}", command.name);
        }
    }
}

#[test]
fn every_name_is_found_whatever_its_case_and_no_other_is() {
    for (id, (name, command)) in every().enumerate() {
        let mixed: String = name
            .chars()
            .enumerate()
            .map(|(i, c)| if i % 2 == 0 { c.to_ascii_uppercase() } else { c })
            .collect();
        for spelling in [name.clone(), name.to_ascii_uppercase(), mixed] {
            let words: Vec<&[u8]> = spelling.as_bytes().split(|b| *b == b'|').collect();
            let found = table::lookup_request(|i| words[i], words.len()).found().expect("found");
            assert_eq!(usize::from(found.id), id, "{spelling}");
            assert!(std::ptr::eq(found.command, command));
        }
        for wrong in [format!("{name}x"), format!(" {name}"), format!("{name}\0"), name[1..].to_owned()] {
            assert!(
                table::lookup(wrong.as_bytes()).is_none_or(|f| f.command.name == wrong),
                "{wrong} was taken for a command"
            );
        }
    }
    // OR 0x20 makes these equal to a name; the compare must not.
    for wrong in
        [&b"g\x45t\x00"[..], b"GE\x14", b"\x07et", b"LPOS\x08", b"HEXISTS\x00", b"BITFIELD\x1fRO", b""]
    {
        assert!(table::lookup(wrong).is_none());
    }
}

#[test]
fn a_row_is_complete_and_agrees_with_itself() {
    for (name, command) in every() {
        assert!(command.summary.ends_with('.') && command.summary.len() < 90, "{name}: summary");
        assert_eq!(command.since.split('.').count(), 3, "{name}: since");
        let (first, _) = name.split_once('|').unwrap_or((&name, ""));
        assert_eq!(
            command.group,
            table::lookup(first.as_bytes()).expect("found").command.group,
            "{name}: group"
        );
        assert!(!command.flags.contains(Flags::WRITE | Flags::READONLY), "{name}: writes and does not");
    }
    let mut differing = BTreeSet::new();
    for (name, command) in leaves() {
        let args = syntax::parse(command.syntax).unwrap_or_else(|fault| panic!("{name}: {fault}"));
        check_args(&name, command, &args);
        let words = name.split('|').count();
        let (least, exact) = arity_of(&args);
        let arity = if exact {
            Arity::Exactly(words_and(words, least))
        } else {
            Arity::AtLeast(words_and(words, least))
        };
        if arity != command.arity {
            differing.insert(name);
        }
    }
    assert_eq!(differing, ARITY_DIFFERS.iter().map(|(name, _)| (*name).to_owned()).collect());
}

/// Where the documented arguments and the arity that is checked first differ, as they do in Redis.
const ARITY_DIFFERS: &[(&str, &str)] = &[
    ("client|kill", "each of the filters is optional, but there must be one"),
    ("debug", "its subcommands are no table"),
    ("psync", "takes more arguments than are documented"),
    ("quit", "takes any arguments and ignores them"),
    ("replconf", "its arguments are not documented"),
];

fn words_and(words: usize, args: u16) -> u16 {
    u16::try_from(words).expect("one or two") + args
}

/// The least number of words for these arguments, and whether it is also the greatest.
fn arity_of(args: &[Arg<'_>]) -> (u16, bool) {
    args.iter().fold((0, true), |(n, exact), arg| {
        let token = u16::from(arg.token.is_some() && arg.kind != Kind::PureToken);
        let (inner, same) = match arg.kind {
            Kind::Block => arity_of(&arg.args),
            Kind::OneOf => {
                let each: Vec<_> = arg.args.iter().map(|a| arity_of(std::slice::from_ref(a))).collect();
                let least = each.iter().map(|(n, _)| *n).min().unwrap_or(0);
                (least, each.iter().all(|(n, exact)| *exact && *n == least))
            }
            _ => (1, true),
        };
        if arg.optional { (n, false) } else { (n + token + inner, exact && same && !arg.multiple) }
    })
}

fn check_args(name: &str, command: &Command, args: &[Arg<'_>]) {
    for arg in args {
        assert!(!arg.name.is_empty(), "{name}");
        assert_eq!(
            arg.kind == Kind::Key,
            arg.kind == Kind::Key && arg.spec.is_some(),
            "{name}: {}",
            arg.name
        );
        if let Some(spec) = arg.spec {
            assert!(usize::from(spec) < command.keys.len(), "{name}: {} has no key specification", arg.name);
        }
        assert_eq!(arg.kind.is_group(), !arg.args.is_empty(), "{name}: {}", arg.name);
        check_args(name, command, &arg.args);
    }
}

/// Commands that write without naming a key.
const WRITES_WITHOUT_KEY: &[(&str, &str)] = &[
    ("flushall", "writes everything"),
    ("flushdb", "writes everything of a database"),
    ("swapdb", "writes everything of two databases"),
    ("function|delete", "functions are no keys"),
    ("function|flush", "functions are no keys"),
    ("function|load", "functions are no keys"),
    ("function|restore", "functions are no keys"),
];

#[test]
fn every_write_names_a_key_or_says_why_not() {
    let mut keyless: BTreeSet<String> = BTreeSet::new();
    for (name, command) in leaves() {
        if command.flags.contains(Flags::WRITE) && !keyspec::has_keys(command) {
            keyless.insert(name);
        }
    }
    let listed: BTreeSet<String> = WRITES_WITHOUT_KEY.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(keyless, listed);
}

#[test]
fn what_is_locked_follows_from_what_is_done() {
    for (name, command) in leaves() {
        let may_change = KeyFlags::RW | KeyFlags::OW | KeyFlags::RM;
        let changes = command.keys.iter().any(|spec| spec.flags.intersects(may_change));
        match command.access {
            Access::None | Access::Walk | Access::Queued => {
                assert!(!keyspec::has_keys(command), "{name} names keys and locks none")
            }
            Access::Read => {
                assert!(keyspec::has_keys(command) && !changes, "{name}");
                assert!(!command.flags.contains(Flags::WRITE), "{name}");
            }
            Access::Keys => assert!(
                keyspec::has_keys(command) && (changes || command.flags.contains(Flags::WRITE)),
                "{name}"
            ),
            Access::Whole => {}
        }
        // A user who may only read must not change anything: scripts are held to it when they run.
        if changes && !command.acl.contains(Categories::SCRIPTING) && name != "pfcount" {
            assert!(command.flags.contains(Flags::WRITE), "{name} changes keys and is no write");
        }
    }
}

#[test]
fn flags_agree_with_categories() {
    let data = [
        (Group::String, Categories::STRING),
        (Group::List, Categories::LIST),
        (Group::Set, Categories::SET),
        (Group::SortedSet, Categories::SORTEDSET),
        (Group::Hash, Categories::HASH),
        (Group::Stream, Categories::STREAM),
        (Group::Bitmap, Categories::BITMAP),
        (Group::HyperLogLog, Categories::HYPERLOGLOG),
        (Group::Geo, Categories::GEO),
    ];
    for (name, command) in leaves() {
        let all = command.categories();
        for (flag, category) in [
            (Flags::WRITE, Categories::WRITE),
            (Flags::ADMIN, Categories::ADMIN | Categories::DANGEROUS),
            (Flags::PUBSUB, Categories::PUBSUB),
            (Flags::BLOCKING, Categories::BLOCKING),
            (Flags::FAST, Categories::FAST),
        ] {
            assert!(!command.flags.contains(flag) || all.contains(category), "{name}: {category:?}");
        }
        assert_ne!(all.contains(Categories::FAST), all.contains(Categories::SLOW), "{name}");
        for (group, category) in data {
            assert!(command.group != group || all.contains(category), "{name}: {category:?}");
        }
    }
}

struct Pair {
    redis: Client,
    tandem: Client,
    _servers: (common::Server, common::Server),
}

fn pair(resp3: bool) -> Pair {
    let servers = (Options::redis().start(), Options::tandem().workers(1).start());
    let (mut redis, mut tandem) = (servers.0.client(), servers.1.client());
    if resp3 {
        redis.command("HELLO 3");
        tandem.command("HELLO 3");
    }
    Pair { redis, tandem, _servers: servers }
}

fn pairs(map: &Value) -> Vec<(String, Value)> {
    let Value::Map(pairs) = map else { panic!("not a map: {map:?}") };
    pairs.iter().map(|(k, v)| (k.text(), v.clone())).collect()
}

fn field(map: &Value, name: &str) -> Option<Value> {
    pairs(map).into_iter().find(|(k, _)| k == name).map(|(_, v)| v)
}

/// Fields of COMMAND INFO that changed between Redis 7.0 and 7.2.
const INFO_OF_7_2: &[(&str, &str)] = &[
    ("acl|deluser", "tips"),
    ("acl|save", "tips"),
    ("acl|setuser", "tips"),
    ("blmove", "flags"), // may be called from scripts
    ("blpop", "flags"),
    ("brpop", "flags"),
    ("brpoplpush", "flags"),
    ("bzpopmax", "flags"),
    ("bzpopmin", "flags"),
    ("client|setname", "tips"),
    ("cluster|shards", "flags"), // served while loading
    ("cluster|slots", "flags"),
    ("command|getkeys", "arity"),
    ("command|getkeysandflags", "arity"),
    ("config|resetstat", "tips"),
    ("config|rewrite", "tips"),
    ("latency|reset", "tips"),
    ("msetnx", "tips"),
    ("randomkey", "tips"),
    ("scan", "tips"),
    ("wait", "flags"),
    ("zrank", "arity"), // WITHSCORE
    ("zrevrank", "arity"),
];

const INFO_FIELDS: &[&str] =
    &["name", "arity", "flags", "first", "last", "step", "categories", "tips", "keys"];

#[test]
fn command_info_equals_that_of_redis() {
    let mut pair = pair(true);
    let (theirs, ours) = (infos(&pair.redis.command("COMMAND")), infos(&pair.tandem.command("COMMAND")));
    let missing: Vec<_> = theirs.keys().filter(|name| !ours.contains_key(*name)).collect();
    assert!(missing.is_empty(), "not in the table: {missing:?}");
    let mut differing = BTreeSet::new();
    for (name, theirs) in &theirs {
        for (i, field) in INFO_FIELDS.iter().enumerate() {
            if theirs[i] != ours[name][i] {
                differing.insert((name.as_str(), *field));
            }
        }
    }
    assert_eq!(differing, INFO_OF_7_2.iter().copied().collect());
}

/// Every command and subcommand by its full name.
fn infos(list: &Value) -> BTreeMap<String, Vec<Value>> {
    let mut all = BTreeMap::new();
    for info in list.items() {
        let mut fields = info.items();
        let subcommands = fields.pop().expect("ten fields");
        // A remark is each server's own.
        fields[8] = Value::Set(fields[8].items().into_iter().map(without_notes).collect());
        all.extend(infos(&subcommands));
        all.insert(fields[0].text(), fields);
    }
    all
}

fn without_notes(spec: Value) -> Value {
    let Value::Map(pairs) = spec else { panic!("not a map: {spec:?}") };
    Value::Map(pairs.into_iter().filter(|(k, _)| k.text() != "notes").collect())
}

/// Commands whose arguments changed after Redis 7.0.
const ARGUMENTS_CHANGED: &[(&str, &str)] = &[
    ("bitop", "the operation is a choice of tokens"),
    ("client|kill", "SKIPME is a choice of tokens"),
    ("client|list", "ID is no block"),
    ("command|getkeys", "documented at all"),
    ("command|getkeysandflags", "documented at all"),
    ("config|get", "no block around one argument"),
    ("geohash", "members may be missing"),
    ("geopos", "members may be missing"),
    ("georadius", "STORE and STOREDIST exclude each other"),
    ("georadiusbymember", "STORE and STOREDIST exclude each other"),
    ("migrate", "the empty key is shown as two quotes"),
    ("module|loadex", "no block around one argument"),
    ("pfmerge", "sources may be missing"),
    ("psubscribe", "no block around one argument"),
    ("set", "IFEQ, of Valkey"),
    ("xinfo|stream", "FULL is a token of its own"),
    ("zrank", "WITHSCORE"),
    ("zrevrank", "WITHSCORE"),
];

#[test]
fn command_docs_equal_those_of_redis() {
    let mut pair = pair(true);
    let (theirs, ours) =
        (docs(&pair.redis.command("COMMAND DOCS")), docs(&pair.tandem.command("COMMAND DOCS")));
    let mut differing = BTreeSet::new();
    for (name, theirs) in &theirs {
        let ours = &ours[name];
        assert_eq!(field(theirs, "group"), field(ours, "group"), "{name}");
        let deprecated = ["setex", "psetex", "setnx", "quit"]; // by Redis 7.2
        if !deprecated.contains(&name.as_str()) {
            assert_eq!(field(theirs, "deprecated_since"), field(ours, "deprecated_since"), "{name}");
            assert_eq!(field(theirs, "doc_flags"), field(ours, "doc_flags"), "{name}");
        }
        if name != "client|pause" {
            assert_eq!(field(theirs, "since"), field(ours, "since"), "{name}");
        }
        if skeletons(field(theirs, "arguments")) != skeletons(field(ours, "arguments")) {
            differing.insert(name.as_str());
        }
    }
    assert_eq!(differing, ARGUMENTS_CHANGED.iter().map(|(name, _)| *name).collect());
}

fn docs(map: &Value) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for (name, doc) in pairs(map) {
        if let Some(subcommands) = field(&doc, "subcommands") {
            all.extend(docs(&subcommands));
        }
        all.insert(name, doc);
    }
    all
}

/// The argument tree without the names of groups and arguments, many of which Redis 7.2 changed.
fn skeletons(args: Option<Value>) -> Vec<String> {
    let args = args.map(|args| args.items()).unwrap_or_default();
    args.into_iter()
        .map(|arg| {
            let text = |name| field(&arg, name).map(|v| v.text().to_ascii_uppercase());
            let flags: Vec<_> =
                field(&arg, "flags").map(|f| f.items().iter().map(Value::text).collect()).unwrap_or_default();
            let spec = field(&arg, "key_spec_index").and_then(|v| v.int());
            let inner = skeletons(field(&arg, "arguments"));
            format!("{:?} {:?} {:?} {spec:?} {flags:?} {inner:?}", text("type"), text("token"), text("since"))
        })
        .collect()
}

#[test]
fn keys_of_example_calls_equal_those_of_redis() {
    let mut pair = pair(true);
    for line in EXAMPLES.lines().filter(|line| !line.is_empty()) {
        for what in ["GETKEYS", "GETKEYSANDFLAGS"] {
            let words = line.split(' ').map(|w| if w == "\"\"" { "" } else { w });
            let args: Vec<&str> = ["COMMAND", what].into_iter().chain(words).collect();
            let (theirs, ours) =
                (pair.redis.call(&args).expect("reply"), pair.tandem.call(&args).expect("reply"));
            assert_eq!(ours, theirs, "{what} {line}");
        }
    }
    // Where an option is given twice the last counts, here as in the command itself; Redis 7.0 names the first.
    for (line, keys) in [
        ("georadius g 0 0 1 km STORE a STORE b", "g b"),
        ("georadius g 0 0 1 km STORE a STOREDIST b", "g b"),
        ("sort src STORE a BY STORE STORE b", "src b"),
        ("msetex 2 a 1 b 2 EX 10", "a b"),
        ("hexpire h 10 FIELDS 1 f", "h"),
    ] {
        let reply = pair.tandem.command(&format!("COMMAND GETKEYS {line}"));
        let found: Vec<String> = reply.items().iter().map(Value::text).collect();
        assert_eq!(found.join(" "), keys, "{line}");
    }
}

const EXAMPLES: &str = r#"
get k
set k v
set k v GET
mget a b c
mset a 1 b 2
mset a 1 b
msetnx a 1 b 2
getex k
sort src
sort src BY x LIMIT 0 1 GET a STORE d
sort_ro src BY w_*
georadius g 0 0 1 km
georadius g 0 0 1 km STORE a
georadiusbymember g m 1 km STOREDIST a
geosearchstore d s FROMMEMBER a BYRADIUS 1 m
xread STREAMS a b 0 0
xread COUNT 1 STREAMS a b 0
xread COUNT 1
xread COUNT 1 STREAMS streams b 0 0
xreadgroup GROUP g c STREAMS a >
xreadgroup GROUP g STREAMS STREAMS a >
migrate h 1 k 0 10
migrate h 1 "" 0 10 KEYS a b
migrate h 1 k 0 10 KEYS a b
eval s 2 a b c
eval s 0
eval s 3 a b
eval s x a b
eval s -1 a b
evalsha s 1 a
fcall f 1 a
eval_ro s 1 a
zunionstore d 2 a b
zunionstore d 5 a b
zunionstore d 0 a b
zunionstore d -1 a b
zunion 2 a b
zunion 9223372036854775807 a b
zunion 0 a
zinter 2 a b WEIGHTS 1 2
zintercard 2 a b
sintercard 2 a b
lmpop 2 a b LEFT
lmpop 0 a LEFT
blmpop 0 2 a b LEFT
bzmpop 0 1 a MIN
blpop a b 0
bitop and d a b
bitfield k
bitfield k GET u8 0
bitfield k GET u8 0 SET u8 0 1
bitfield k OVERFLOW WRAP GET u8 0
bitfield k OVERFLOW WRAP INCRBY u8 0 1
bitfield_ro k GET u8 0
memory usage k SAMPLES 5
memory doctor
object encoding k
object help
pfmerge d a b
pfcount a b
xgroup create k g 0
xinfo stream k
copy a b
lmove a b LEFT RIGHT
smove a b c
sinterstore d a b
zrangestore d s 0 1
del a b c
watch a b
spublish c m
ssubscribe c
get a b
nosuch a
config get a
client id
restore k 0 x
hset h f v
cluster keyslot a
pfdebug encoding k
"#;

#[test]
fn replies_equal_byte_for_byte() {
    for resp3 in [false, true] {
        let mut pair = pair(resp3);
        for line in [
            "COMMAND INFO get mget append nosuch config|get config|nosuch get|x client|id memory|usage",
            "COMMAND INFO GET",
            "COMMAND DOCS nosuch",
            "COMMAND NOSUCH",
            "COMMAND COUNT x",
            "COMMAND HELP x",
            "COMMAND LIST x",
            "COMMAND LIST FILTERBY",
            "COMMAND LIST FILTERBY x y",
            "COMMAND LIST FILTERBY MODULE y",
            "COMMAND LIST FILTERBY ACLCAT",
            "COMMAND LIST FILTERBY ACLCAT nosuch",
            "COMMAND LIST FILTERBY PATTERN xad*",
            "COMMAND LIST FILTERBY PATTERN CONFIG|GE?",
            "COMMAND GETKEYS",
        ] {
            let args: Vec<&str> = line.split(' ').collect();
            let (theirs, ours) =
                (pair.redis.call(&args).expect("reply"), pair.tandem.call(&args).expect("reply"));
            assert_eq!(ours, theirs, "{line} (RESP{})", if resp3 { 3 } else { 2 });
        }
    }
}

#[test]
fn every_container_explains_itself() {
    let server = Options::tandem().workers(1).start();
    let mut client = server.client();
    for (name, command) in every() {
        // CLUSTER answers nothing but that cluster support is disabled.
        if command.subcommands.is_empty() || name == "cluster" {
            continue;
        }
        let lines = client.command(&format!("{name} HELP")).items();
        assert!(lines[0].text().starts_with(&name.to_ascii_uppercase()), "{name}: {lines:?}");
        for sub in command.subcommands {
            let title = sub.name.to_ascii_uppercase();
            assert!(
                lines.iter().any(|l| l.text().split(' ').next() == Some(&title)),
                "{name} HELP does not name {title}"
            );
        }
    }
}
