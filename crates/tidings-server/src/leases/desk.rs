use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use serde::Deserialize;
use tidings_core::{Event, EventType, JobType, TenantId, Tenants, Timestamp};
use tidings_live::MoveSink;
use tokio::sync::Notify;

use super::interest::Interest;

/// Where workers wait for jobs.
///
/// A worker takes its place *before* it looks for jobs, so that none that is committed in between is
/// missed. A job that becomes available wakes one place: the oldest that waits for its type and tenant,
/// else the oldest that is just looking, which then looks once more. A place that was woken and leaves
/// with jobs, or leaves altogether, passes its turn on: to one of the same interest, which can take all
/// that it could, else to one of each interest that shares something with its own. So no job waits
/// while a worker does.
///
/// One lock, held for a walk over the groups of equal interest; nothing is awaited under it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Desk(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    groups: Mutex<Groups>,
    /// The earliest time at which a group has something due moved forward.
    due_moved: Notify,
}

#[derive(Debug, Default)]
struct Groups {
    list: Vec<Group>,
    next_place: u64,
    /// Types whose running jobs are limited: each that ends makes room for another.
    limited: Vec<JobType>,
}

/// The places of one interest, oldest first.
#[derive(Debug)]
struct Group {
    interest: Interest,
    places: VecDeque<Entry>,
    /// When the next job of this interest falls due, as far as is known.
    due: Option<Timestamp>,
    /// When a hint last woke one of them.
    hinted: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    looking: bool,
    /// Woken and not yet looked again, or leaving while there may be more: it has a turn to pass on.
    woken: bool,
    bell: Arc<Notify>,
}

/// One worker's place at the desk; dropping it leaves.
#[derive(Debug)]
pub(crate) struct Place {
    desk: Desk,
    interest: Interest,
    number: u64,
    bell: Arc<Notify>,
}

impl Desk {
    /// `limited` are the types of which a tenant may have only so many running.
    pub(crate) fn new(limited: Vec<JobType>) -> Self {
        let groups = Mutex::new(Groups { limited, ..Groups::default() });
        Self(Arc::new(Shared { groups, ..Shared::default() }))
    }

    /// The same from now on. Everyone looks again, since there may be room now. Call it when the store knows the limits.
    pub(crate) fn limit(&self, limited: Vec<JobType>) {
        self.0.groups.lock().limited = limited;
        self.ring_all();
    }

    /// Takes a place and starts looking.
    pub(crate) fn take_place(&self, tenants: Tenants, types: Vec<JobType>) -> Place {
        let interest = Interest::new(tenants, types);
        let bell = Arc::new(Notify::new());
        let mut groups = self.0.groups.lock();
        let number = groups.next_place;
        groups.next_place += 1;
        let entry = Entry { number, looking: true, woken: false, bell: Arc::clone(&bell) };
        if let Some(group) = groups.group_mut(&interest) {
            group.places.push_back(entry);
        } else {
            let group = Group { interest: interest.clone(), places: [entry].into(), due: None, hinted: None };
            groups.list.push(group);
        }
        drop(groups);
        Place { desk: self.clone(), interest, number, bell }
    }

    /// Wakes workers for what these events made available. Called at each commit; never blocks long.
    pub(crate) fn committed(&self, events: &[Arc<Event>]) {
        let mut groups = self.0.groups.lock();
        if groups.list.is_empty() {
            return;
        }
        let mut due_moved = false;
        for event in events {
            let Some(job) = &event.fact.job else { continue };
            match availability(event) {
                Some(at) if at > event.time => due_moved |= groups.due_at(&event.tenant, &job.job_type, at),
                Some(_) => groups.wake_one(&event.tenant, &job.job_type),
                None => {}
            }
            if ends_lease(&event.fact.event_type) && groups.limited.contains(&job.job_type) {
                groups.wake_one(&event.tenant, &job.job_type);
            }
        }
        drop(groups);
        if due_moved {
            self.0.due_moved.notify_one();
        }
    }

    /// When [`Desk::ring_due`] has something to do next.
    pub(crate) fn next_due(&self) -> Option<Timestamp> {
        self.0.groups.lock().list.iter().filter_map(|g| g.due).min()
    }

    /// Returns when [`Desk::next_due`] may have become earlier.
    pub(crate) async fn due_moved(&self) {
        self.0.due_moved.notified().await;
    }

    /// Something was committed for these tenants, perhaps by another server: jobs may be among it. One worker
    /// of each group that takes from one of them looks, at most four times a second.
    pub(crate) fn moved(&self, tenants: &[TenantId], now: Instant) {
        const EVERY: Duration = Duration::from_millis(250);
        let mut groups = self.0.groups.lock();
        for group in &mut groups.list {
            let recently = group.hinted.is_some_and(|at| now.duration_since(at) < EVERY);
            if !recently && tenants.iter().any(|tenant| group.interest.reaches(tenant)) {
                group.hinted = Some(now);
                group.wake();
            }
        }
    }

    /// Wakes one worker of each group that has something due.
    pub(crate) fn ring_due(&self, now: Timestamp) {
        let mut groups = self.0.groups.lock();
        for group in groups.list.iter_mut().filter(|g| g.due.is_some_and(|due| due <= now)) {
            group.due = None;
            group.wake();
        }
    }

    /// Wakes everyone: the server is stopping, a tenant has come back, or limits have changed.
    pub(crate) fn ring_all(&self) {
        for entry in self.0.groups.lock().list.iter_mut().flat_map(|g| &mut g.places) {
            entry.wake();
        }
    }

    #[cfg(test)]
    fn waiting(&self) -> usize {
        self.0.groups.lock().list.iter().map(|g| g.places.len()).sum()
    }
}

/// What the store says has moved, whoever committed it.
impl MoveSink for Desk {
    fn moved(&self, tenants: &[TenantId]) {
        self.moved(tenants, Instant::now());
    }
}

impl Place {
    /// Call it after looking found nothing, with when the next job falls due; returns when it is worth
    /// looking again. Cancel-safe: the place is kept.
    pub(crate) async fn wait(&self, next_due: Option<Timestamp>) {
        if let Some(due) = next_due {
            let mut groups = self.desk.0.groups.lock();
            let moved = groups.group_mut(&self.interest).is_some_and(|group| group.due_by(due));
            drop(groups);
            if moved {
                self.desk.0.due_moved.notify_one();
            }
        }
        // The flag decides; the bell may hold a ring that an earlier wait was told of already.
        while !self.take_turn() {
            self.bell.notified().await;
        }
    }

    /// Whether it was woken: then it is looking again, else it waits from now on.
    fn take_turn(&self) -> bool {
        let mut groups = self.desk.0.groups.lock();
        let entry = groups.group_mut(&self.interest).and_then(|group| group.entry_mut(self.number));
        entry.is_none_or(|entry| {
            entry.looking = std::mem::take(&mut entry.woken);
            entry.looking
        })
    }

    #[cfg(test)]
    fn is_looking(&self) -> bool {
        let mut groups = self.desk.0.groups.lock();
        groups.group_mut(&self.interest).and_then(|g| g.entry_mut(self.number)).is_some_and(|e| e.looking)
    }

    /// Leaves with jobs. `more` says whether others may be left; else `next_due` when there will be.
    pub(crate) fn leave_served(self, more: bool, next_due: Option<Timestamp>) {
        let mut groups = self.desk.0.groups.lock();
        if let Some(group) = groups.group_mut(&self.interest) {
            if let Some(due) = next_due {
                group.due_by(due);
            }
            if let Some(entry) = group.entry_mut(self.number) {
                entry.looking = false;
                entry.woken |= more;
            }
        }
        drop(groups);
        if next_due.is_some() {
            self.desk.0.due_moved.notify_one();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut groups = self.desk.0.groups.lock();
        // One that is still looking had no answer: what it was woken for may be there yet.
        if groups.remove(&self.interest, self.number).is_some_and(|entry| entry.woken || entry.looking) {
            groups.pass_on(&self.interest);
        }
    }
}

impl Groups {
    fn group_mut(&mut self, interest: &Interest) -> Option<&mut Group> {
        self.list.iter_mut().find(|g| g.interest == *interest)
    }

    /// Takes a place out, and its group with it where it was the last.
    fn remove(&mut self, interest: &Interest, number: u64) -> Option<Entry> {
        let at = self.list.iter().position(|g| g.interest == *interest)?;
        let places = &mut self.list[at].places;
        let entry = places.iter().position(|e| e.number == number).and_then(|i| places.remove(i));
        if places.is_empty() {
            self.list.swap_remove(at);
        }
        entry
    }

    /// Someone else looks for what a place of this interest may have left.
    fn pass_on(&mut self, interest: &Interest) {
        if let Some(group) = self.group_mut(interest) {
            group.wake();
            return;
        }
        for group in self.list.iter_mut().filter(|g| g.interest.overlaps(interest)) {
            group.wake();
        }
    }

    /// Wakes the oldest place that waits for this, else the oldest that is looking.
    fn wake_one(&mut self, tenant: &TenantId, job_type: &JobType) {
        let mut entries: Vec<_> = self
            .list
            .iter_mut()
            .filter(|g| g.interest.covers(tenant, job_type))
            .filter_map(Group::next)
            .collect();
        if let Some(entry) = entries.iter_mut().min_by_key(|e| (e.looking, e.number)) {
            entry.wake();
        }
    }

    /// Notes for each group that waits for this when it falls due; whether any has moved forward.
    fn due_at(&mut self, tenant: &TenantId, job_type: &JobType, at: Timestamp) -> bool {
        let mut moved = false;
        for group in self.list.iter_mut().filter(|g| g.interest.covers(tenant, job_type)) {
            moved |= group.due_by(at);
        }
        moved
    }
}

impl Group {
    fn due_by(&mut self, at: Timestamp) -> bool {
        let moved = self.due.is_none_or(|due| at < due);
        if moved {
            self.due = Some(at);
        }
        moved
    }

    fn entry_mut(&mut self, number: u64) -> Option<&mut Entry> {
        self.places.iter_mut().find(|e| e.number == number)
    }

    /// Whose turn it is: the oldest place that waits, else the oldest that is looking.
    fn next(&mut self) -> Option<&mut Entry> {
        self.places.iter_mut().filter(|e| !e.woken).min_by_key(|e| (e.looking, e.number))
    }

    fn wake(&mut self) {
        if let Some(entry) = self.next() {
            entry.wake();
        }
    }
}

impl Entry {
    fn wake(&mut self) {
        self.woken = true;
        if !self.looking {
            self.bell.notify_one();
        }
    }
}

/// When the job that an event tells of can be leased; `None` where the event makes no job available.
fn availability(event: &Event) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct Data {
        run_at: Timestamp,
    }
    let kind = &event.fact.event_type;
    if *kind == EventType::JOB_QUEUED {
        return Some(event.time);
    }
    if *kind != EventType::JOB_SCHEDULED && *kind != EventType::JOB_RETRYING {
        return None;
    }
    let data = serde_json::from_slice::<Data>(event.fact.body.minimal.as_bytes());
    Some(data.map_or(event.time, |data| data.run_at))
}

fn ends_lease(kind: &EventType) -> bool {
    kind.is_terminal() || *kind == EventType::JOB_RETRYING
}

#[cfg(test)]
mod tests;
