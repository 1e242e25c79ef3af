//! Small collections that come into their entries and leave them again.

use super::*;
use crate::values::list::{self, End};
use crate::values::{Kind, List, Set, hash, set as sets};
use proptest::prelude::*;
use std::collections::HashMap;

/// A whole walk, also while keys are being moved, which the helper thread would wait for.
fn pack_all(who: &mut Participant) -> PackWalk {
    let mut walk = PackWalk::default();
    while pack::step(&who.enter(), &mut walk) {}
    walk
}

fn list_of(elements: &[Vec<u8>]) -> Value {
    let mut list = List::new();
    for element in elements {
        list.push(End::Tail, element, &list::Limits::default());
    }
    Value::List(list)
}

fn elements(batch: &Batch<'_>, key: &[u8]) -> Option<Vec<Vec<u8>>> {
    let hash = batch.hash_key(key);
    let guard = batch.lock(0, hash);
    let held = guard.entry(guard.find(hash, key)?).value();
    let Some(Value::List(list)) = held.as_deref() else { panic!("a list") };
    Some(list.iter().map(|e| e.to_vec()).collect())
}

/// Changes the list at a key; false without one.
fn change(batch: &Batch<'_>, key: &[u8], f: impl FnOnce(&mut List)) -> bool {
    let hash = batch.hash_key(key);
    let mut guard = batch.lock(0, hash);
    let Some(pos) = guard.find(hash, key) else { return false };
    let changed = guard.change(pos, hash, |value| {
        let Value::List(list) = value else { panic!("a list") };
        f(list);
    });
    let ((), pos) = changed.expect("space").expect("no string");
    assert_eq!(guard.find(hash, key), Some(pos), "the position that is given is the entry's");
    true
}

/// Takes what is at one key to another; false without it.
fn rename(who: &mut Participant, from: &[u8], to: &[u8]) -> bool {
    let taken = {
        let batch = who.enter();
        let hash = batch.hash_key(from);
        let mut guard = batch.lock(0, hash);
        guard.find(hash, from).map(|pos| guard.take(pos))
    };
    let there = taken.is_some();
    if let Some((taken, meta)) = taken {
        set(&who.enter(), 0, to, taken.into_content(&mut Vec::new()), meta);
    }
    there
}

fn is_packed(batch: &Batch<'_>, key: &[u8]) -> bool {
    let hash = batch.hash_key(key);
    let guard = batch.lock(0, hash);
    let entry = guard.entry(guard.find(hash, key).expect("there"));
    assert_eq!(entry.bytes(), None, "no string, packed or not");
    entry.is_packed()
}

fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|t| t.as_bytes().to_vec()).collect()
}

#[test]
fn what_is_left_alone_is_packed_by_the_second_walk_after_a_change() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    assert!(!ks.take_loosened());
    set(&who.enter(), 0, b"k", Content::Value(list_of(&texts(&["a", "b"]))), Meta::default());
    assert!(ks.take_loosened(), "somebody is told");
    assert!(change(&who.enter(), b"k", |list| list.push(End::Tail, b"c", &list::Limits::default())));
    assert_eq!(ks.loose(&mut who), Loose { keys: 1, collections: 1 });

    let walk = pack_all(&mut who);
    assert_eq!((walk.packed, walk.later), (0, 1));
    assert!(!is_packed(&who.enter(), b"k"));
    let walk = pack_all(&mut who);
    assert_eq!((walk.packed, walk.later), (1, 0));
    assert!(is_packed(&who.enter(), b"k"));
    assert_eq!(ks.loose(&mut who), Loose { keys: 1, collections: 0 });
    assert_eq!(elements(&who.enter(), b"k"), Some(texts(&["a", "b", "c"])));
    assert_eq!(pack_all(&mut who).packed, 0, "it is already");
}

#[test]
fn a_change_that_keeps_the_size_leaves_it_packed() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    let of = list_of(&texts(&["first", "second"]));
    set(
        &who.enter(),
        0,
        b"k",
        Content::Value(of),
        Meta { deadline: Some(77), armed: 3, access: 9, mark: false },
    );
    pack_all(&mut who);
    ks.take_loosened();

    assert!(change(&who.enter(), b"k", |list| assert!(list.set(0, b"FIRST", &list::Limits::default()))));
    assert!(is_packed(&who.enter(), b"k") && !ks.take_loosened());
    assert_eq!(elements(&who.enter(), b"k"), Some(texts(&["FIRST", "second"])));

    set(&who.enter(), 0, b"other", Content::Value(list_of(&texts(&["a"]))), Meta::default());
    assert_eq!(pack_all(&mut who).packed, 1, "the other one; with nothing to pack it would not look");
    let mut again = |text: &[u8]| {
        assert!(change(&who.enter(), b"k", |list| assert!(list.set(1, text, &list::Limits::default()))));
        is_packed(&who.enter(), b"k")
    };
    assert!(again(b"SECOND"), "a walk came by since the last change");
    assert!(!again(b"twice!"), "what is written often is not left alone");
    assert_eq!(elements(&who.enter(), b"k"), Some(texts(&["FIRST", "twice!"])));
    assert_eq!((pack_all(&mut who).later, pack_all(&mut who).packed), (1, 1));
    ks.take_loosened();

    assert!(change(&who.enter(), b"k", |list| list.push(End::Head, &[b'x'; 50], &list::Limits::default())));
    assert!(!is_packed(&who.enter(), b"k") && ks.take_loosened(), "it has grown");
    let batch = who.enter();
    let key_hash = batch.hash_key(b"k");
    let guard = batch.lock(0, key_hash);
    let meta = guard.entry(guard.find(key_hash, b"k").expect("there")).meta();
    assert_eq!((meta.deadline, meta.armed, meta.access), (Some(77), 3, 9));
}

#[test]
fn large_and_timed_ones_stay_out_of_line() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    let mut timed = crate::values::Hash::new();
    timed.set_with(b"f", b"v", hash::Deadline::At(5), &hash::Limits::default());
    let mut words = Set::default();
    for n in 0..200 {
        words.insert(format!("w{n}").as_bytes(), &sets::Limits::default());
    }
    let mut ints = Set::default();
    for n in 0..20 {
        ints.insert(n.to_string().as_bytes(), &sets::Limits::default());
    }
    for (key, value) in [
        (&b"timed"[..], Value::Hash(timed)),
        (b"table", Value::Set(words)),
        (b"long", list_of(&[vec![b'x'; 4200]])),
        (b"text", Value::Str(crate::values::Blob::from_vec(vec![7; 2000]))),
        (b"ints", Value::Set(ints)),
    ] {
        set(&who.enter(), 0, key, Content::Value(value), Meta::default());
    }
    assert_eq!(ks.loose(&mut who).collections, 4, "a string is none");
    assert_eq!(pack_all(&mut who).packed, 1);
    assert_eq!(ks.loose(&mut who).collections, 3);
    let batch = who.enter();
    let hash = batch.hash_key(b"ints");
    let mut guard = batch.lock(0, hash);
    let pos = guard.find(hash, b"ints").expect("there");
    assert_eq!(guard.entry(pos).value().map(|v| v.encoding()), Some("intset"));
    assert!(guard.bytes_mut(pos).is_none() && guard.value_mut(pos).is_none());
    let (taken, _) = guard.take(pos);
    let Taken::Value(Value::Set(set)) = taken else { panic!("the set comes out whole") };
    assert_eq!((set.len(), set.encoding()), (20, "intset"));
}

/// A packed set has a mark of its own, which no walk takes away.
#[test]
fn a_set_of_integers_stays_one() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    let mut ints = Set::default();
    for n in 10..14 {
        ints.insert(n.to_string().as_bytes(), &sets::Limits::default());
    }
    set(&who.enter(), 0, b"ints", Content::Value(Value::Set(ints)), Meta::default());
    for member in ["20", "21", "22"] {
        pack_all(&mut who);
        pack_all(&mut who);
        assert!(is_packed(&who.enter(), b"ints"));
        let batch = who.enter();
        let hash = batch.hash_key(b"ints");
        let mut guard = batch.lock(0, hash);
        let pos = guard.find(hash, b"ints").expect("there");
        let changed = guard.change(pos, hash, |value| {
            let Value::Set(set) = value else { panic!("a set") };
            let least = set.iter().next().expect("a member").to_vec();
            assert!(set.remove(&least) && set.insert(member.as_bytes(), &sets::Limits::default()));
            set.encoding()
        });
        assert_eq!(changed.expect("space").expect("no string").0, "intset");
    }
    assert!(is_packed(&who.enter(), b"ints"), "it has kept its size");
}

/// A string over a packed collection, and back.
#[test]
fn another_type_takes_its_place() {
    let ks = keyspace();
    let mut who = ks.register_helper();
    for (n, text) in [&b"of another length"[..], &[b't'; 14], &[b't'; 1024]].into_iter().enumerate() {
        let key = format!("key{n}").into_bytes();
        set(&who.enter(), 0, &key, Content::Value(list_of(&texts(&["abcde"]))), Meta::default());
        pack_all(&mut who);
        {
            let batch = who.enter();
            let hash = batch.hash_key(&key);
            let mut guard = batch.lock(0, hash);
            let (_, mut place) = guard.find_in_place(hash, &key).expect("there");
            assert!(!place.rewrite(text, false), "it is no string yet");
            let pos = guard.find(hash, &key).expect("there");
            assert_eq!(guard.entry(pos).kind(), Kind::List);
        }
        set(&who.enter(), 0, &key, Content::Bytes(text), Meta::default());
        assert_eq!(get(&who.enter(), 0, &key).as_deref(), Some(text));
    }
}

#[derive(Clone, Debug)]
enum Op {
    Make { key: u16, elements: Vec<Vec<u8>>, ttl: Option<u64> },
    Push { key: u16, element: Vec<u8> },
    Replace { key: u16, element: Vec<u8> },
    Pop { key: u16 },
    Meta { key: u16, ttl: Option<u64> },
    Del { key: u16 },
    Take { from: u16, to: u16 },
    Resize { up: bool },
    Step,
    Pack,
    Maintain,
    Flush,
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..60_u16;
    let element = || prop_oneof![9 => proptest::collection::vec(b'a'..=b'c', 0..40), 1 => proptest::collection::vec(b'd'..=b'e', 300..900)];
    let ttl = prop_oneof![2 => Just(None), 1 => (0..2000_u64).prop_map(Some)];
    prop_oneof![
        12 => (key.clone(), proptest::collection::vec(element(), 1..12), ttl.clone())
            .prop_map(|(key, elements, ttl)| Op::Make { key, elements, ttl }),
        12 => (key.clone(), element()).prop_map(|(key, element)| Op::Push { key, element }),
        12 => (key.clone(), element()).prop_map(|(key, element)| Op::Replace { key, element }),
        8 => key.clone().prop_map(|key| Op::Pop { key }),
        4 => (key.clone(), ttl).prop_map(|(key, ttl)| Op::Meta { key, ttl }),
        4 => key.clone().prop_map(|key| Op::Del { key }),
        4 => (key.clone(), key).prop_map(|(from, to)| Op::Take { from, to }),
        2 => any::<bool>().prop_map(|up| Op::Resize { up }),
        4 => Just(Op::Step),
        8 => Just(Op::Pack),
        1 => Just(Op::Maintain),
        1 => Just(Op::Flush),
    ]
}

/// Some keys are too long for their entry.
fn name(key: u16) -> Vec<u8> {
    if key.is_multiple_of(7) { vec![b'l'; 300 + usize::from(key)] } else { format!("k{key}").into_bytes() }
}

fn run(ops: Vec<Op>) {
    let ks = keyspace();
    let mut who = ks.register_helper();
    let mut twin: HashMap<u16, Vec<Vec<u8>>> = HashMap::new();
    let limits = list::Limits::default();
    for op in ops {
        match op {
            Op::Make { key, elements, ttl } => {
                let meta = Meta { deadline: ttl, ..Meta::default() };
                set(&who.enter(), 0, &name(key), Content::Value(list_of(&elements)), meta);
                twin.insert(key, elements);
            }
            Op::Push { key, element } => {
                let there = change(&who.enter(), &name(key), |list| list.push(End::Tail, &element, &limits));
                assert_eq!(there, twin.get_mut(&key).map(|held| held.push(element)).is_some());
            }
            Op::Replace { key, element } => {
                let there = change(&who.enter(), &name(key), |list| assert!(list.set(0, &element, &limits)));
                assert_eq!(there, twin.get_mut(&key).map(|held| held[0] = element).is_some());
            }
            Op::Pop { key } => {
                let held = twin.get_mut(&key).filter(|held| held.len() > 1);
                if let Some(held) = held {
                    held.pop();
                    change(&who.enter(), &name(key), |list| list.drop_end(End::Tail, 1, &limits));
                }
            }
            Op::Meta { key, ttl } => {
                let batch = who.enter();
                let hash = batch.hash_key(&name(key));
                let mut guard = batch.lock(0, hash);
                if let Some(pos) = guard.find(hash, &name(key)) {
                    let meta = Meta { deadline: ttl, ..guard.entry(pos).meta() };
                    guard.set_meta(pos, meta).expect("space");
                }
            }
            Op::Del { key } => {
                assert_eq!(del(&who.enter(), 0, &name(key)), twin.remove(&key).is_some());
            }
            Op::Take { from, to } => {
                let moved = from != to && rename(&mut who, &name(from), &name(to));
                assert_eq!(moved, from != to && twin.contains_key(&from));
                if moved {
                    let held = twin.remove(&from).expect("there");
                    twin.insert(to, held);
                }
            }
            Op::Resize { up } => _ = ks.force_resize(&mut who, 0, up),
            Op::Step => _ = ks.maintain(&mut who, 0, 0, &mut KeepAll),
            Op::Pack => _ = pack_all(&mut who),
            Op::Maintain => settle(&ks, &mut who, 0, &mut KeepAll),
            Op::Flush => {
                who.enter_exclusive().flush(0);
                twin.clear();
            }
        }
        let loose = ks.loose(&mut who);
        assert!(loose.keys == twin.len() && loose.collections <= loose.keys);
    }
    settle(&ks, &mut who, 0, &mut KeepAll);
    pack_all(&mut who);
    pack_all(&mut who);
    let batch = who.enter();
    for (key, held) in &twin {
        assert_eq!(elements(&batch, &name(*key)).as_ref(), Some(held));
    }
    let long = twin.values().filter(|held| !list_of(held).is_small()).count();
    let loose: usize = batch.arenas().map(|(_, arena)| arena.loose()).sum();
    assert_eq!(loose, long, "all that fits is packed, and counted");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 2 } else { 256 }, ..ProptestConfig::default() })]

    #[test]
    fn behaves_as_a_map_of_lists(ops in proptest::collection::vec(op(), 1..if cfg!(miri) { 40 } else { 300 })) {
        run(ops);
    }
}

/// Threads change lists of their own, while another one packs and resizes without a pause.
#[test]
fn nothing_is_lost_beside_changes() {
    let ks = keyspace();
    let (threads, keys, rounds) = if cfg!(miri) { (2, 3, 10) } else { (3, 40, 400) };
    let done = std::sync::atomic::AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let (ks, done) = (&ks, &done);
            scope.spawn(move || {
                let mut who = ks.register();
                for round in 0..rounds {
                    for key in 0..keys {
                        let name = format!("{thread}:{key}").into_bytes();
                        let element = format!("{round}").into_bytes();
                        let batch = who.enter();
                        // A window of eight, so that it is packed, changed in place, and outgrows its entry.
                        let there = change(&batch, &name, |list| {
                            list.push(End::Tail, &element, &list::Limits::default());
                            if list.len() > 8 {
                                list.drop_end(End::Head, 1, &list::Limits::default());
                            }
                        });
                        if !there {
                            set(&batch, 0, &name, Content::Value(list_of(&[element])), Meta::default());
                        }
                    }
                }
                done.fetch_add(1, Relaxed);
            });
        }
        let mut who = ks.register_helper();
        let mut up = true;
        while done.load(Relaxed) < threads {
            pack_all(&mut who);
            if ks.force_resize(&mut who, 0, up) {
                up = !up;
            }
            ks.maintain(&mut who, 1000, 0, &mut KeepAll);
        }
    });
    let mut who = ks.register();
    let batch = who.enter();
    for thread in 0..threads {
        for key in 0..keys {
            let expected: Vec<_> =
                (rounds - rounds.min(8)..rounds).map(|r: usize| r.to_string().into_bytes()).collect();
            assert_eq!(elements(&batch, format!("{thread}:{key}").as_bytes()), Some(expected));
        }
    }
}
