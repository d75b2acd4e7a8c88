//! The commands that wait, in order of arrival.

use std::collections::{HashMap, HashSet, VecDeque};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::TenantId;
use tokio::sync::oneshot;

use super::{
    JournalConfig, JournalStats,
    keys::{self, Keys},
};
use crate::{Command, CommandError, Operation, Outcome};

/// What a command takes beside its texts, about.
const COMMAND_BYTES: usize = 512;

pub(super) type Reply = oneshot::Sender<Result<Outcome, CommandError>>;

/// A command with whoever waits for it.
pub(super) struct Pending {
    pub(super) command: Command,
    pub(super) reply: Reply,
    keys: Keys,
    bytes: usize,
}

impl Pending {
    pub(super) fn new(command: Command, reply: Reply) -> Self {
        let (keys, bytes) = (keys::of(&command), bytes_of(&command));
        Self { command, reply, keys, bytes }
    }

    fn tenant(&self) -> Option<&TenantId> {
        match &self.command {
            Command::Tenant { tenant, .. } => Some(tenant),
            _ => None,
        }
    }
}

fn bytes_of(command: &Command) -> usize {
    let texts = match command {
        Command::Tenant { operation: Operation::Enqueue { jobs, .. }, .. } => {
            jobs.iter().map(|job| job.spec.payload.len() + COMMAND_BYTES).sum()
        }
        Command::Tenant { operation: Operation::EnqueueLeased { job, .. }, .. } => job.spec.payload.len(),
        Command::Tenant { operation: Operation::Publish { events, .. }, .. } => {
            events.iter().map(|event| event.body.len() + COMMAND_BYTES).sum()
        }
        Command::Tenant { operation: Operation::Complete { result, .. }, .. } => {
            result.as_ref().map_or(0, tidings_core::RawJson::len)
        }
        _ => 0,
    };
    texts + COMMAND_BYTES
}

pub(super) struct Queue {
    config: JournalConfig,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Pending>,
    bytes: usize,
    by_tenant: HashMap<TenantId, usize, RandomState>,
    closed: bool,
    batches: u64,
    commands: u64,
}

impl Queue {
    pub(super) fn new(config: JournalConfig) -> Self {
        Self { config, state: Mutex::default() }
    }

    /// Says whether the queue was empty, so that the task may have to be woken.
    pub(super) fn push(&self, pending: Pending) -> Result<bool, CommandError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(CommandError::Unavailable);
        }
        let full = state.waiting.len() >= self.config.queue_max
            || (state.bytes + pending.bytes > self.config.queue_bytes_max && !state.waiting.is_empty());
        if full {
            return Err(CommandError::Busy);
        }
        if let Some(tenant) = pending.tenant() {
            match state.by_tenant.get_mut(tenant) {
                Some(count) if *count >= self.config.tenant_queue_max => return Err(CommandError::Busy),
                Some(count) => *count += 1,
                None => {
                    let tenant = tenant.clone();
                    state.by_tenant.insert(tenant, 1);
                }
            }
        }
        state.bytes += pending.bytes;
        state.waiting.push_back(pending);
        Ok(state.waiting.len() == 1)
    }

    /// Takes the next batch: the oldest commands, of which no two share a key. One that is passed over
    /// holds back the later ones of its keys, so that each key keeps its order.
    pub(super) fn gather(&self) -> Vec<Pending> {
        let mut state = self.state.lock();
        let mut batch = Vec::with_capacity(state.waiting.len().min(self.config.batch_max));
        let mut taken: HashSet<u64, RandomState> = HashSet::default();
        let mut passed_over = VecDeque::new();
        let mut bytes = 0;
        while batch.len() < self.config.batch_max {
            let Some(pending) = state.waiting.pop_front() else { break };
            if !batch.is_empty() && bytes + pending.bytes > self.config.batch_bytes_max {
                state.waiting.push_front(pending);
                break;
            }
            let conflict = pending.keys.iter().any(|key| taken.contains(key));
            taken.extend(&pending.keys);
            if conflict {
                passed_over.push_back(pending);
            } else {
                bytes += pending.bytes;
                state.release(&pending);
                batch.push(pending);
            }
        }
        while let Some(pending) = passed_over.pop_back() {
            state.waiting.push_front(pending);
        }
        batch
    }

    pub(super) fn count(&self, batches: u64, commands: usize) {
        let mut state = self.state.lock();
        state.batches += batches;
        state.commands += commands as u64;
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }

    /// Lets everyone go who still waits.
    pub(super) fn abandon(&self) {
        let waiting = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        // These were never handed to the store.
        for pending in waiting {
            let _ = pending.reply.send(Err(CommandError::Unavailable));
        }
    }

    pub(super) fn stats(&self) -> JournalStats {
        let state = self.state.lock();
        JournalStats {
            queued: state.waiting.len(),
            queued_bytes: state.bytes,
            batches: state.batches,
            commands: state.commands,
        }
    }
}

impl State {
    fn release(&mut self, pending: &Pending) {
        self.bytes -= pending.bytes;
        if let Some(tenant) = pending.tenant()
            && let Some(count) = self.by_tenant.get_mut(tenant)
        {
            *count -= 1;
            if *count == 0 {
                self.by_tenant.remove(tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::JobId;

    fn cancel(tenant: &str, job: u8) -> Pending {
        let operation = Operation::Cancel { job: JobId::from_bytes([job; 16]) };
        let tenant = TenantId::new(tenant).expect("valid");
        Pending::new(Command::Tenant { tenant, create: false, operation }, oneshot::channel().0)
    }

    #[test]
    fn one_tenants_line_for_one_job_keeps_no_other_tenant_waiting() {
        let queue = Queue::new(JournalConfig::default());
        for _ in 0..2_000 {
            queue.push(cancel("crowded", 1)).expect("there is room");
        }
        queue.push(cancel("quiet", 2)).expect("there is room");
        let batch = queue.gather();
        let tenants: Vec<_> = batch.iter().filter_map(Pending::tenant).map(TenantId::as_str).collect();
        assert_eq!(tenants, ["crowded", "quiet"]);
        assert_eq!(queue.stats().queued, 1_999);
    }
}
