use tidings_core::{
    EndpointId, ReplayId, Seq, Timestamp,
    webhook::{Attempt, Delivery, DisabledReason},
};

/// What a dispatcher has to say of one endpoint since it last said something: all of it is committed, or none.
///
/// Where the endpoint's generation is no longer this one, attempts are logged, rows that were delivered go, and
/// rows that are there are brought up to date; no cursor moves, no row is added, nothing is disabled.
#[derive(Debug, Clone)]
pub struct Report {
    pub endpoint: EndpointId,
    /// Of the endpoint that was delivered to.
    pub generation: u64,
    /// Every event up to here was delivered, is in `deliveries` or does not match. It never goes back.
    pub cursor: Option<Seq>,
    /// The same for a replay; one that has come to its end is over.
    pub replays: Vec<(ReplayId, Seq)>,
    /// In the order in which they were made.
    pub attempts: Vec<Attempt>,
    /// What is retried or dead from now on, each seq once. A body that is absent leaves the one that is there.
    pub deliveries: Vec<Delivery>,
    /// What was retried or replayed and is delivered now.
    pub delivered: Vec<Seq>,
    /// `Some(None)`: it is not failing any more.
    pub failing_since: Option<Option<Timestamp>>,
    /// Until when the receiver asked to be left alone. It never goes back.
    pub quiet_until: Option<Timestamp>,
    /// Publishes `webhook.disabled`, where the endpoint is active.
    pub disable: Option<DisabledReason>,
}

impl Report {
    pub const fn new(endpoint: EndpointId, generation: u64) -> Self {
        Self {
            endpoint,
            generation,
            cursor: None,
            replays: Vec::new(),
            attempts: Vec::new(),
            deliveries: Vec::new(),
            delivered: Vec::new(),
            failing_since: None,
            quiet_until: None,
            disable: None,
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        self.cursor.is_none()
            && self.replays.is_empty()
            && self.attempts.is_empty()
            && self.deliveries.is_empty()
            && self.delivered.is_empty()
            && self.failing_since.is_none()
            && self.quiet_until.is_none()
            && self.disable.is_none()
    }
}
