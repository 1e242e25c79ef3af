//! The corpus of the fuzz target, run as a test, and the same texts with bytes changed.

/// Changes of each text that are tried.
const CHANGES: usize = 40;

#[test]
fn the_corpus_and_its_neighbours() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/config");
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).map_or(0, |n| n % below.max(1))
    };
    let mut seen = 0;
    for file in std::fs::read_dir(folder).expect("the corpus is checked in") {
        let text = std::fs::read(file.expect("an entry").path()).expect("a file");
        tandem::config::check_text(&text);
        for _ in 0..CHANGES {
            let mut changed = text.clone();
            for _ in 0..=random(3) {
                let at = random(changed.len());
                let special = b"\"'\\\n #:-[]{}&*!|>%@`,?\0\xff0a";
                match random(3) {
                    0 if at < changed.len() => changed[at] = special[random(special.len())],
                    1 if at < changed.len() => drop(changed.remove(at)),
                    _ => changed.insert(at, special[random(special.len())]),
                }
            }
            tandem::config::check_text(&changed);
        }
        seen += 1;
    }
    assert!(seen > 20, "{seen} files");
}
