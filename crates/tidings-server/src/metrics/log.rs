use std::sync::Arc;

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use tidings_core::{Event, EventType};
use tidings_store::BatchObserved;

use super::distribution::{COUNTS, Distribution, LATENCY_SECONDS};

/// What is committed.
#[derive(Debug)]
pub(crate) struct Log {
    batch_commands: Distribution,
    batch_events: Distribution,
    duration: Distribution,
    published: Counter,
    /// One for each known job event, ready: the commit path looks nothing up.
    jobs: Vec<(EventType, Counter)>,
    /// Commands that wait; set when it is asked for.
    pub(crate) queued: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Transition {
    event: &'static str,
}

const JOB_EVENTS: [(EventType, &str); 8] = [
    (EventType::JOB_QUEUED, "queued"),
    (EventType::JOB_SCHEDULED, "scheduled"),
    (EventType::JOB_STARTED, "started"),
    (EventType::JOB_PROGRESS, "progress"),
    (EventType::JOB_RETRYING, "retrying"),
    (EventType::JOB_COMPLETED, "completed"),
    (EventType::JOB_FAILED, "failed"),
    (EventType::JOB_CANCELLED, "cancelled"),
];

impl Log {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let jobs = Family::<Transition, Counter>::default();
        registry.register("jobs_transitions", "Job events committed, by what happened", jobs.clone());
        let ready = JOB_EVENTS.map(|(kind, event)| (kind, jobs.get_or_create_owned(&Transition { event })));
        let log = Self {
            batch_commands: Distribution::new(COUNTS),
            batch_events: Distribution::new(COUNTS),
            duration: Distribution::new(LATENCY_SECONDS),
            published: Counter::default(),
            jobs: ready.into(),
            queued: Gauge::default(),
        };
        registry.register("log_commit_batch_commands", "Commands per commit", log.batch_commands.clone());
        registry.register("log_commit_batch_events", "Events per commit", log.batch_events.clone());
        registry.register(
            "log_commit_duration_seconds",
            "From handing a batch to the store until its answer",
            log.duration.clone(),
        );
        registry.register("events_published", "Published events committed", log.published.clone());
        registry.register("log_queue_commands", "Commands that wait for a commit", log.queued.clone());
        log
    }

    pub(crate) fn committed(&self, events: &[Arc<Event>]) {
        for event in events {
            let kind = &event.fact.event_type;
            match self.jobs.iter().find(|(known, _)| known == kind) {
                Some((_, counter)) => counter.inc(),
                None => self.published.inc(),
            };
        }
    }

    pub(crate) fn batch(&self, batch: BatchObserved) {
        self.batch_commands.observe(batch.commands as f64);
        self.batch_events.observe(batch.events as f64);
        self.duration.observe(batch.duration.as_secs_f64());
    }
}
