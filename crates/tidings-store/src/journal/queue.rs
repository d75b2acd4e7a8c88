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
        self.command.tenant()
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
#[derive(Default)]
pub(super) struct Work {
    pub(super) batch: Batch,
    pub(super) replies: Vec<Reply>,
}

impl Work {
    fn reserve(&mut self, commands: usize) {
        self.batch.commands.reserve(commands);
        self.replies.reserve(commands);
    }

    fn push(&mut self, pending: Pending) {
        self.batch.commands.push(pending.command);
        self.replies.push(pending.reply);
    }

    pub(super) fn len(&self) -> usize {
        self.replies.len()
    }

    /// Takes out what dispatchers report. The order of either is kept.
    pub(super) fn take_reports(&mut self) -> Self {
        let mut reports = Self::default();
        if self.batch.commands.iter().any(Command::is_report) {
            let all = std::mem::take(self);
            for (command, reply) in all.batch.commands.into_iter().zip(all.replies) {
                let part = if command.is_report() { &mut reports } else { &mut *self };
                part.batch.commands.push(command);
                part.replies.push(reply);
            }
        }
        reports
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

/// Where callers leave their commands. The lane takes what has come in one move, and gathers its batches
/// without keeping anybody from leaving more.
pub(super) struct Queue {
    totals: Arc<Totals>,
    state: Mutex<State>,
    /// Something has come, or the end has been asked for.
    wake: Condvar,
}

/// How many commands of one tenant wait.
#[derive(Default)]
struct Waiting {
    claims: usize,
    /// Those that the tenant's share of the queue is for: claims ring all at once, and nobody is to be told that it asked too much
    /// who only waits for work.
    others: usize,
}

#[derive(Default)]
struct State {
    arrived: VecDeque<Pending>,
    /// What waits of each tenant, in the lane's line as well.
    by_tenant: HashMap<TenantId, Waiting, RandomState>,
    closed: bool,
}

/// What a lane has taken from its queue and not yet committed: older than all that has arrived since.
#[derive(Default)]
pub(super) struct Line(VecDeque<Pending>);

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
        state.arrived.push_back(pending);
        let is_first = state.arrived.len() == 1;
        drop(state);
        if is_first {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for the next batch. `None`: the queue is closed, and all of it was taken.
    pub(super) fn next(&self, line: &mut Line) -> Option<Work> {
        if line.0.is_empty() && !self.wait(line) {
            return None;
        }
        let is_shared = self.state.lock().by_tenant.len() > 1;
        let mut gathering = Gathering::new(&self.totals.config, is_shared);
        gathering.take(&mut line.0);
        if !gathering.is_full {
            // All that was in the line and stays is held back: it goes before what has come since.
            std::mem::swap(&mut self.state.lock().arrived, &mut line.0);
            gathering.take(&mut line.0);
        }
        let Gathering { work, held_back, bytes, .. } = gathering;
        for pending in held_back.into_iter().rev() {
            line.0.push_front(pending);
        }
        self.state.lock().leave(&work.batch);
        self.totals.leave(work.len(), bytes);
        Some(work)
    }

    /// Takes what has come into the empty line, once there is something. `false`: nothing ever will be.
    fn wait(&self, line: &mut Line) -> bool {
        let mut state = self.state.lock();
        while state.arrived.is_empty() {
            if state.closed {
                return false;
            }
            self.wake.wait(&mut state);
        }
        std::mem::swap(&mut state.arrived, &mut line.0);
        true
    }

    pub(super) fn close(&self) {
        self.state.lock().closed = true;
        self.wake.notify_one();
    }

    /// Lets everyone go who still waits.
    pub(super) fn abandon(&self, line: &mut Line) {
        let arrived = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.arrived)
        };
        // These were never handed to the store.
        for pending in line.0.drain(..).chain(arrived) {
            self.totals.leave(1, pending.bytes);
            let _ = pending.reply.send(Err(CommandError::Unavailable));
        }
    }
}

/// A batch as it comes together: the oldest commands, of which no two share a key. One that is held back
/// holds back the later ones of its keys, so that each key keeps its order.
///
/// Where several tenants wait, one that has had its share of the batch waits for the next with all that it has: so the line of one is
/// not in front of everybody, and what is committed before the others is not much.
struct Gathering {
    commands_max: usize,
    bytes_max: usize,
    work: Work,
    bytes: usize,
    taken: HashSet<u64, RandomState>,
    /// Where there are several.
    shares: Option<Shares>,
    held_back: Vec<Pending>,
    is_full: bool,
}

/// What each tenant has of a batch.
struct Shares {
    commands_max: usize,
    bytes_max: usize,
    of: HashMap<TenantId, Share, RandomState>,
}

#[derive(Default)]
struct Share {
    commands: usize,
    bytes: usize,
    is_over: bool,
}

impl Shares {
    /// Whether the tenant may have this one as well. Once it may not, it gets nothing more: its commands stay in order.
    fn admit(&mut self, pending: &Pending) -> bool {
        let Some(tenant) = pending.tenant() else { return true };
        if !self.of.contains_key(tenant) {
            self.of.insert(tenant.clone(), Share::default());
        }
        let share = self.of.get_mut(tenant).expect("it is there");
        share.is_over |= share.commands > 0
            && (share.commands >= self.commands_max || share.bytes + pending.bytes > self.bytes_max);
        if share.is_over {
            return false;
        }
        share.commands += 1;
        share.bytes += pending.bytes;
        true
    }
}

impl Gathering {
    fn new(config: &JournalConfig, is_shared: bool) -> Self {
        Self {
            commands_max: config.batch_max,
            bytes_max: config.batch_bytes_max,
            work: Work::default(),
            bytes: 0,
            taken: HashSet::default(),
            shares: is_shared.then(|| Shares {
                commands_max: config.batch_max / config.batch_shares,
                bytes_max: config.batch_bytes_max / config.batch_shares,
                of: HashMap::default(),
            }),
            held_back: Vec::new(),
            is_full: false,
        }
    }

    fn take(&mut self, waiting: &mut VecDeque<Pending>) {
        self.work.reserve(waiting.len().min(self.commands_max - self.work.len()));
        while let Some(pending) = waiting.pop_front() {
            let is_held_back = pending.keys.iter().any(|key| self.taken.contains(key))
                || self.shares.as_mut().is_some_and(|shares| !shares.admit(&pending));
            if !is_held_back && self.work.len() > 0 && self.bytes + pending.bytes > self.bytes_max {
                waiting.push_front(pending);
                self.is_full = true;
                return;
            }
            self.taken.extend(&pending.keys);
            if is_held_back {
                self.held_back.push(pending);
                continue;
            }
            self.bytes += pending.bytes;
            self.work.push(pending);
            if self.work.len() == self.commands_max {
                self.is_full = true;
                return;
            }
        }
    }
}

impl State {
    /// Counts a command into its tenant's share, where that is not used up.
    fn enter(&mut self, pending: &Pending, tenant_max: usize) -> bool {
        let Some(tenant) = pending.tenant() else { return true };
        if !self.by_tenant.contains_key(tenant) {
            self.by_tenant.insert(tenant.clone(), Waiting::default());
        }
        let waiting = self.by_tenant.get_mut(tenant).expect("it is there");
        if matches!(pending.command, Command::Claim(_)) {
            waiting.claims += 1;
        } else if waiting.others < tenant_max {
            waiting.others += 1;
        } else {
            return false;
        }
        true
    }

    /// Gives the shares of a batch's commands back.
    fn leave(&mut self, batch: &Batch) {
        for run in batch.commands.chunk_by(|a, b| a.tenant() == b.tenant()) {
            if let Some(tenant) = run[0].tenant()
                && let Some(waiting) = self.by_tenant.get_mut(tenant)
            {
                let claims = run.iter().filter(|command| matches!(command, Command::Claim(_))).count();
                waiting.claims -= claims;
                waiting.others -= run.len() - claims;
                if waiting.claims == 0 && waiting.others == 0 {
                    self.by_tenant.remove(tenant);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{claim, one};
    use tidings_core::JobId;

    fn cancel(tenant: &str, job: u16) -> Pending {
        let mut id = [0; 16];
        id[..2].copy_from_slice(&job.to_be_bytes());
        let operation = Operation::Cancel { job: JobId::from_bytes(id) };
        let tenant = TenantId::new(tenant).expect("valid");
        Pending::new(Command::Tenant { tenant, create: false, operation }, oneshot::channel().0)
    }

    fn queue() -> (Queue, Arc<Totals>) {
        let totals = Arc::new(Totals::new(JournalConfig::default()));
        (Queue::new(Arc::clone(&totals)), totals)
    }

    #[test]
    fn a_tenants_claims_count_in_its_share() {
        let (queue, _) = queue();
        let claim = |_| Pending::new(claim(one("crowded"), &["work"], 1), oneshot::channel().0);
        (0..1_000).map(claim).for_each(|claim| queue.push(claim).expect("there is room"));
        queue.push(cancel("quiet", 1)).expect("there is room");
        assert_eq!(queue.next(&mut Line::default()).expect("some wait").len(), 64 + 1);
    }

    #[test]
    fn claims_take_nothing_of_their_tenants_share_of_the_queue() {
        let (queue, totals) = queue();
        let claims =
            || (0..3_000).map(|_| Pending::new(claim(one("acme"), &["work"], 1), oneshot::channel().0));
        claims().for_each(|claim| queue.push(claim).expect("there is room"));
        (0..2_048).for_each(|n| queue.push(cancel("acme", n)).expect("there is room"));
        assert!(matches!(queue.push(cancel("acme", 2_049)), Err(CommandError::Busy)));
        claims().for_each(|claim| queue.push(claim).expect("there is room"));
        let mut line = Line::default();
        while totals.stats().queued > 0 {
            queue.next(&mut line).expect("some wait");
        }
        assert!(queue.state.lock().by_tenant.is_empty());
    }

    /// The next batch's commands of a tenant.
    fn jobs_of(tenant: &str, work: &Work) -> Vec<u16> {
        let job = |command: &Command| match command {
            Command::Tenant { tenant: of, operation: Operation::Cancel { job }, .. }
                if of.as_str() == tenant =>
            {
                Some(u16::from_be_bytes([job.as_bytes()[0], job.as_bytes()[1]]))
            }
            _ => None,
        };
        work.batch.commands.iter().filter_map(job).collect()
    }

    #[test]
    fn one_tenants_line_for_one_job_keeps_no_other_tenant_waiting() {
        let (queue, totals) = queue();
        for _ in 0..2_000 {
            queue.push(cancel("crowded", 1)).expect("there is room");
        }
        queue.push(cancel("quiet", 2)).expect("there is room");
        let work = queue.next(&mut Line::default()).expect("some wait");
        let tenants = work.batch.commands.iter().filter_map(Command::tenant);
        assert_eq!(tenants.map(TenantId::as_str).collect::<Vec<_>>(), ["crowded", "quiet"]);
        assert_eq!(totals.stats().queued, 1_999);
    }

    #[test]
    fn a_tenants_line_is_behind_all_others_but_for_its_share() {
        let (queue, _) = queue();
        (0..1_000).for_each(|n| queue.push(cancel("crowded", n)).expect("there is room"));
        queue.push(cancel("quiet", 5_001)).expect("there is room");
        let mut line = Line::default();
        let first = queue.next(&mut line).expect("some wait");
        assert_eq!(jobs_of("crowded", &first), (0..64).collect::<Vec<_>>());
        assert_eq!(jobs_of("quiet", &first), [5_001]);
        // Now that it is alone again it has whole batches, in its order.
        let second = queue.next(&mut line).expect("some wait");
        assert_eq!(jobs_of("crowded", &second), (64..576).collect::<Vec<_>>());
        // One that comes into the middle has the next batch.
        queue.push(cancel("quiet", 5_002)).expect("there is room");
        let third = queue.next(&mut line).expect("some wait");
        assert_eq!(jobs_of("crowded", &third), (576..640).collect::<Vec<_>>());
        assert_eq!(jobs_of("quiet", &third), [5_002]);
    }
}
