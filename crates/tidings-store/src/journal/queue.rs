//! The commands that wait for one lane, in order of arrival.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
};

use foldhash::fast::RandomState;
use parking_lot::{Condvar, Mutex};
use tidings_core::TenantId;
use tokio::sync::oneshot;

use super::{
    JournalConfig,
    keys::{self, Keys},
    totals::Totals,
};
use crate::{Batch, Command, CommandError, Operation, Outcome};

/// What a command takes beside its texts, about.
const COMMAND_BYTES: usize = 512;

pub(super) type Reply = oneshot::Sender<Result<Outcome, CommandError>>;

/// A command with whoever waits for it.
pub(super) struct Pending {
    command: Command,
    reply: Reply,
    keys: Keys,
    bytes: usize,
}

impl Pending {
    pub(super) fn new(command: Command, reply: Reply) -> Self {
        let (keys, bytes) = (keys::of(&command), bytes_of(&command));
        Self { command, reply, keys, bytes }
    }

    fn tenant(&self) -> Option<&TenantId> {
        tenant_of(&self.command)
    }
}

fn tenant_of(command: &Command) -> Option<&TenantId> {
    match command {
        Command::Tenant { tenant, .. } => Some(tenant),
        _ => None,
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
        Command::Tenant { operation: Operation::PutSchedule { spec, .. }, .. } => spec.job.payload.len(),
        Command::Tenant { operation: Operation::Complete { result, .. }, .. } => {
            result.as_ref().map_or(0, tidings_core::RawJson::len)
        }
        _ => 0,
    };
    texts + COMMAND_BYTES
}

/// What a lane commits together, with whoever waits for it: a reply for each command.
pub(super) struct Work {
    pub(super) batch: Batch,
    pub(super) replies: Vec<Reply>,
}

impl Work {
    fn with_capacity(commands: usize) -> Self {
        let batch = Batch { commands: Vec::with_capacity(commands) };
        Self { batch, replies: Vec::with_capacity(commands) }
    }

    fn push(&mut self, pending: Pending) {
        self.batch.commands.push(pending.command);
        self.replies.push(pending.reply);
    }

    pub(super) fn len(&self) -> usize {
        self.replies.len()
    }

    /// Cuts the second half off. `None`: there is but one command.
    pub(super) fn halve(&mut self) -> Option<Self> {
        let half = self.len() / 2;
        (half > 0).then(|| Self {
            batch: Batch { commands: self.batch.commands.split_off(half) },
            replies: self.replies.split_off(half),
        })
    }
}

pub(super) struct Queue {
    totals: Arc<Totals>,
    state: Mutex<State>,
    /// Work is waiting, or the end has been asked for.
    wake: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Pending>,
    by_tenant: HashMap<TenantId, usize, RandomState>,
    closed: bool,
}

impl Queue {
    pub(super) fn new(totals: Arc<Totals>) -> Self {
        Self { totals, state: Mutex::default(), wake: Condvar::new() }
    }

    pub(super) fn push(&self, pending: Pending) -> Result<(), CommandError> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(CommandError::Unavailable);
        }
        if !self.totals.enter(pending.bytes) {
            return Err(CommandError::Busy);
        }
        if !state.enter(&pending, self.totals.config.tenant_queue_max) {
            self.totals.leave(1, pending.bytes);
            return Err(CommandError::Busy);
        }
        state.waiting.push_back(pending);
        let was_empty = state.waiting.len() == 1;
        drop(state);
        if was_empty {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for the next batch. `None`: the queue is closed and empty.
    pub(super) fn next(&self) -> Option<Work> {
        let mut state = self.state.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return None;
            }
            self.wake.wait(&mut state);
        }
        Some(self.gather(&mut state))
    }

    /// Takes the oldest commands, of which no two share a key. One that is passed over holds back the
    /// later ones of its keys, so that each key keeps its order.
    fn gather(&self, state: &mut State) -> Work {
        let JournalConfig { batch_max, batch_bytes_max, .. } = self.totals.config;
        let mut work = Work::with_capacity(state.waiting.len().min(batch_max));
        let mut taken: HashSet<u64, RandomState> = HashSet::default();
        let mut passed_over = VecDeque::new();
        let mut bytes = 0;
        while work.len() < batch_max {
            let Some(pending) = state.waiting.pop_front() else { break };
            if work.len() > 0 && bytes + pending.bytes > batch_bytes_max {
                state.waiting.push_front(pending);
                break;
            }
            let conflict = pending.keys.iter().any(|key| taken.contains(key));
            taken.extend(&pending.keys);
            if conflict {
                passed_over.push_back(pending);
            } else {
                bytes += pending.bytes;
                state.leave(&pending);
                work.push(pending);
            }
        }
        while let Some(pending) = passed_over.pop_back() {
            state.waiting.push_front(pending);
        }
        self.totals.leave(work.len(), bytes);
        work
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
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
            self.totals.leave(1, pending.bytes);
            let _ = pending.reply.send(Err(CommandError::Unavailable));
        }
    }
}

impl State {
    /// Counts a command into its tenant's share, where that is not used up.
    fn enter(&mut self, pending: &Pending, tenant_max: usize) -> bool {
        let Some(tenant) = pending.tenant() else { return true };
        match self.by_tenant.get_mut(tenant) {
            Some(count) if *count >= tenant_max => return false,
            Some(count) => *count += 1,
            None => {
                self.by_tenant.insert(tenant.clone(), 1);
            }
        }
        true
    }

    fn leave(&mut self, pending: &Pending) {
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
        let totals = Arc::new(Totals::new(JournalConfig::default()));
        let queue = Queue::new(Arc::clone(&totals));
        for _ in 0..2_000 {
            queue.push(cancel("crowded", 1)).expect("there is room");
        }
        queue.push(cancel("quiet", 2)).expect("there is room");
        let work = queue.next().expect("some wait");
        let tenants = work.batch.commands.iter().filter_map(tenant_of);
        assert_eq!(tenants.map(TenantId::as_str).collect::<Vec<_>>(), ["crowded", "quiet"]);
        assert_eq!(totals.stats().queued, 1_999);
    }
}
