//! The adaptive policy: ARC without its lists.
//!
//! ```text
//! access bits   15 T2: seen again    11..8 frequency, 0 to 7    7..0 tick of the last access
//! ghost         16 bits: fingerprint 12, T2 1, frequency 3; four of them are a set of 64 bits
//! ```
//!
//! ARC keeps what was seen once (T1) and what was seen again (T2) apart, and remembers for a
//! while what it dropped of each (ghosts). A key that comes back from a ghost of T1 says that
//! T1 is too small, one from T2 the opposite. Here the classes are a bit of the entry, each
//! class is ordered by age (and, in T2, by how often it was used), and the ghosts are small
//! sets of fingerprints, first in first out. The unit of age is the *tick*: as many evictions
//! as a sixteenth of the keys, which is about one round of the hand.
//!
//! ARC thrashes where a loop over more keys than fit comes back to each just after it went. That is
//! known by many of the new keys being ghosts of T2; the more there are, the more the keys of T2 are
//! ranked by their hash instead of their age, so that some of them stay and are hit every time round.
//!
//! Nor does age say of every workload which key seen once should go: where keys come back only after several
//! caches of others, the oldest is as good as any, or better. The ghosts know: a key of T1 comes back
//! from the youngest place of its set as often as from the third if age says nothing, more often if those that
//! were just dropped are wanted most, less often if the longer a key has waited the sooner it comes.
//! In the first case T1 goes by chance, in the second by age, in the third some stay for their hash.
//!
//! Nothing is counted on the request path. How much of the memory is T1 is estimated from what
//! the hand visits, so that bits of another policy, a flush or a resize cannot make it drift.
//!
//! The parameters are those of `docs/architecture.md`, "Eviction".

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering::Relaxed};

use arc_swap::ArcSwapOption;

const T2: u16 = 1 << 15;
const FREQUENCY_SHIFT: u16 = 8;
const FREQUENCY_MAX: u16 = 7;
/// Ages beyond this are all the same; the hand rewrites them before the tick comes round.
const AGE_MAX: u8 = 192;
/// What a key of T2 is spared for its frequency, in eighths of a doubling of its age.
const SPARED: [u32; 8] = [0, 4, 6, 8, 9, 10, 11, 12];
/// What a key of T2 is spared for its hash at most, and the shares of returning keys between which that rises.
const STICKY_MAX: u32 = 128;
const STICKY_FROM: f64 = 0.25;
const STICKY_TO: f64 = 0.4;
/// What a key of T1 is spared for its hash at most, and the parts of those that come back young (see [`Standing`]) between
/// which that rises.
const HELD_MAX: u32 = 512;
const HELD_FROM: f64 = 0.48;
const HELD_TO: f64 = 0.42;
/// What chance adds to the score of a key of T1 at most, where age says nothing and where it says much; and the parts of
/// those that come back young between which it goes from one to the other.
const CHANCE_MAX: u32 = 256;
const CHANCE_MIN: u32 = 16;
const CHANCE_FROM: f64 = 0.53;
const CHANCE_TO: f64 = 0.58;
/// So many keys that come back make up that part: fewer follow the phases of a workload too closely.
const COMPARED: f64 = 8192.0;
/// Ticks pass sixteen times as fast as the keys are evicted.
const TICKS_PER_KEYS: u64 = 16;

/// Entries seen last by which the share of a class is known.
const WINDOW: usize = 1024;

/// `floor(8 * log2(age + 1))`
const AGE_SCORE: [u8; AGE_MAX as usize + 1] = {
    let mut table = [0_u8; AGE_MAX as usize + 1];
    let mut age = 0;
    while age <= AGE_MAX as usize {
        // (age + 1)^8 < 2^61
        let mut power = 1_u64;
        let mut i = 0;
        while i < 8 {
            power *= age as u64 + 1;
            i += 1;
        }
        table[age] = power.ilog2() as u8;
        age += 1;
    }
    table
};

/// Access bits of a key that is new.
#[inline]
pub fn fresh(tick: u8) -> u16 {
    u16::from(tick)
}

/// Access bits of a key that comes back from a ghost.
#[inline]
pub fn returning(ghost: Remembered, tick: u8) -> u16 {
    let frequency = (u16::from(ghost.frequency) + 1).min(FREQUENCY_MAX);
    T2 | frequency << FREQUENCY_SHIFT | u16::from(tick)
}

/// Access bits after one more access.
#[inline]
pub fn touched(old: u16, tick: u8) -> u16 {
    let frequency = (frequency(old) + 1).min(FREQUENCY_MAX);
    T2 | frequency << FREQUENCY_SHIFT | u16::from(tick)
}

/// How often the key was seen again: 0 to 7, which is that or more.
#[inline]
pub fn frequency(bits: u16) -> u16 {
    bits >> FREQUENCY_SHIFT & FREQUENCY_MAX
}

/// Whether the key was seen again.
#[inline]
pub fn is_t2(bits: u16) -> bool {
    bits & T2 != 0
}

/// What the hand sees in an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sight {
    /// The higher, the sooner it goes.
    pub score: u32,
    /// Of those seen again?
    pub t2: bool,
    /// Bits to store instead, so that the age stays in range.
    pub rewrite: Option<u16>,
}

/// By what, besides age and frequency, the keys that a slice sees are ranked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lean {
    /// What the first by hash of T1 and of T2 are spared.
    spared: [u32; 2],
    /// What chance adds at most for keys of T1.
    chance: u32,
}

impl Lean {
    /// What a key of this class is spared; its hash is asked for only if it matters.
    #[inline]
    pub fn spared(&self, t2: bool, hash: impl FnOnce() -> u64) -> u32 {
        match self.spared[usize::from(t2)] {
            0 => 0,
            most => most * (hash() >> 20 & 15) as u32 / 15,
        }
    }

    /// What chance adds for a key of this class.
    #[inline]
    pub fn chance(&self, t2: bool, random: &mut fastrand::Rng) -> u32 {
        if t2 { 0 } else { random.u32(..=self.chance) }
    }
}

/// Looks at access bits; `spared` is what this key is spared for its hash, `chance` what is added by chance.
#[inline]
pub fn look(bits: u16, tick: u8, spared: u32, chance: u32) -> Sight {
    let age = tick.wrapping_sub(bits as u8);
    let clamped = age.min(AGE_MAX);
    let t2 = is_t2(bits);
    let mut score = u32::from(AGE_SCORE[usize::from(clamped)]) + SPARED[7] + HELD_MAX + chance;
    score -= spared.min(HELD_MAX);
    if t2 {
        score -= SPARED[usize::from(frequency(bits))];
    }
    let rewrite = (age > clamped).then(|| bits & 0xff00 | u16::from(tick.wrapping_sub(AGE_MAX)));
    Sight { score, t2, rewrite }
}

/// What a ghost tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// It had been seen again.
    pub t2: bool,
    /// Its frequency when it went.
    pub frequency: u8,
}

/// Where in its set a ghost was found, if the set has three at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    /// It was the youngest.
    Young,
    /// It was the third.
    Old,
    /// It was another one, or the set is too new for a comparison.
    Other,
}

/// Fingerprints of dropped keys: sets of four, first in first out, two bytes each.
struct Ghosts {
    sets: Box<[AtomicU64]>,
    /// Of T1 and of T2.
    counts: [AtomicUsize; 2],
}

const LANES: u32 = 4;
const LANE_BITS: u32 = 16;

fn lane(set: u64, i: u32) -> u16 {
    (set >> (i * LANE_BITS)) as u16
}

impl Ghosts {
    fn new(slots: usize) -> Ghosts {
        let sets = slots.div_ceil(LANES as usize).max(1);
        Ghosts { sets: (0..sets).map(|_| AtomicU64::new(0)).collect(), counts: Default::default() }
    }

    fn slots(&self) -> usize {
        self.sets.len() * LANES as usize
    }

    /// The set of a hash, and the fingerprint in place; never 0, which is an empty lane.
    fn place(&self, hash: u64) -> (&AtomicU64, u16) {
        let index = (u128::from(hash) * self.sets.len() as u128) >> 64;
        let fingerprint = ((hash >> 8) & 0xfff).max(1) as u16;
        (&self.sets[index as usize], fingerprint << 4)
    }

    fn put(&self, hash: u64, what: Remembered) {
        let (set, fingerprint) = self.place(hash);
        let new = fingerprint | u16::from(what.t2) << 3 | u16::from(what.frequency & 7);
        let push = |old: u64| Some(old << LANE_BITS | u64::from(new));
        let old = set.fetch_update(Relaxed, Relaxed, push).unwrap_or_else(|old| old);
        self.counts[usize::from(what.t2)].fetch_add(1, Relaxed);
        self.forget(lane(old, LANES - 1));
    }

    fn forget(&self, lane: u16) {
        if lane != 0 {
            let count = &self.counts[usize::from(lane >> 3 & 1)];
            // Racing updates may be off by a few, never below zero.
            let _ = count.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
        }
    }

    fn take(&self, hash: u64) -> Option<(Remembered, Standing)> {
        let (set, fingerprint) = self.place(hash);
        let mut found = None;
        let taken = set.fetch_update(Relaxed, Relaxed, |old| {
            let i = (0..LANES).find(|&i| lane(old, i) & 0xfff0 == fingerprint)?;
            let standing = match i {
                _ if lane(old, 2) == 0 => Standing::Other,
                0 => Standing::Young,
                2 => Standing::Old,
                _ => Standing::Other,
            };
            found = Some((lane(old, i), standing));
            let low = (1_u64 << (i * LANE_BITS)) - 1;
            // The younger ones stay, the older ones move up.
            Some((old >> LANE_BITS) & !low | old & low)
        });
        let (found, standing) = found.filter(|_| taken.is_ok())?;
        self.forget(found);
        Some((Remembered { t2: found >> 3 & 1 == 1, frequency: (found & 7) as u8 }, standing))
    }
}

/// What the classes have and may have, and the ghosts. All relaxed: estimates.
pub struct Balance {
    /// Ticks in 32.32 fixed point.
    clock: AtomicU64,
    /// Part of the memory that T1 may have, and has: f64 bits.
    target: AtomicU64,
    t1_share: AtomicU64,
    /// Part of the new keys that are ghosts of T2: f64 bits.
    back_in_t2: AtomicU64,
    /// Of the keys of T1 that come back, the young among the young and the old: f64 bits.
    back_young: AtomicU64,
    /// Mean bytes of a key.
    mean_bytes: AtomicU32,
    ghosts: ArcSwapOption<Ghosts>,
}

/// Young and old come back alike.
const ALIKE: f64 = 0.5;

impl Default for Balance {
    fn default() -> Balance {
        Balance {
            clock: AtomicU64::default(),
            target: AtomicU64::default(),
            t1_share: AtomicU64::default(),
            back_in_t2: AtomicU64::default(),
            back_young: AtomicU64::new(ALIKE.to_bits()),
            mean_bytes: AtomicU32::default(),
            ghosts: ArcSwapOption::default(),
        }
    }
}

fn get(cell: &AtomicU64) -> f64 {
    f64::from_bits(cell.load(Relaxed))
}

fn set(cell: &AtomicU64, value: f64) {
    cell.store(value.clamp(0.0, 1.0).to_bits(), Relaxed);
}

/// How far `x` is on its way `from` one value `to` another: 0 to 1.
fn way(x: f64, from: f64, to: f64) -> f64 {
    ((x - from) / (to - from)).clamp(0.0, 1.0)
}

impl Balance {
    /// The tick now.
    #[inline]
    pub fn tick(&self) -> u8 {
        (self.clock.load(Relaxed) >> 32) as u8
    }

    /// A key came back that is in a ghost: its bits, unless it is unknown. `bytes` is its size, `keys` are
    /// those in the database.
    pub fn returned(&self, hash: u64, bytes: usize, keys: usize, tick: u8) -> Option<u16> {
        let ghosts = self.ghosts.load();
        let ghosts = ghosts.as_ref()?;
        let known = ghosts.take(hash);
        let weight = 1.0 / (keys as f64 / 4.0).max(64.0);
        let seen = f64::from(u8::from(known.is_some_and(|(k, _)| k.t2)));
        let old = get(&self.back_in_t2);
        set(&self.back_in_t2, old + (seen - old) * weight);
        let (known, standing) = known?;
        if !known.t2 {
            self.compare(standing);
        }
        let count = |i: usize| ghosts.counts[i].load(Relaxed).max(1) as f64;
        let mean = f64::from(self.mean_bytes.load(Relaxed).max(1));
        let part = bytes as f64 / (mean * keys.max(1) as f64);
        let (t1, t2) = (count(0), count(1));
        let step = if known.t2 { -part * (t1 / t2).max(1.0) } else { part * (t2 / t1).max(1.0) };
        set(&self.target, get(&self.target) + step);
        Some(returning(known, tick))
    }

    /// A key of T1 came back from there.
    fn compare(&self, standing: Standing) {
        let young = match standing {
            Standing::Young => 1.0,
            Standing::Old => 0.0,
            Standing::Other => return,
        };
        let old = get(&self.back_young);
        set(&self.back_young, old + (young - old) / COMPARED);
    }

    /// By what the keys that a slice sees are ranked now.
    pub fn lean(&self) -> Lean {
        let (loops, young) = (get(&self.back_in_t2), get(&self.back_young));
        let sticky = way(loops, STICKY_FROM, STICKY_TO) * f64::from(STICKY_MAX);
        let held = way(young, HELD_FROM, HELD_TO) * f64::from(HELD_MAX);
        let chance = way(young, CHANCE_TO, CHANCE_FROM) * f64::from(CHANCE_MAX - CHANCE_MIN);
        Lean { spared: [held as u32, sticky as u32], chance: CHANCE_MIN + chance as u32 }
    }

    /// Whether the next victim is to be of T2.
    pub fn wants_t2(&self) -> bool {
        get(&self.t1_share) <= get(&self.target)
    }

    /// What a visit saw: bytes of both classes, and the number of entries; `keys` are in the database.
    pub fn saw(&self, t1: u64, t2: u64, entries: u32, keys: usize) {
        if t1 + t2 == 0 {
            return;
        }
        // About the last thousand entries count, or all there are.
        let weight = (f64::from(entries) / keys.clamp(1, WINDOW) as f64).min(1.0);
        let share = t1 as f64 / (t1 + t2) as f64;
        let old = get(&self.t1_share);
        set(&self.t1_share, old + (share - old) * weight);
        let mean = (t1 + t2) as f64 / f64::from(entries.max(1));
        let old = self.mean_bytes.load(Relaxed);
        let new = if old == 0 { mean } else { f64::from(old) + (mean - f64::from(old)) * weight };
        self.mean_bytes.store(new.round() as u32, Relaxed);
    }

    /// A key was evicted; it had these bits, and `keys` are left in its database.
    pub fn evicted(&self, hash: u64, bits: u16, keys: usize) {
        let t2 = is_t2(bits);
        self.clock.fetch_add((TICKS_PER_KEYS << 32) / keys.max(1) as u64, Relaxed);
        self.with_ghosts(keys, |ghosts| {
            ghosts.put(hash, Remembered { t2, frequency: frequency(bits) as u8 });
        });
    }

    /// The ghosts, as many as there are keys; begun anew when that has changed by half.
    fn with_ghosts(&self, keys: usize, f: impl FnOnce(&Ghosts)) {
        let ghosts = self.ghosts.load();
        if let Some(ghosts) = ghosts.as_ref()
            && ghosts.slots() / 2 <= keys.max(64)
            && ghosts.slots() * 3 / 2 + 64 >= keys
        {
            return f(ghosts);
        }
        let new = Arc::new(Ghosts::new(keys.max(64)));
        f(&new);
        self.ghosts.store(Some(new));
    }

    /// Bytes of the ghosts.
    pub fn bytes(&self) -> usize {
        self.ghosts.load().as_ref().map_or(0, |g| g.sets.len() * size_of::<u64>())
    }

    /// Another policy is in force: the ghosts go.
    pub fn forget(&self) {
        if self.ghosts.load().is_some() {
            self.ghosts.store(None);
            set(&self.back_young, ALIKE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_rise_with_age_and_spare_the_frequent() {
        assert_eq!((AGE_SCORE[0], AGE_SCORE[1], AGE_SCORE[3], AGE_SCORE[192]), (0, 8, 16, 60));
        let old = look(fresh(10), 20, 0, 0);
        let young = look(fresh(19), 20, 0, 0);
        assert!(old.score > young.score && !old.t2);
        let mut bits = fresh(10);
        for _ in 0..20 {
            bits = touched(bits, 10);
        }
        let frequent = look(bits, 20, 0, 0);
        assert!(frequent.t2 && frequent.score == old.score - 12);
        assert_eq!(frequent.rewrite, None);
    }

    #[test]
    fn an_age_out_of_range_is_rewritten_before_it_comes_round() {
        let sight = look(fresh(0), 200, 0, 0);
        assert_eq!(sight.rewrite, Some(8));
        assert_eq!(look(8, 200, 0, 0).rewrite, None);
        assert_eq!(look(8, 200, 0, 0).score, sight.score);
    }

    #[test]
    fn ghosts_are_first_in_first_out() {
        let ghosts = Ghosts::new(4);
        let hash = |i: u64| i << 8;
        for i in 1..=5 {
            ghosts.put(hash(i), Remembered { t2: i % 2 == 0, frequency: i as u8 });
        }
        let known = |t2, frequency, standing| Some((Remembered { t2, frequency }, standing));
        assert_eq!(ghosts.take(hash(1)), None);
        assert_eq!(ghosts.take(hash(3)), known(false, 3, Standing::Old));
        assert_eq!(ghosts.take(hash(3)), None);
        assert_eq!(ghosts.take(hash(5)), known(false, 5, Standing::Young));
        assert_eq!([0, 1].map(|i| ghosts.counts[i].load(Relaxed)), [0, 2]);
        assert_eq!(ghosts.take(hash(2)), known(true, 2, Standing::Other));
        assert_eq!(ghosts.take(hash(4)), known(true, 4, Standing::Other));
        assert_eq!([0, 1].map(|i| ghosts.counts[i].load(Relaxed)), [0, 0]);
    }

    #[test]
    fn keys_seen_once_go_by_age_where_the_young_come_back() {
        let balance = Balance::default();
        let come_back = |standing| (0..3 * COMPARED as u32).for_each(|_| balance.compare(standing));
        let hash = || u64::MAX;
        let unknown = balance.lean();
        assert_eq!((unknown.chance, unknown.spared), (CHANCE_MAX, [0, 0]));
        come_back(Standing::Other);
        assert_eq!(balance.lean(), unknown);
        come_back(Standing::Young);
        assert_eq!((balance.lean().chance, balance.lean().spared), (CHANCE_MIN, [0, 0]));
        come_back(Standing::Old);
        let late = balance.lean();
        assert_eq!(
            (late.chance, late.spared(false, hash), late.spared(true, hash)),
            (CHANCE_MAX, HELD_MAX, 0)
        );
        assert_eq!(late.spared(false, || 0), 0);
        // Whatever is added and spared, a score stays a number.
        assert_eq!(look(fresh(0), 0, HELD_MAX, 0).score, SPARED[7]);
        assert_eq!(late.chance(true, &mut fastrand::Rng::with_seed(1)), 0);
    }

    #[test]
    fn two_bytes_of_ghost_for_each_key() {
        let balance = Balance::default();
        for i in 0..1000_u64 {
            balance.evicted(i << 40, fresh(0), 10_000);
        }
        assert_eq!(balance.bytes(), 20_000);
        balance.forget();
        assert_eq!(balance.bytes(), 0);
    }
}
