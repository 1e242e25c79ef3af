//! Time limits of connections: idle ones, half-sent requests, slow readers.
//!
//! One task looks at all clients once a second, and only while some limit is in force; an
//! idle process has no tick.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use crate::clients::{ClientHandle, Role, State, output_limit};
use crate::clock;
use crate::config::Config;
use crate::server::connection::panic_text;
use crate::shared::Shared;

/// Called by the owner after a write that left `waiting` bytes.
pub fn note_output(handle: &ClientHandle, waiting: usize, shared: &Shared) {
    let soft = output_limit(&shared.config.load(), handle.role()).soft;
    let over = soft > 0 && waiting as u64 > soft;
    let since = &handle.figures.over_soft_since_ms;
    if !over {
        since.store(0, Relaxed);
    } else if since.load(Relaxed) == 0 {
        since.store(clock::mono_ms().max(1), Relaxed);
    }
}

/// Runs on one worker for the life of the process.
pub async fn run(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(Duration::from_secs(1)).await;
        if shared.clients.count() == 0 {
            shared.clients.wait_for_any().await;
            continue;
        }
        // A panic is a bug; it must not be the end of all time limits.
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| round(&shared))) {
            tracing::error!("the watch over time limits ended in a panic: {}", panic_text(&*payload));
        }
    }
}

fn round(shared: &Shared) {
    let config = shared.config.load_full();
    let now = clock::mono_ms();
    for client in shared.clients.list() {
        if let Some(why) = overdue(&client, &config, now) {
            tracing::debug!(client = client.id, "closing client: {why}");
            client.kill();
        }
    }
}

fn overdue(client: &ClientHandle, config: &Config, now: u64) -> Option<&'static str> {
    let figures = &client.figures;
    let partial = figures.partial_since_ms.load(Relaxed);
    let limit = u64::from(config.partial_frame_timeout);
    let blocked = client.state().contains(State::BLOCKED);
    if partial > 0 && limit > 0 && !blocked && now.saturating_sub(partial) > limit {
        return Some("its request stayed unfinished for too long");
    }
    let idle = now.saturating_sub(figures.last_ms.load(Relaxed));
    let exempt = client.state().intersects(State::BLOCKED | State::MONITOR) || client.role() != Role::Normal;
    if config.timeout > 0 && !exempt && idle > u64::from(config.timeout) * 1000 {
        return Some("it was idle for too long");
    }
    let over = figures.over_soft_since_ms.load(Relaxed);
    let soft = output_limit(config, client.role());
    if over > 0 && soft.seconds > 0 && now.saturating_sub(over) > soft.seconds * 1000 {
        client.set(State::OVER_LIMIT);
        return Some("its replies waited beyond the soft limit for too long");
    }
    None
}
