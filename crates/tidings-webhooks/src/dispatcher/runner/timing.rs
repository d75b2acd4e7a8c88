use std::time::Duration;

use tokio::time::Instant;

use super::Runner;

/// How long nothing is looked at where nothing is known to fall due.
const IDLE: Duration = Duration::from_hours(1);
/// When a node that has no slot is asked again, should nobody ring.
const CROWDED: Duration = Duration::from_millis(100);

impl Runner {
    /// When something falls due of itself.
    pub(super) fn wake_at(&self) -> Instant {
        let (now, clock) = (Instant::now(), self.shared.clock.now());
        let report = self.report_at();
        if self.closing.is_some() {
            return report.unwrap_or(now + IDLE);
        }
        let held = self.held.as_ref().map(|held| held.next_at);
        let due = [self.turns.own, self.turns.of_tenant, self.quiet_until, held, self.retries.next_look()];
        // What is past already waits for something else.
        let due = due.into_iter().flatten().filter(|at| *at > clock).min().map(|at| now + at.since(clock));
        let age = self.next_age();
        let crowded = self.crowded.then_some(now + CROWDED);
        [report, due, crowded, age].into_iter().flatten().min().unwrap_or(now + IDLE)
    }
}
