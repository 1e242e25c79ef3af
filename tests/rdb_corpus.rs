//! The corpus of the fuzz target for serialised values, run as a test, and the same values with
//! bytes changed.

/// Changes of each value that are tried.
const CHANGES: usize = 200;

#[test]
fn the_corpus_and_its_neighbours() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/rdb");
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).map_or(0, |n| n % below.max(1))
    };
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("the corpus is checked in")
        .map(|file| file.expect("an entry").path())
        .collect();
    files.sort();
    for file in &files {
        let value = std::fs::read(file).expect("a file");
        tandem::rdb::fuzz_one(&value);
        for _ in 0..CHANGES {
            let mut changed = value.clone();
            for _ in 0..=random(7) {
                let at = random(changed.len());
                let special = [0, 1, 2, 0x40, 0x7f, 0x80, 0x81, 0xc0, 0xc3, 0xf0, 0xf5, 0xfd, 0xfe, 0xff];
                match random(4) {
                    0 if at < changed.len() => changed[at] = special[random(special.len())],
                    1 if at < changed.len() => changed[at] = u8::try_from(random(256)).unwrap_or(0),
                    2 if at < changed.len() => drop(changed.remove(at)),
                    _ => changed.insert(at, special[random(special.len())]),
                }
            }
            tandem::rdb::fuzz_one(&changed);
        }
    }
    assert!(files.len() > 20, "{} files", files.len());
}
