//! The closed loop: every connection keeps one batch of requests in flight and sends the
//! next when the last reply of the batch is there.

use anyhow::{Result, bail};

use crate::clock::now_ns;
use crate::reply::Pending;
use crate::request::Generator;
use crate::tally::Tally;
use crate::worker::{Limit, STALL_NS, Wait, Worker};

/// Longest sleep in a wait; also how soon a stall or a deadline is noticed.
const WAIT_MS: u64 = 100;

/// Runs until the limit and returns when every reply is there: afterwards the server is idle.
pub fn run(worker: &mut Worker, requests: &mut Generator, pipeline: u64, limit: Limit) -> Result<Tally> {
    let mut tally = Tally::new()?;
    let start = now_ns();
    let mut to_send = limit.requests;
    let mut busy = 0usize;
    for id in 0..worker.conns.len() {
        busy += usize::from(send_batch(worker, requests, id, pipeline, &mut to_send, start)?);
    }
    let mut empty_waits = 0;
    while busy > 0 {
        let events = worker.poll(Wait::Millis(WAIT_MS), |w, id| {
            let now = now_ns();
            let conn = &mut w.conns[id];
            // One that waits for nothing may still be told something (RESP3).
            let waited = !conn.pending.is_empty();
            conn.receive(&mut w.scratch, &mut w.scanner, |sent, class| {
                tally.reply(class, now.saturating_sub(sent.at));
            })?;
            if waited && conn.pending.is_empty() {
                busy -= 1;
                w.renew(id)?;
                if now < limit.deadline_ns {
                    busy += usize::from(send_batch(w, requests, id, pipeline, &mut to_send, now)?);
                }
            }
            Ok(())
        })?;
        worker.show_progress(tally.replies);
        empty_waits = if events == 0 { empty_waits + 1 } else { 0 };
        if empty_waits * WAIT_MS * 1_000_000 > STALL_NS {
            bail!(
                "no reply for {} s, {} requests unanswered",
                STALL_NS / 1_000_000_000,
                worker.outstanding()
            );
        }
    }
    tally.settle();
    tally.elapsed_ns = now_ns() - start;
    tally.first_bad = worker.scanner.first_bad.take();
    tally.pushes = std::mem::take(&mut worker.scanner.pushes);
    tally.reconnects = std::mem::take(&mut worker.reconnects);
    Ok(tally)
}

/// Sends up to `pipeline` requests on one connection; false when the budget is used up.
#[inline]
fn send_batch(
    worker: &mut Worker,
    requests: &mut Generator,
    id: usize,
    pipeline: u64,
    to_send: &mut u64,
    now: u64,
) -> Result<bool> {
    let n = pipeline.min(*to_send);
    if n == 0 {
        return Ok(false);
    }
    *to_send -= n;
    worker.out.clear();
    let conn = &mut worker.conns[id];
    for _ in 0..n {
        let (kind, key) = requests.push(&mut worker.out);
        conn.pending.push_back(Pending { at: now, key, kind });
    }
    conn.send(&worker.epoll, &worker.out)?;
    Ok(true)
}
