//! MEMORY DOCTOR: what the figures mean, and what to do about it.

use super::ratio;
use crate::config::EvictionPolicy;
use crate::memory::limits;
use crate::observe::info::Facts;

/// Below this, ratios say nothing.
const SMALL: usize = 5 << 20;
const MIB: usize = 1 << 20;

/// What a diagnosis is made from. Bytes, unless said otherwise.
#[derive(Debug, Clone, Copy, Default)]
struct Patient {
    used: usize,
    peak: usize,
    resident: usize,
    /// `maxmemory` as it is in force, 0 for none; and what counts against it.
    limit: u64,
    counted: u64,
    evicts: bool,
    /// Milliseconds over the limit in all.
    exceeded_ms: u64,
    /// What the system grants the process.
    ceiling: u64,
    segments: usize,
    dead: usize,
    allocated: usize,
    active: usize,
    /// Values that wait to be freed.
    unfreed: usize,
    entries_nearly_full: bool,
    clients: usize,
    clients_memory: usize,
    largest_output: usize,
    hits: u64,
    misses: u64,
    evicted: u64,
}

/// A symptom and its remedy, for everything that is wrong.
pub(super) fn diagnosis(facts: &Facts<'_>, resident: usize) -> String {
    let (used, shared, counters) = (facts.used, facts.shared, &facts.counters);
    text(&Patient {
        used: used.now,
        peak: used.peak,
        resident,
        limit: shared.memory.limit(),
        counted: used.now as u64 - (shared.memory.uncounted() as u64).min(used.now as u64),
        evicts: facts.config.maxmemory_policy != EvictionPolicy::Noeviction,
        exceeded_ms: shared.memory.exceeded_ms(crate::clock::mono_ms()).0,
        ceiling: limits::ceiling(),
        segments: used.segments,
        dead: facts.databases.iter().map(|d| d.engines.bytes_dead).sum(),
        allocated: used.allocator.allocated,
        active: used.allocator.active,
        unfreed: shared.helper.pending(),
        entries_nearly_full: shared.keyspace.is_nearly_full(),
        clients: facts.clients.connected,
        clients_memory: facts.clients.memory_normal,
        largest_output: facts.clients.recent_max_output,
        hits: counters.keyspace_hits,
        misses: counters.keyspace_misses,
        evicted: counters.evicted_keys,
    })
}

fn text(patient: &Patient) -> String {
    let mut found = Vec::new();
    limit(patient, &mut found);
    clients(patient, &mut found);
    if patient.used >= SMALL {
        holes(patient, &mut found);
        evictions(patient, &mut found);
    } else if found.is_empty() {
        return "This instance is empty or nearly so: there is too little memory in use to say anything about it.\n"
            .to_owned();
    }
    if found.is_empty() {
        return "No memory problem was found.\n".to_owned();
    }
    found.iter().map(|line| format!("* {line}\n")).collect()
}

fn percent(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part * 100.0 / whole } else { 0.0 }
}

/// What may end in refused writes or in the end of the process.
fn limit(p: &Patient, found: &mut Vec<String>) {
    let of_ceiling = percent(p.resident as f64, p.ceiling as f64);
    if p.limit == 0 && of_ceiling > 60.0 {
        found.push(format!(
            "No limit: {of_ceiling:.0} % of what the system grants ({} MiB) is resident, and nothing stops growth before the \
             kernel does. CONFIG SET maxmemory auto keeps a distance to the limit of the container.",
            p.ceiling >> 20
        ));
    } else if of_ceiling > 90.0 {
        found.push(format!(
            "Near the end: {of_ceiling:.0} % of what the system grants is resident. Lower maxmemory, or set it to auto, which \
             looks at the kernel's pressure too."
        ));
    }
    let of_limit = percent(p.counted as f64, p.limit as f64);
    if p.limit > 0 && of_limit > 95.0 && !p.evicts {
        found.push(format!(
            "Full: {of_limit:.0} % of maxmemory is in use, and maxmemory-policy is noeviction, so writes are refused at 100 %. \
             CONFIG SET maxmemory-policy allkeys-arc makes this a cache; deadlines (EXPIRE) or a higher limit keep every key."
        ));
    }
    if p.exceeded_ms > 1000 {
        found.push(format!(
            "Over the limit: for {:.1} s in all, memory grew faster than it was made free. Leave maxmemory more room below the \
             container's limit.",
            p.exceeded_ms as f64 / 1000.0
        ));
    }
    if p.entries_nearly_full {
        found.push(
            "Address space: the space that is reserved for entries is almost full, and writes are refused when it is. A process \
             has 32 GiB for keys and short values at most: spread the keys over several."
                .to_owned(),
        );
    }
}

/// Memory that holds nothing.
fn holes(p: &Patient, found: &mut Vec<String>) {
    if p.peak > p.used / 2 * 3 {
        found.push(format!(
            "Peak: {} MiB were in use once, {} MiB are now. If resident memory ({} MiB) stays high for more than some seconds, \
             MEMORY PURGE compacts and gives back at once.",
            p.peak / MIB,
            p.used / MIB,
            p.resident / MIB
        ));
    }
    let spread = ratio(p.resident, p.used);
    if spread > 1.4 && p.resident - p.used.min(p.resident) > 10 * MIB {
        let allocator = ratio(p.active, p.allocated) > 1.2;
        let cause = match allocator {
            true => {
                "collections and large strings of many sizes came and went, and what is left of them holds pages; they fill up \
                 again as the cache grows"
            }
            false => "segments are being compacted in the background; MEMORY PURGE does it at once",
        };
        found.push(format!("Fragmentation: resident memory is {spread:.2} times what is in use: {cause}."));
    }
    if p.dead > p.segments / 5 * 3 && p.dead > MIB {
        found.push(format!(
            "Dead entries: {:.0} % of the segments wait to be compacted, more than the helper thread keeps up with. It needs CPU \
             time: look at the quota of the container.",
            percent(p.dead as f64, p.segments as f64)
        ));
    }
    if p.unfreed > 1000 {
        found.push(format!(
            "Frees: {} values wait for the helper thread. It needs CPU time: look at the quota of the container.",
            p.unfreed
        ));
    }
}

/// Memory of those who do not read, or send too much.
fn clients(p: &Patient, found: &mut Vec<String>) {
    if p.clients > 0 && p.clients_memory / p.clients > 200 << 10 {
        found.push(format!(
            "Client buffers: {} KiB for each of {} clients on average. CLIENT LIST says whose (tot-mem, omem, qbuf); \
             maxmemory-clients bounds the sum.",
            (p.clients_memory / p.clients) >> 10,
            p.clients
        ));
    }
    if p.largest_output > 32 * MIB {
        found.push(format!(
            "One client does not read: {} MiB wait for it. client-output-buffer-limit closes such clients.",
            p.largest_output / MIB
        ));
    }
}

/// A cache that is too small for what is asked of it.
fn evictions(p: &Patient, found: &mut Vec<String>) {
    let asked = p.hits + p.misses;
    let missed = percent(p.misses as f64, asked as f64);
    if p.limit > 0 && p.evicted > 1000 && asked > 10_000 && missed > 50.0 {
        found.push(format!(
            "Small cache: {} keys were evicted, and {missed:.0} % of the reads find nothing. Raise maxmemory, shorten values, or \
             try maxmemory-policy allkeys-arc (INFO and /metrics have the hit ratio of each policy).",
            p.evicted
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn well() -> Patient {
        Patient {
            used: 100 * MIB,
            peak: 110 * MIB,
            resident: 120 * MIB,
            ceiling: 1 << 30,
            segments: 80 * MIB,
            allocated: 30 * MIB,
            active: 32 * MIB,
            clients: 10,
            clients_memory: 100 << 10,
            evicts: true,
            ..Patient::default()
        }
    }

    #[test]
    fn who_is_well_hears_so() {
        assert_eq!(text(&well()), "No memory problem was found.\n");
        assert!(text(&Patient { used: 100, ..Patient::default() }).starts_with("This instance is empty"));
    }

    #[test]
    fn each_symptom_has_its_remedy() {
        let cases: [(Patient, &str, &str); 12] = [
            (Patient { resident: 700 * MIB, used: 690 * MIB, ..well() }, "No limit", "maxmemory auto"),
            (
                Patient { resident: 950 * MIB, used: 940 * MIB, limit: 1 << 30, ..well() },
                "Near the end",
                "auto",
            ),
            (Patient { limit: 100, counted: 99, evicts: false, ..well() }, "Full", "allkeys-arc"),
            (Patient { exceeded_ms: 2_000, ..well() }, "Over the limit: for 2.0 s", "more room"),
            (Patient { entries_nearly_full: true, ..well() }, "Address space", "spread the keys"),
            (Patient { peak: 200 * MIB, ..well() }, "Peak: 200 MiB", "MEMORY PURGE"),
            (Patient { resident: 200 * MIB, ..well() }, "Fragmentation", "MEMORY PURGE"),
            (Patient { resident: 200 * MIB, active: 60 * MIB, ..well() }, "Fragmentation", "many sizes"),
            (Patient { dead: 60 * MIB, ..well() }, "Dead entries: 75 %", "CPU"),
            (Patient { unfreed: 5_000, ..well() }, "Frees: 5000", "CPU"),
            (Patient { clients_memory: 10 * MIB, ..well() }, "Client buffers: 1024 KiB", "CLIENT LIST"),
            (Patient { largest_output: 64 * MIB, ..well() }, "One client", "client-output-buffer-limit"),
        ];
        for (patient, symptom, remedy) in cases {
            let said = text(&patient);
            assert!(said.starts_with(&format!("* {symptom}")) && said.contains(remedy), "{said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
        let small = Patient { limit: 1 << 30, evicted: 5_000, hits: 5_000, misses: 15_000, ..well() };
        assert!(text(&small).contains("75 % of the reads find nothing"));
    }
}
