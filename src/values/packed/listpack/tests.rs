use super::*;
use proptest::prelude::*;

fn pack(elems: &[&[u8]]) -> Listpack {
    let mut list = Listpack::new();
    for e in elems {
        list.push_back(e);
    }
    list
}

fn unpack(list: &Listpack) -> Vec<Vec<u8>> {
    list.iter().map(|e| e.to_vec()).collect()
}

#[test]
fn bytes_are_those_of_redis() {
    assert_eq!(&*pack(&[b"a", b"1"]).to_bytes(), b"\x0c\0\0\0\x02\0\x81a\x02\x01\x01\xff");
    for (n, bytes) in [
        (0i64, &b"\0"[..]),
        (127, b"\x7f"),
        (128, b"\xc0\x80"),
        (-1, b"\xdf\xff"),
        (4095, b"\xcf\xff"),
        (-4096, b"\xd0\0"),
        (4096, b"\xf1\0\x10"),
        (-32768, b"\xf1\0\x80"),
        (32768, b"\xf2\0\x80\0"),
        (-8_388_608, b"\xf2\0\0\x80"),
        (8_388_608, b"\xf3\0\0\x80\0"),
        (i64::from(i32::MIN), b"\xf3\0\0\0\x80"),
        (1 << 31, b"\xf4\0\0\0\x80\0\0\0\0"),
        (i64::MIN, b"\xf4\0\0\0\0\0\0\0\x80"),
    ] {
        let list = pack(&[n.to_string().as_bytes()]);
        assert_eq!(&list.to_bytes()[6..6 + bytes.len()], bytes, "{n}");
        assert_eq!(list.to_bytes()[6 + bytes.len()] as usize, bytes.len());
        assert_eq!(list.get(6), Some(Elem::Int(n)));
    }
    let long = pack(&[&[b'x'; 64]]);
    assert_eq!(long.to_bytes()[6..8], [0xE0, 64]);
    let longer = pack(&[&vec![b'x'; 4096]]);
    assert_eq!(longer.to_bytes()[6..11], [0xF0, 0, 0x10, 0, 0]);
    assert_eq!(longer.to_bytes()[longer.end() - 2..], [0x20, 0x85, 0xFF]); // back length 4101
}

#[test]
fn the_count_gives_up_at_65535_as_in_redis() {
    let mut list = Listpack::new();
    list.extend((0..65_534).map(|n| Elem::Int(n & 63)));
    assert_eq!(list.to_bytes()[4..6], [0xFE, 0xFF]);
    list.push_int(1);
    list.push_int(2);
    assert_eq!((list.header_count(), list.len()), (COUNT_UNKNOWN, 65_536));
    list.remove_range(0, 65_530);
    assert_eq!(list.len(), 6);
    assert_eq!(Listpack::from_untrusted(&list.to_bytes()), Ok(list));
}

#[test]
fn find_passes_over_values() {
    let list = pack(&[b"v", b"k", b"k", b"7", b"7", b"v"]);
    assert_eq!(list.find::<1>(b"k"), list.seek(2));
    assert_eq!(list.find::<1>(b"7"), list.seek(4));
    assert_eq!(list.find::<0>(b"7"), list.seek(3));
    assert_eq!(list.find::<1>(b"none"), None);
}

#[test]
fn forged_bytes_are_refused() {
    for bad in [
        &b""[..],
        b"\x07\0\0\0\0\0",
        b"\x08\0\0\0\0\0\xff",                           // total
        b"\x07\0\0\0\x01\0\xff",                         // count
        b"\x09\0\0\0\x01\0\x05\x02\xff",                 // back length
        b"\x09\0\0\0\x01\0\x85\x01\xff",                 // string cut off
        b"\x0a\0\0\0\x01\0\xe0\x00\x02\xff",             // overlong string
        b"\x0d\0\0\0\x01\0\xf0\0\0\0\0\x05\xff",         // the same, 32 bits
        b"\x0d\0\0\0\x01\0\xf0\xff\xff\xff\xff\x05\xff", // giant string
        b"\x09\0\0\0\x01\0\xf9\x01\xff",                 // no such code
        b"\x09\0\0\0\x01\0\xff\x01\xff",                 // end in the middle
        b"\x09\0\0\0\x01\0\x05\x01\xfe",                 // no end
    ] {
        assert_eq!(Listpack::from_untrusted(bad), Err(Corrupt), "{bad:?}");
    }
    let wide = b"\x0e\0\0\0\x02\0\xf1\x05\0\x03\x815\x02\xff"; // 5 in 16 bits, and as a string
    let list = Listpack::from_untrusted(wide).expect("well formed");
    assert_eq!(list.to_bytes(), pack(&[b"5", b"5"]).to_bytes());
    let odd = pack(&[b"a"]);
    assert_eq!(Listpack::from_untrusted_with(&odd.to_bytes(), |e| e == b"b"[..]), Err(Corrupt));
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
        3 => (-5000i64..5000).prop_map(|n| n.to_string().into_bytes()),
        4 => prop::collection::vec(any::<u8>(), 0..20),
        1 => prop::collection::vec(any::<u8>(), 50..300),
        1 => (4000usize..20_000).prop_map(|n| vec![b'z'; n]),
    ]
}

#[derive(Clone, Debug)]
enum Op {
    Insert(usize, Vec<u8>),
    Replace(usize, Vec<u8>),
    Remove(usize, usize),
    Split(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (any::<usize>(), text()).prop_map(|(i, t)| Op::Insert(i, t)),
        2 => (any::<usize>(), text()).prop_map(|(i, t)| Op::Replace(i, t)),
        1 => (any::<usize>(), 0usize..4).prop_map(|(i, n)| Op::Remove(i, n)),
        1 => any::<usize>().prop_map(Op::Split),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn behaves_as_a_vector_of_strings(ops in prop::collection::vec(op(), 0..60)) {
        let mut list = Listpack::new();
        let mut twin: Vec<Vec<u8>> = Vec::new();
        for op in ops {
            let n = twin.len();
            match op {
                Op::Insert(i, t) => {
                    let i = i % (n + 1);
                    let pos = list.skip(list.start(), i);
                    list.insert(pos, Elem::of(&t));
                    twin.insert(i, t);
                }
                Op::Replace(i, t) if n > 0 => {
                    let pos = list.seek((i % n) as i64).expect("in range");
                    list.replace(pos, Elem::of(&t));
                    twin[i % n] = t;
                }
                Op::Remove(i, count) if n > 0 => {
                    list.remove_range(i % n, count);
                    twin.drain(i % n..(i % n + count).min(n));
                }
                Op::Split(i) if n > 0 => {
                    let pos = list.seek((i % n) as i64).expect("in range");
                    let tail = list.split_off(pos);
                    prop_assert_eq!(unpack(&tail), &twin[i % n..]);
                    prop_assert_eq!(list.len(), i % n);
                    list.append(&tail);
                }
                _ => {}
            }
            prop_assert_eq!(list.len(), twin.len());
        }
        prop_assert_eq!(&unpack(&list), &twin);
        let mut backwards: Vec<_> = list.iter().rev().map(|e| e.to_vec()).collect();
        backwards.reverse();
        prop_assert_eq!(&backwards, &twin);
        for (i, t) in twin.iter().enumerate() {
            prop_assert!(list.nth(i).is_some_and(|e| e == t[..]));
            prop_assert_eq!(list.seek(i as i64 - twin.len() as i64), list.seek(i as i64));
            prop_assert_eq!(list.find::<0>(t), list.seek(twin.iter().position(|u| u == t).expect("there") as i64));
        }
        prop_assert_eq!(list.seek(twin.len() as i64), None);
        prop_assert_eq!(Listpack::from_untrusted(&list.to_bytes()), Ok(list));
    }

    #[test]
    fn flipped_bits_never_panic(texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9), 1..8),
                                flips in prop::collection::vec((any::<usize>(), 0u8..8), 1..8)) {
        let list = pack(&texts.iter().map(|t| &t[..]).collect::<Vec<_>>());
        let mut bytes = list.to_bytes().to_vec();
        for (at, bit) in flips {
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
        }
        if let Ok(list) = Listpack::from_untrusted(&bytes) {
            prop_assert_eq!(list.iter().count(), list.iter().rev().count());
            prop_assert_eq!(list.iter().count(), list.len());
        }
    }
}
