//! The wheel, driven as a worker drives it, against a map of deadlines.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;

use super::{Change, Due, Progress, Timer, Upkeep, Verdict, Wheel, is_past, judge, on_deadline_change};

const START: u64 = 1_700_000_000_000;
const DAY: u64 = 86_400_000;
/// Items of the tests that need many of them; under Miri fewer.
const MANY: u64 = if cfg!(miri) { 200 } else { 10_000 };

/// Four keys each share their hash bits: the collision that needs a million keys in life.
fn hash40(key: u16) -> u64 {
    u64::from(key / 4).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 24
}

/// A wheel, the entries that it serves, and the deadlines as a plain map.
struct Twin {
    wheel: Wheel,
    stale: usize,
    entries: BTreeMap<u16, Timer>,
    deadlines: BTreeMap<u16, u64>,
    now: u64,
}

impl Twin {
    fn new() -> Self {
        Twin {
            wheel: Wheel::new(START),
            stale: 0,
            entries: BTreeMap::new(),
            deadlines: BTreeMap::new(),
            now: START,
        }
    }

    /// EXPIRE, or SET EX over whatever is there.
    fn set(&mut self, key: u16, deadline_ms: u64) {
        let armed = match on_deadline_change(self.entries.get(&key).copied(), deadline_ms, self.now) {
            Change::Keep(armed) => armed,
            Change::Arm { stale } => {
                self.stale += usize::from(stale);
                self.wheel.arm(hash40(key), deadline_ms)
            }
        };
        self.entries.insert(key, Timer { deadline_ms, armed });
        self.deadlines.insert(key, deadline_ms);
    }

    fn remove(&mut self, key: u16) {
        if self.entries.remove(&key).is_some() {
            self.stale += 1;
        }
        self.deadlines.remove(&key);
    }

    /// Moves the clock and works off what is due, `budget` items at a time.
    fn go_to(&mut self, now: u64, budget: usize) {
        self.now = now;
        let mut due = Vec::new();
        loop {
            let before = due.len();
            let progress = self.wheel.advance(now, budget, &mut due);
            assert!(due.len() - before <= budget);
            for item in due.drain(..) {
                self.resolve(item);
            }
            if progress == Progress::Done {
                break;
            }
        }
        // Exactly those whose time has passed are gone.
        self.deadlines.retain(|_, &mut deadline_ms| !is_past(deadline_ms, now));
        assert_eq!(
            self.entries.iter().map(|(&key, t)| (key, t.deadline_ms)).collect::<Vec<_>>(),
            self.deadlines.iter().map(|(&key, &deadline_ms)| (key, deadline_ms)).collect::<Vec<_>>(),
        );
    }

    fn resolve(&mut self, item: Due) {
        let candidates: Vec<u16> =
            self.entries.keys().copied().filter(|&key| hash40(key) == item.hash40).collect();
        let mut hit = false;
        for key in candidates {
            let timer = self.entries[&key];
            match judge(Some(timer), item.tick, self.now) {
                Verdict::Expire => {
                    assert!(is_past(timer.deadline_ms, self.now), "never early");
                    assert!(self.entries.remove(&key).is_some(), "never twice");
                    hit = true;
                }
                Verdict::Rearm(at) => {
                    let armed = self.wheel.arm(hash40(key), at);
                    self.entries.insert(key, Timer { armed, ..timer });
                    hit = true;
                }
                Verdict::Stale => {}
            }
        }
        if !hit {
            self.stale = self.stale.saturating_sub(1);
        }
    }

    fn keep_up(&mut self, budget: usize) {
        match self.wheel.upkeep(self.stale).unwrap_or(Upkeep::Sweep) {
            Upkeep::Compact => _ = self.wheel.compact(budget),
            Upkeep::Sweep => {
                let live: HashSet<(u64, u32)> =
                    self.entries.iter().map(|(&key, t)| (hash40(key), t.armed)).collect();
                self.wheel.sweep(budget, |hash40, tick| live.contains(&(hash40, tick)));
            }
        }
    }

    /// What an idle worker relies on.
    fn check_sleep(&self) {
        let next = self.wheel.next_deadline();
        if let Some(first) = self.deadlines.values().min() {
            assert!(
                next.is_some_and(|at| at <= self.now.max(first.saturating_add(1))),
                "{next:?} would sleep past {first}"
            );
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Set(u16, u64),
    SetPast(u16, u64),
    Remove(u16),
    Advance(u64, usize),
    StepBack(u64),
    KeepUp(usize),
}

/// Lengths of time about every edge of the levels.
fn span() -> impl Strategy<Value = u64> {
    prop_oneof![
        4 => 0..300u64,
        3 => 0..70_000u64,
        2 => 0..(20 << 20) as u64,
        2 => 0..60 * DAY,
        1 => 0..3000 * DAY,
        1 => (0..33u32, 0..3u64).prop_map(|(bits, off)| ((1u64 << bits) + off).saturating_sub(1)),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0..40u16;
    prop_oneof![
        8 => (key.clone(), span()).prop_map(|(key, ms)| Op::Set(key, ms)),
        1 => (key.clone(), span()).prop_map(|(key, ms)| Op::SetPast(key, ms)),
        2 => key.prop_map(Op::Remove),
        6 => (span(), 1..40usize).prop_map(|(ms, budget)| Op::Advance(ms, budget)),
        1 => (18..40 * DAY).prop_map(Op::StepBack),
        1 => (1..20usize).prop_map(Op::KeepUp),
    ]
}

fn run(ops: &[Op]) {
    let mut twin = Twin::new();
    for op in ops {
        match *op {
            Op::Set(key, ms) => twin.set(key, twin.now + ms),
            Op::SetPast(key, ms) => twin.set(key, twin.now.saturating_sub(ms)),
            Op::Remove(key) => twin.remove(key),
            Op::Advance(ms, budget) => twin.go_to(twin.now + ms, budget),
            Op::StepBack(ms) => {
                twin.now -= ms;
                twin.wheel.shift(twin.now);
            }
            Op::KeepUp(budget) => twin.keep_up(budget),
        }
        twin.check_sleep();
    }
    // Everything that is left comes up at its millisecond, the worker sleeping in between.
    let mut wakes = 0;
    while let Some(at) = twin.wheel.next_deadline() {
        twin.go_to(at.max(twin.now), 7);
        twin.check_sleep();
        wakes += 1;
        assert!(wakes < 200_000, "the wheel does not come to rest");
    }
    assert!(twin.entries.is_empty() && twin.wheel.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 4 } else { 600 }, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_map_of_deadlines(ops in prop::collection::vec(op(), 1..if cfg!(miri) { 30 } else { 120 })) {
        run(&ops);
    }
}

#[test]
fn each_item_comes_up_in_its_own_millisecond() {
    let mut wheel = Wheel::new(START);
    let mut due = Vec::new();
    for ms in 0..MANY / 5 {
        wheel.arm(ms, START + ms);
    }
    for ms in 0..MANY / 5 {
        assert_eq!(wheel.advance(START + ms, usize::MAX, &mut due), Progress::Done);
        assert_eq!(due.len(), ms as usize, "served through the millisecond of its deadline");
        wheel.advance(START + ms + 1, usize::MAX, &mut due);
        assert_eq!(due.last(), Some(&Due { hash40: ms, tick: (START + ms) as u32 }));
    }
}

#[test]
fn a_slot_with_very_many_items_is_cascaded_and_worked_off_in_slices() {
    let n: u64 = if cfg!(miri) { 2000 } else { 1_000_000 };
    let budget = if cfg!(miri) { 100 } else { 10_000 };
    let mut wheel = Wheel::new(START);
    let deadline = START + 100_000;
    for i in 0..n {
        wheel.arm(i, deadline);
    }
    let (mut due, mut slices, mut longest) = (Vec::new(), 0, 0);
    let mut now = START;
    while !wheel.is_empty() {
        let before = due.len();
        if wheel.advance(now, budget, &mut due) == Progress::Done {
            now = wheel.next_deadline().unwrap_or(now);
        }
        slices += 1;
        longest = longest.max(due.len() - before);
        // Others come and go while the slot is half moved.
        wheel.arm((1 << 40) - 1, now + 300_000);
        wheel.arm((1 << 40) - 1, deadline);
        if slices > 5 * n / budget as u64 {
            break;
        }
    }
    let own: HashSet<u64> = due.iter().map(|item| item.hash40).filter(|&hash| hash < n).collect();
    assert_eq!(own.len() as u64, n, "none lost");
    assert!(due.iter().filter(|item| item.hash40 < n).count() as u64 == n, "none twice");
    assert!(longest <= budget);
}

/// At the edge of every level: when a slot's own time begins its items stand where they are due.
#[test]
fn nothing_that_is_due_waits_for_what_is_due_later() {
    for span in [1 << 8, 1 << 16, 1 << 24] {
        let mut wheel = Wheel::new(START);
        let edge = (START / span + 3) * span;
        // Due in the first millisecond of a slot, before very many that are due in the same slot.
        for i in 0..MANY {
            wheel.arm(i, edge + 1 + i % (span - 1));
        }
        wheel.arm(1 << 39, edge);
        let mut due = Vec::new();
        // As a worker does: it sleeps until there is something to do, and does that in small steps.
        let (mut wakes, mut now) = (0, START);
        while now <= edge {
            now = wheel.next_deadline().expect("not empty");
            wakes += 1;
            if now > edge {
                break;
            }
            while wheel.advance(now, 4, &mut due) == Progress::More {}
            assert!(due.is_empty());
        }
        assert!(wakes <= 5, "{wakes}");
        wheel.advance(edge + 1, 4, &mut due);
        assert_eq!(due, [Due { hash40: 1 << 39, tick: edge as u32 }], "in the first step");
    }
}

#[test]
fn memory_returns_after_a_burst_although_long_lived_items_stand_between() {
    let n: u64 = if cfg!(miri) { 40_000 } else { 600_000 };
    let mut wheel = Wheel::new(START);
    for i in 0..n {
        let far = i % 20 == 0;
        wheel.arm(i, if far { START + 20 * DAY + i * 50 } else { START + 1 + i % 5000 });
    }
    let (loaded, mut due) = (wheel.bytes(), Vec::new());
    assert!(loaded as u64 <= n * 9 + n / 4 + (200 << 10), "{loaded}");
    wheel.advance(START + 6000, usize::MAX, &mut due);
    assert_eq!(wheel.len() as u64, n / 20);
    while wheel.upkeep(0) == Some(Upkeep::Compact) {
        wheel.compact(1000);
    }
    assert!(wheel.bytes() as u64 <= n / 20 * 11 + (400 << 10), "{} of {loaded}", wheel.bytes());
    assert_eq!(wheel.upkeep(0), None, "comes to rest");
    due.clear();
    wheel.advance(START + 60 * DAY, usize::MAX, &mut due);
    assert_eq!((due.len() as u64, wheel.len()), (n / 20, 0));
    assert!(wheel.bytes() <= 80 << 10, "{}", wheel.bytes());
}

#[test]
fn stale_items_are_swept_once_they_outnumber_the_live() {
    let n: u64 = if cfg!(miri) { 2000 } else { 50_000 };
    let mut wheel = Wheel::new(START);
    let (mut armed, mut stale) = (BTreeMap::new(), 0);
    for round in 0..8u64 {
        for i in 0..n {
            if armed.insert(i, wheel.arm(i, START + DAY - round * 1000)).is_some() {
                stale += 1;
            }
            if wheel.upkeep(stale) == Some(Upkeep::Sweep) {
                let before = wheel.len();
                wheel.sweep(16, |hash40, tick| armed.get(&hash40) == Some(&tick));
                stale -= before - wheel.len();
            }
        }
        assert!(wheel.len() as u64 <= 3 * n, "{} items for {n} keys", wheel.len());
    }
    while wheel.upkeep(stale) == Some(Upkeep::Sweep) {
        let before = wheel.len();
        wheel.sweep(100, |hash40, tick| armed.get(&hash40) == Some(&tick));
        stale -= before - wheel.len();
    }
    let mut due = Vec::new();
    wheel.advance(START + DAY + 1, usize::MAX, &mut due);
    let live: Vec<_> = due.iter().filter(|item| armed.get(&item.hash40) == Some(&item.tick)).collect();
    assert_eq!(live.len() as u64, n);
}

#[test]
fn deleting_and_setting_to_the_same_time_leaves_no_heap_of_twins() {
    let mut wheel = Wheel::new(START);
    let (mut tick, mut stale) = (0, 0);
    for _ in 0..MANY * 10 {
        tick = wheel.arm(77, START + DAY);
        stale += 1;
        if wheel.upkeep(stale) == Some(Upkeep::Sweep) {
            let before = wheel.len();
            wheel.sweep(256, |hash40, at| (hash40, at) == (77, tick));
            stale -= before - wheel.len();
        }
    }
    assert!(wheel.len() < 5000, "{}", wheel.len());
    let mut due = Vec::new();
    wheel.advance(START + 2 * DAY, usize::MAX, &mut due);
    assert!(due.contains(&Due { hash40: 77, tick }));
}

#[test]
fn a_clock_set_forward_by_a_day_fires_everything_once_and_in_slices() {
    let mut wheel = Wheel::new(START);
    for i in 0..MANY {
        wheel.arm(i, START + i * 10_000);
    }
    let mut due = Vec::new();
    while wheel.advance(START + DAY, 100, &mut due) == Progress::More {}
    assert_eq!(due.len() as u64, MANY.min(DAY / 10_000));
    let ticks: Vec<u32> = due.iter().map(|item| item.tick).collect();
    assert!(ticks.iter().zip(&ticks[1..]).all(|(a, b)| b.wrapping_sub(*a) == 10_000), "in order");
}

#[test]
fn a_clock_set_back_by_a_day_loses_nothing_and_new_items_come_up_on_time() {
    let mut wheel = Wheel::new(START);
    for i in 0..MANY {
        wheel.arm(i, START + i);
    }
    let mut due = Vec::new();
    wheel.advance(START + 1, usize::MAX, &mut due);
    due.clear();
    let now = START - DAY;
    wheel.shift(now);
    assert!(wheel.next_deadline().is_some_and(|at| at <= now), "has something to move");
    wheel.arm(99_999, now + 5);
    while wheel.advance(now + 6, 100, &mut due) == Progress::More {
        assert!(due.len() <= 1);
    }
    assert_eq!(due, [Due { hash40: 99_999, tick: (now + 5) as u32 }]);
    wheel.advance(START + 20_000, usize::MAX, &mut due);
    assert_eq!((due.len() as u64, wheel.len()), (MANY, 0));
}

#[test]
fn a_clock_that_keeps_stepping_back_is_borne() {
    let mut wheel = Wheel::new(START);
    let mut due = Vec::new();
    let mut now = START;
    let steps = if cfg!(miri) { 20 } else { 200 };
    for i in 0..steps {
        for j in 0..20 {
            wheel.arm(i * 20 + j, now + 1000);
        }
        now -= 500;
        wheel.advance(now, 1, &mut due);
        assert!(wheel.retired_levels() <= 17);
    }
    assert!(due.is_empty());
    wheel.advance(START + 2000, usize::MAX, &mut due);
    assert_eq!(due.len() as u64, 20 * steps);
}

#[test]
fn jitter_of_the_clock_moves_nothing() {
    let mut wheel = Wheel::new(START);
    let mut due = Vec::new();
    wheel.arm(1, START + 100);
    wheel.advance(START + 50, 10, &mut due);
    wheel.advance(START + 50 - super::wheel::BACKSTEP_TOLERANCE_MS, 10, &mut due);
    assert_eq!(wheel.retired_levels(), 0);
    wheel.advance(START + 101, 10, &mut due);
    assert_eq!(due.len(), 1);
}
