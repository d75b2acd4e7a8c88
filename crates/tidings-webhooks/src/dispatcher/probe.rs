//! Trying whether a receiver is back: one event, and where that is taken the endpoint is active again.

use std::sync::Arc;

use tidings_core::{Endpoint, webhook::Attempt};
use tidings_store::{Command, EndpointChange, Operation, Report};

use super::{Shared, reader::Reader, resend, route::Message};

/// One attempt with what the endpoint is owed first: what is retried, else its next event. Nothing where it is owed nothing.
pub(super) async fn try_once(shared: &Arc<Shared>, endpoint: &Arc<Endpoint>) {
    let config = shared.config.load_full();
    let Some(route) = shared.route(endpoint, &config) else { return };
    let (owed, retried) = match retried(shared, endpoint).await {
        Some(message) => (Some(message), true),
        None => (next(shared, endpoint).await, false),
    };
    let Some(message) = owed else { return };
    let at = shared.clock.now();
    let attempt = route.attempt(&shared.sender, (&*shared.clock, &*shared.entropy), &config, &message).await;
    shared.stats.attempted(attempt.failure);
    let back = attempt.failure.is_none();
    let mut report = Report::new(endpoint.id, endpoint.generation);
    report.attempts.push(Attempt {
        seq: message.seq,
        event: message.event,
        number: 1,
        at,
        latency: attempt.latency,
        status: attempt.status,
        request_bytes: attempt.request_bytes,
        answer_bytes: attempt.answer_bytes,
        answer: attempt.answer,
        failure: attempt.failure,
        next_at: None,
    });
    if back && retried {
        report.delivered.push(message.seq);
    }
    submit(shared, endpoint, Operation::Report(Box::new(report))).await;
    if back {
        // Not where somebody has paused or changed it meanwhile.
        let change = EndpointChange::Recover { seen: endpoint.change };
        submit(shared, endpoint, Operation::ChangeEndpoint { id: endpoint.id, change }).await;
        shared.look.notify_waiters();
    }
}

async fn submit(shared: &Shared, endpoint: &Endpoint, operation: Operation) {
    let command = Command::Tenant { tenant: endpoint.tenant.clone(), create: false, operation };
    // Where it is not taken, the next try says the same again.
    if let Err(error) = shared.journal.submit(command).await {
        tracing::debug!(endpoint = %endpoint.id, %error, "what a trial brought was not taken");
    }
}

async fn retried(shared: &Shared, endpoint: &Endpoint) -> Option<Message> {
    let rows = shared.store.webhooks()?.retrying(&endpoint.tenant, endpoint.id, 1).await.ok()?;
    let row = rows.into_iter().next()?;
    Some(resend::fitted(shared, endpoint, Message::of_row(row)).await)
}

async fn next(shared: &Shared, endpoint: &Endpoint) -> Option<Message> {
    const PAGES_MAX: usize = 64;
    let feed = shared.open_feed(&endpoint.tenant).await?;
    let mut reader = Reader::new(feed, endpoint, endpoint.cursor);
    for _ in 0..PAGES_MAX {
        let wanted = reader.fill();
        if let Some(due) = reader.pop() {
            return Some(Message::of_due(due, endpoint.spec.format));
        }
        let page = shared.hub.pager().read(wanted?).await;
        reader.supply(page);
    }
    None
}
