use super::large::Name;
use super::*;
use proptest::prelude::*;
use std::collections::HashMap;

const SMALL: Limits = Limits { listpack_entries: 4, listpack_value: 6 };
const LISTPACK: Limits = Limits { listpack_entries: 1000, listpack_value: 100 };

fn score(n: f64) -> Score {
    Score::new(n).expect("a number")
}

fn set(members: &[(&str, f64)], limits: &Limits) -> SortedSet {
    let mut set = SortedSet::new();
    for (m, s) in members {
        set.insert(m.as_bytes(), score(*s), limits);
    }
    set
}

fn members(iter: impl Iterator<Item = (Elem<'static>, Score)>) -> Vec<String> {
    iter.map(|(m, _)| String::from_utf8(m.to_vec()).expect("text")).collect()
}

fn names(z: &SortedSet) -> Vec<String> {
    z.iter().map(|(m, _)| String::from_utf8(m.to_vec()).expect("text")).collect()
}

#[test]
fn not_a_number_is_no_score() {
    assert_eq!(Score::new(f64::NAN), None);
    assert_eq!(Score::new(f64::INFINITY + f64::NEG_INFINITY), None);
    assert!(members(std::iter::empty()).is_empty());
}

#[test]
fn listpack_bytes_are_those_of_redis() {
    let z = set(&[("b", 1.5), ("a", 1.0), ("c", f64::NEG_INFINITY)], &SMALL);
    let pack = z.as_listpack().expect("small");
    let texts: Vec<_> = pack.iter().map(|e| e.to_vec()).collect();
    assert_eq!(texts, [&b"c"[..], b"-inf", b"a", b"1", b"b", b"1.5"]);
    assert_eq!(pack.nth(3), Some(Elem::Int(1)));
    let z = set(&[("big", 1e300), ("tiny", 5e-324), ("edge", 9.3e18)], &SMALL);
    for (name, value) in [("big", 1e300), ("tiny", 5e-324), ("edge", 9.3e18)] {
        assert_eq!(z.score(name.as_bytes()), Some(score(value)));
    }
}

#[test]
fn forms_change_where_redis_changes_them() {
    let mut z = set(&[("a", 1.0), ("b", 2.0), ("c", 3.0), ("d", 4.0)], &SMALL);
    assert_eq!(z.encoding(), "listpack");
    z.insert(b"a", score(9.0), &SMALL);
    assert_eq!(z.encoding(), "listpack");
    z.insert(b"e", score(0.0), &SMALL);
    assert_eq!((z.encoding(), names(&z)), ("skiplist", ["e", "b", "c", "d", "a"].map(String::from).to_vec()));
    z.remove(b"e");
    z.compact(&SMALL);
    assert_eq!((z.encoding(), names(&z)), ("listpack", ["b", "c", "d", "a"].map(String::from).to_vec()));
    assert_eq!(set(&[("longer1", 1.0)], &SMALL).encoding(), "skiplist");
}

#[test]
fn forged_listpacks_are_refused() {
    let pack = |elems: &[&str]| {
        let mut pack = Listpack::new();
        elems.iter().for_each(|e| pack.push_back(e.as_bytes()));
        SortedSet::from_listpack(pack)
    };
    assert!(pack(&["a", "1", "b", "1"]).is_ok());
    for bad in [
        &["a", "1", "b"][..],
        &["a", "nan"],
        &["a", "x"],
        &["a", "2", "b", "1"],
        &["b", "1", "a", "1"],
        &["a", "1", "a", "2"],
    ] {
        assert!(pack(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn two_members_of_one_hash_stay_apart() {
    let [a, m, x] = ["a", "m", "x"].map(|c| c.repeat(Name::SHORT_MAX + 1));
    // As if `x` had the hash of `a`: an alias stands for it.
    let mut s = Sorted::default();
    s.insert(a.as_bytes(), score(1.0));
    s.insert_alias(1, x.as_bytes(), score(1.0));
    let mut z = SortedSet(Repr::Sorted(Box::new(s)));
    z.insert(m.as_bytes(), score(1.0), &SMALL);
    z.insert(x.as_bytes(), score(0.5), &SMALL);
    assert_eq!(names(&z), [x.as_str(), &a, &m]);
    assert_eq!(z.rank(x.as_bytes()).map(|r| r.0), Some(0));
    z.remove(x.as_bytes());
    assert_eq!(names(&z), [a, m]);
}

#[test]
fn short_members_stand_in_the_tree_and_long_ones_beside() {
    let mut z = SortedSet(Repr::Sorted(Box::default()));
    for len in 0..40 {
        z.insert("z".repeat(len).as_bytes(), score(1.0), &SMALL);
    }
    // Equal scores: in the order of the texts.
    assert!(z.iter().map(|(m, _)| m.to_vec().len()).eq(0..40));
    assert!(z.iter_rev_from(39).map(|(m, _)| m.to_vec().len()).eq((0..40).rev()));
    for len in [0, 15, 16, 39] {
        let member = "z".repeat(len);
        assert_eq!(z.insert(member.as_bytes(), score(0.5), &SMALL), Some(score(1.0)));
        assert_eq!(z.rank(member.as_bytes()).map(|r| r.1), Some(score(0.5)));
    }
    assert_eq!(z.remove_ranks(0..4), 4);
    assert_eq!(z.len(), 36);
    assert_eq!(z.get(14).map(|(m, _)| m.to_vec().len()), Some(17));
}

type Twin = HashMap<Vec<u8>, f64>;

fn sorted(twin: &Twin) -> Vec<(f64, Vec<u8>)> {
    let mut all: Vec<_> = twin.iter().map(|(m, s)| (*s, m.clone())).collect();
    all.sort_by(|a, b| a.partial_cmp(b).expect("no NaN"));
    all
}

fn same(z: &SortedSet, expected: &[(f64, Vec<u8>)]) -> Result<(), TestCaseError> {
    let all: Vec<_> = z.iter().map(|(m, s)| (s.get(), m.to_vec())).collect();
    prop_assert_eq!(&all[..], expected);
    if let Some(last) = all.len().checked_sub(1) {
        let mut reversed: Vec<_> = z.iter_rev_from(last).map(|(m, s)| (s.get(), m.to_vec())).collect();
        reversed.reverse();
        prop_assert_eq!(&reversed[..], expected);
    }
    for (rank, (s, m)) in expected.iter().enumerate() {
        prop_assert_eq!(z.rank(m), Some((rank, score(*s))));
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn behaves_as_a_sorted_vector(
        packed in any::<bool>(),
        ops in prop::collection::vec((0u8..8, "[a-z]{1,2}|[0-9]{1,3}", prop_oneof![(-3i8..3).prop_map(f64::from), (-3f64..3.0), Just(f64::INFINITY)]), 0..250),
        bounds in prop::collection::vec((-3f64..3.0, any::<bool>(), -3f64..3.0, any::<bool>()), 4),
    ) {
        let limits = if packed { LISTPACK } else { SMALL };
        let (mut z, mut twin) = (SortedSet::new(), Twin::new());
        for (op, member, s) in ops {
            let member = member.into_bytes();
            if op == 0 {
                prop_assert_eq!(z.remove(&member).map(Score::get), twin.remove(&member));
            } else if op == 1 && twin.len() > 3 {
                for (_, m) in sorted(&twin).drain(1..3) {
                    twin.remove(&m);
                }
                prop_assert_eq!(z.remove_ranks(1..3), 2);
            } else {
                prop_assert_eq!(z.insert(&member, score(s), &limits).map(Score::get), twin.insert(member, s));
            }
            prop_assert_eq!(z.len(), twin.len());
        }
        let expected = sorted(&twin);
        same(&z, &expected)?;
        for (min, min_exclusive, max, max_exclusive) in bounds {
            let range = ScoreRange { min: score(min.round()), min_exclusive, max: score(max.round()), max_exclusive };
            let within = expected.iter().enumerate().filter(|(_, (s, _))| {
                (if min_exclusive { *s > min.round() } else { *s >= min.round() })
                    && (if max_exclusive { *s < max.round() } else { *s <= max.round() })
            });
            prop_assert!(z.ranks_by_score(&range).eq(within.map(|(i, _)| i)));
        }
        let mut seen = Twin::new();
        let mut cursor = 0;
        loop {
            cursor = z.scan(cursor, 5, |m, s| assert!(seen.insert(m.to_vec(), s.get()).is_none()));
            if cursor == 0 { break; }
        }
        prop_assert_eq!(seen, twin);
    }

    #[test]
    fn texts_are_ranges_among_equal_scores(names in prop::collection::btree_set("[a-d]{1,3}", 0..40), packed in any::<bool>(), a in "[a-d]{1,3}", b in "[a-d]{1,3}") {
        let mut z = SortedSet::new();
        for name in &names {
            z.insert(name.as_bytes(), score(0.0), if packed { &LISTPACK } else { &SMALL });
        }
        let rank = |t: &str, after: bool| names.iter().filter(|n| if after { n.as_str() <= t } else { n.as_str() < t }).count();
        let (inc, exc) = (LexBound::Inclusive, LexBound::Exclusive);
        let (ab, bb) = (a.as_bytes(), b.as_bytes());
        let expected = |from: usize, to: usize| from..to.max(from);
        prop_assert_eq!(z.ranks_by_lex(inc(ab), inc(bb)), expected(rank(&a, false), rank(&b, true)));
        prop_assert_eq!(z.ranks_by_lex(exc(ab), exc(bb)), expected(rank(&a, true), rank(&b, false)));
        prop_assert_eq!(z.ranks_by_lex(LexBound::Min, LexBound::Max), 0..names.len());
        prop_assert!(z.ranks_by_lex(LexBound::Max, LexBound::Min).is_empty());
    }
}
