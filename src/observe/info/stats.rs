//! Counters: stats, commandstats, errorstats, latencystats.

use super::{Facts, Text};
use crate::events::Scope;

pub(super) fn stats(text: &mut Text, facts: &Facts<'_>) {
    let (c, shared, rates) = (&facts.counters, facts.shared, facts.rates);
    text.field("total_connections_received", c.connections);
    text.field("total_commands_processed", c.total_commands);
    text.line(format_args!("instantaneous_ops_per_sec:{:.0}", rates.commands));
    text.field("total_net_input_bytes", c.net_in);
    text.field("total_net_output_bytes", c.net_out);
    text.zeros(&["total_net_repl_input_bytes", "total_net_repl_output_bytes"]);
    text.line(format_args!("instantaneous_input_kbps:{:.2}", rates.net_in / 1024.0));
    text.line(format_args!("instantaneous_output_kbps:{:.2}", rates.net_out / 1024.0));
    text.field("instantaneous_input_repl_kbps", "0.00");
    text.field("instantaneous_output_repl_kbps", "0.00");
    text.field("rejected_connections", c.rejected_connections);
    text.zeros(&["sync_full", "sync_partial_ok", "sync_partial_err"]);
    text.field("expired_subkeys", c.expired_fields);
    text.field("expired_keys", c.expired_keys);
    text.field("expired_stale_perc", "0.00");
    text.field("expired_time_cap_reached_count", c.expiry_cut_short);
    text.field("expire_cycle_cpu_milliseconds", c.expiry_cpu_ns / 1_000_000);
    text.field("expiry_turn_longest_usec", c.expiry_turn_longest_ns / 1000);
    text.field("evicted_keys", c.evicted_keys);
    text.field("evicted_clients", shared.clients.evicted());
    let (total, current) = shared.memory.exceeded_ms(crate::clock::mono_ms());
    text.field("total_eviction_exceeded_time", total);
    text.field("current_eviction_exceeded_time", current);
    text.field("keyspace_hits", c.keyspace_hits);
    text.field("keyspace_misses", c.keyspace_misses);
    text.field("pubsub_channels", shared.pubsub.count(Scope::Channel) + shared.feeds.count(Scope::Channel));
    text.field("pubsub_patterns", shared.pubsub.count(Scope::Pattern) + shared.feeds.count(Scope::Pattern));
    let [appended, failed, pending] = shared.outbox.figures();
    text.field("expiry_rule_entries", appended);
    text.field("expiry_rule_failures", failed);
    text.field("expiry_rule_pending", pending);
    text.field("pubsub_messages_delivered", shared.pubsub.delivered() + shared.feeds.delivered());
    text.field("pubsub_messages_lost", shared.clients.lost_messages());
    text.field("pubsubshard_channels", shared.pubsub.count(Scope::Shard));
    text.zeros(&["latest_fork_usec", "total_forks", "migrate_cached_sockets", "slave_expires_tracked_keys"]);
    let defrag = facts.shared.defrag.figures();
    text.field("active_defrag_hits", defrag.hits);
    text.field("active_defrag_misses", defrag.misses);
    text.zeros(&["active_defrag_key_hits", "active_defrag_key_misses"]);
    text.field("total_active_defrag_time", defrag.micros / 1000);
    text.zeros(&["current_active_defrag_time"]);
    let tracking = &facts.shared.tracking;
    text.field("tracking_total_keys", tracking.keys());
    text.field("tracking_total_items", tracking.items());
    text.field("tracking_total_prefixes", tracking.prefixes());
    text.zeros(&["unexpected_error_replies"]);
    text.field("total_error_replies", c.error_replies);
    text.zeros(&["dump_payload_sanitizations"]);
    text.field("total_reads_processed", c.reads);
    text.field("total_writes_processed", c.writes);
    text.zeros(&["io_threaded_reads_processed", "io_threaded_writes_processed"]);
    text.field("client_query_buffer_limit_disconnections", c.query_buffer_closed);
    text.field("client_output_buffer_limit_disconnections", c.output_buffer_closed);
    text.zeros(&["reply_buffer_shrinks", "reply_buffer_expands"]);
    cycles(text, facts);
    text.field("acl_access_denied_auth", c.denied_auth);
    text.zeros(&["acl_access_denied_cmd", "acl_access_denied_key", "acl_access_denied_channel"]);
}

/// A cycle of the event loop is a batch of commands from one read here.
fn cycles(text: &mut Text, facts: &Facts<'_>) {
    let micros = facts.counters.commands.iter().map(|c| c.nanos).sum::<u64>() / 1000;
    text.field("eventloop_cycles", facts.counters.reads);
    text.field("eventloop_duration_sum", micros);
    text.field("eventloop_duration_cmd_sum", micros);
    text.line(format_args!("instantaneous_eventloop_cycles_per_sec:{:.0}", facts.rates.reads));
    text.line(format_args!("instantaneous_eventloop_duration_usec:{:.0}", facts.rates.micros_per_read));
}

pub(super) fn commands(text: &mut Text, facts: &Facts<'_>) {
    for (id, c) in (0u16..).zip(&facts.counters.commands) {
        if c.calls == 0 && c.rejected == 0 && c.failed == 0 {
            continue;
        }
        let micros = c.nanos / 1000;
        let each = if c.calls == 0 { 0.0 } else { micros as f64 / c.calls as f64 };
        text.line(format_args!(
            "cmdstat_{}:calls={},usec={micros},usec_per_call={each:.2},rejected_calls={},failed_calls={}",
            (facts.command_name)(id),
            c.calls,
            c.rejected,
            c.failed
        ));
    }
}

pub(super) fn errors(text: &mut Text, facts: &Facts<'_>) {
    for (code, count) in &facts.counters.errors {
        text.line(format_args!("errorstat_{code}:count={count}"));
    }
}

pub(super) fn latencies(text: &mut Text, facts: &Facts<'_>) {
    for (id, c) in (0u16..).zip(&facts.counters.commands) {
        let Some(durations) = &c.durations else { continue };
        let percentiles = &facts.config.latency_tracking_info_percentiles.0;
        let values: Vec<String> = percentiles
            .iter()
            .map(|p| format!("p{p}={:.3}", durations.value_at_percentile(*p) as f64 / 1000.0))
            .collect();
        text.line(format_args!("latency_percentiles_usec_{}:{}", (facts.command_name)(id), values.join(",")));
    }
}
