//! Telling the store.

use std::time::Duration;

use tidings_core::{Seq, webhook::DeliveryState};
use tidings_store::{Command, CommandError, Operation, Outcome, Report};
use tokio::time::{Instant, sleep};

use super::{Happened, Over, Runner};

/// A cursor that nothing but passing by has moved is told no more often: it only lets retention go on.
const CURSOR_EVERY: Duration = Duration::from_secs(5);
/// Until a report that the store did not take is handed to it again.
const PAUSE: Duration = Duration::from_millis(500);

impl Runner {
    pub(super) fn report_when_due(&mut self) {
        let due = self.closing.is_some() && self.in_flight == 0;
        if self.refused
            || self.reporting.is_some()
            || !(due || self.report_at().is_some_and(|at| at <= Instant::now()))
        {
            return;
        }
        let low = self.low();
        let report = self.ledger.take((low > self.stored.0).then_some(low));
        if !report.is_empty() {
            self.submit(report, Duration::ZERO);
        }
    }

    /// When a report is due, where there is one to make.
    pub(super) fn report_at(&self) -> Option<Instant> {
        if self.refused || self.reporting.is_some() {
            return None;
        }
        let config = self.shared.config.load();
        let results = self.ledger.since().map(|since| {
            if self.ledger.attempts() >= config.flush_results { since } else { since + config.flush_every }
        });
        let cursor = (self.low() > self.stored.0).then(|| self.stored.1 + CURSOR_EVERY);
        results.into_iter().chain(cursor).min()
    }

    fn submit(&mut self, report: Report, after: Duration) {
        let (journal, tenant) = (self.shared.journal.clone(), self.endpoint.tenant.clone());
        let operation = Operation::Report(Box::new(report.clone()));
        self.reporting = Some(report);
        self.under_way.push(Box::pin(async move {
            if !after.is_zero() {
                sleep(after).await;
            }
            Happened::Reported(journal.submit(Command::Tenant { tenant, create: false, operation }).await)
        }));
    }

    /// What the store did not take is handed to it again as it was: taken twice it changes nothing but the delivery log.
    pub(super) fn reported(&mut self, outcome: Result<Outcome, CommandError>) {
        let Some(report) = self.reporting.take() else { return };
        match outcome {
            Ok(outcome) => {
                self.stored = (report.cursor.unwrap_or(self.stored.0), Instant::now());
                self.note_rows(&report);
                if matches!(outcome, Outcome::Reported { current: false }) {
                    self.closing.get_or_insert(Over::Anew);
                }
            }
            Err(CommandError::Busy | CommandError::Unavailable | CommandError::OutcomeUnknown) => {
                self.submit(report, PAUSE);
            }
            Err(error) => {
                // The endpoint or its tenant is gone, or may not be served; results are of no use then.
                tracing::debug!(endpoint = %self.endpoint.id, %error, "a report of deliveries was refused");
                self.refused = true;
                self.closing.get_or_insert(Over::Anew);
            }
        }
    }

    fn note_rows(&mut self, report: &Report) {
        let held = self.held.as_ref().map(|held| held.seq);
        let open = |seq: &Seq| Some(*seq) != held;
        for seq in report.delivered.iter().filter(|seq| open(seq)) {
            self.retries.reported(*seq);
        }
        for delivery in report.deliveries.iter().filter(|delivery| open(&delivery.seq)) {
            self.retries.reported(delivery.seq);
            if let DeliveryState::Retrying { next_at, .. } = delivery.state {
                self.retries.due(next_at);
            }
        }
    }
}
