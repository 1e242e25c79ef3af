//! Memory.

use super::{Facts, Text, human, ratio};
use crate::memory::{allocator, process};

pub(super) fn memory(text: &mut Text, facts: &Facts<'_>) {
    let used = facts.used;
    let rss = process::resident();
    text.bytes("used_memory", used.now);
    text.bytes("used_memory_rss", rss);
    text.bytes("used_memory_peak", used.peak);
    text.line(format_args!("used_memory_peak_perc:{:.2}%", ratio(used.now, used.peak) * 100.0));
    let overhead = overhead(facts);
    let dataset = used.now.saturating_sub(overhead);
    let net = used.now.saturating_sub(used.startup);
    text.field("used_memory_overhead", overhead);
    text.field("used_memory_startup", used.startup);
    text.field("used_memory_dataset", dataset);
    text.line(format_args!("used_memory_dataset_perc:{:.2}%", (ratio(dataset, net) * 100.0).min(100.0)));
    let a = used.allocator;
    text.field("allocator_allocated", a.allocated);
    text.field("allocator_active", a.active);
    text.field("allocator_resident", a.resident);
    let machine = usize::try_from(process::machine_memory()).unwrap_or(usize::MAX);
    text.bytes("total_system_memory", machine);
    text.zeros(&["used_memory_lua", "used_memory_vm_eval"]);
    text.field("used_memory_lua_human", human(0));
    text.zeros(&["used_memory_scripts_eval"]);
    text.zeros(&["number_of_cached_scripts", "number_of_functions", "number_of_libraries"]);
    text.zeros(&["used_memory_vm_functions"]);
    text.bytes("used_memory_vm_total", 0);
    text.zeros(&["used_memory_functions"]);
    text.bytes("used_memory_scripts", 0);
    let maxmemory = facts.shared.memory.limit();
    text.field("maxmemory", maxmemory);
    text.field("maxmemory_human", human(maxmemory));
    text.field("maxmemory_policy", facts.config.maxmemory_policy.word());
    fragmentation(text, facts, rss);
    text.field("mem_not_counted_for_evict", facts.shared.memory.uncounted());
    text.zeros(&["mem_replication_backlog", "mem_total_replication_buffers"]);
    text.zeros(&["mem_clients_slaves"]);
    text.field("mem_clients_normal", facts.clients.memory_normal);
    text.zeros(&["mem_cluster_links", "mem_aof_buffer"]);
    text.field("mem_allocator", allocator::name());
    text.field("active_defrag_running", facts.shared.defrag.figures().running);
    text.field("lazyfree_pending_objects", facts.shared.helper.pending());
    text.field("lazyfreed_objects", facts.shared.helper.freed());
    text.field("mem_segments", used.segments);
    text.field("mem_segments_spare", used.spare);
    text.field("mem_tables", tables(facts));
    text.field("mem_segments_dead", facts.databases.iter().map(|d| d.engines.bytes_dead).sum::<usize>());
}

fn fragmentation(text: &mut Text, facts: &Facts<'_>, rss: usize) {
    let a = facts.used.allocator;
    let signed = |part: usize, whole: usize| part as i64 - whole as i64;
    text.line(format_args!("allocator_frag_ratio:{:.2}", ratio(a.active, a.allocated)));
    text.field("allocator_frag_bytes", signed(a.active, a.allocated));
    text.line(format_args!("allocator_rss_ratio:{:.2}", ratio(a.resident, a.active)));
    text.field("allocator_rss_bytes", signed(a.resident, a.active));
    text.line(format_args!("rss_overhead_ratio:{:.2}", ratio(rss, a.resident)));
    text.field("rss_overhead_bytes", signed(rss, a.resident));
    text.line(format_args!("mem_fragmentation_ratio:{:.2}", ratio(rss, facts.used.now)));
    text.field("mem_fragmentation_bytes", signed(rss, facts.used.now));
}

fn tables(facts: &Facts<'_>) -> usize {
    facts.databases.iter().map(|d| d.engines.bytes_tables).sum()
}

/// All that is not the data set: what the process started with, clients, tables.
pub(super) fn overhead(facts: &Facts<'_>) -> usize {
    facts.used.startup + facts.clients.memory_normal + tables(facts)
}
