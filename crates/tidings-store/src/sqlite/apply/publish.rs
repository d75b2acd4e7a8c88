use serde::{Deserialize, Serialize};
use tidings_core::{EventId, NewEvent, Seq, TenantId, Timestamp};

use crate::{
    Idempotency, Outcome, Published,
    sqlite::{fault::Stop, txn::Txn},
};

/// What of an answer is kept under its idempotency key.
#[derive(Serialize, Deserialize)]
struct Kept {
    seq: Seq,
    id: EventId,
    time: Timestamp,
}

impl Txn<'_> {
    pub(super) fn publish(
        &mut self,
        tenant: &TenantId,
        create: bool,
        events: &[NewEvent],
        idempotency: Option<&Idempotency>,
    ) -> Result<Outcome, Stop> {
        let key = self.writable(tenant, create)?;
        if let Some(kept) = self.repeated::<Vec<Kept>>(key, idempotency)? {
            let first = kept.into_iter().map(|Kept { seq, id, time }| Published { seq, id, time });
            return Ok(Outcome::Published(first.collect()));
        }
        let mut published = Vec::with_capacity(events.len());
        for fact in events {
            let (seq, time) = self.emit(key, tenant, None, fact.clone())?;
            published.push(Published { seq, id: fact.id, time });
        }
        if idempotency.is_some() {
            let kept: Vec<_> =
                published.iter().map(|p| Kept { seq: p.seq, id: p.id, time: p.time }).collect();
            self.remember_outcome(key, idempotency, &kept)?;
        }
        Ok(Outcome::Published(published))
    }
}
