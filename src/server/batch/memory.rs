//! What a worker tells of the memory that it took and gave back, and the samples that set the sum right.

use super::Runner;
use crate::clock;
use crate::commands::room;

impl Runner {
    /// What was allocated since the last batch counts against the limit.
    #[inline]
    pub fn note_memory(&mut self) {
        if self.lane.local.room.has_freed_much() && self.shared.helper.fragmented.ring() {
            self.shared.keyspace.wake_helper();
        }
        if self.lane.local.room.limit != 0 {
            let (room, participant) = (&mut self.lane.local.room, &mut self.participant);
            room.bound_unused(&self.shared, false);
            if room.after_batch(&self.shared, || participant.enter().live_bytes()) {
                self.pay_back();
            }
        }
    }

    /// Before and after a step outside of a batch that may free what another thread allocated: nothing is evicted for it.
    #[inline]
    pub fn report_memory(&mut self) {
        let limit = self.shared.memory.limit();
        if limit != 0 {
            self.lane.local.room.begin(limit);
            self.lane.local.room.report(&self.shared);
        }
    }

    #[cold]
    fn pay_back(&mut self) {
        let Runner { shared, participant, lane, config, .. } = self;
        room::pay_back(shared, config.load(), lane.hands(), &participant.enter(), clock::now_ms());
        self.serve_ready();
    }

    /// Rates, memory in use and, with `maxmemory auto`, the pressure on it: a few times a second.
    #[cold]
    pub(super) fn sample(&mut self, now: u64) {
        let Runner { shared, participant, lane, config, .. } = self;
        let live = || participant.enter().live_bytes();
        let used = shared.sampler.take_if_due(now, clock::mono_ms(), &shared.stats, &shared.keyspace, live);
        if let Some(used) = used {
            shared.memory.calibrate(used.allocator.allocated);
            lane.local.room.calibrated(shared, used.now as u64);
            if shared.helper.in_use.ring() {
                shared.keyspace.wake_helper();
            }
        }
        if room::wants_look_at_pressure(shared, config.load(), now) {
            shared.helper.ask_pressure();
            shared.keyspace.wake_helper();
        }
    }
}
