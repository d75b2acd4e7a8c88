use sha2::{Digest as _, Sha256};

use super::record::Line;

/// What a tenant's lines come to, each kind in its order.
#[derive(Default)]
pub(super) struct Digests {
    events: Sha256,
    jobs: Sha256,
    schedules: Sha256,
    endpoints: Sha256,
    deliveries: Sha256,
    keys: Sha256,
}

impl Digests {
    /// When a lease ends is left out: a store that was closed between two runs of an import has moved it.
    pub(super) fn add(&mut self, line: &Line) {
        let digest = match line {
            Line::Event(_) => &mut self.events,
            Line::Job(_) => &mut self.jobs,
            Line::Schedule(_) => &mut self.schedules,
            Line::Endpoint(_) => &mut self.endpoints,
            Line::Delivery(_) => &mut self.deliveries,
            Line::Key(_) => &mut self.keys,
            Line::Tidings { .. } | Line::Tenant(_) | Line::End { .. } => return,
        };
        digest.update(match line {
            Line::Job(job) => text(&Line::Job(Box::new(job.without_end_of_lease()))),
            line => text(line),
        });
        digest.update(b"\n");
    }

    /// What differs, if anything does.
    pub(super) fn difference(self, other: Self) -> Option<&'static str> {
        [
            ("events", self.events, other.events),
            ("jobs", self.jobs, other.jobs),
            ("schedules", self.schedules, other.schedules),
            ("webhook endpoints", self.endpoints, other.endpoints),
            ("webhook deliveries", self.deliveries, other.deliveries),
            ("keys", self.keys, other.keys),
        ]
        .into_iter()
        .find_map(|(what, a, b)| (a.finalize() != b.finalize()).then_some(what))
    }
}

/// A line as an archive has it, without its end.
pub(super) fn text(line: &Line) -> Vec<u8> {
    serde_json::to_vec(line).expect("a line has string keys and no failing serializer")
}
