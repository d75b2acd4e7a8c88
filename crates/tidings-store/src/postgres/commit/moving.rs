//! The outbox moves into the log: each of its rows a unit, which takes the row away and does what it says.

use super::{
    super::{
        Inner,
        outbox::{self, Item, Left, Rejection},
        plan::{Plan, UnitNo},
        write::Verdict,
    },
    Progress,
    answer::{Answer, Settled},
    decide::Decider,
    looked::Looked,
};
use crate::{CommitError, Outcome, Swept};

impl Decider<'_> {
    pub(super) fn move_outbox(&mut self, place: usize, create: bool) -> Answer {
        let left = self.looked.outbox.remove(&place).unwrap_or_default();
        let found = left.len();
        let mut units = Vec::with_capacity(found);
        for Left { id, tenant, item } in left {
            let item = match item {
                Ok(item) => item,
                Err(reason) => {
                    self.rejections.push((id, reason));
                    continue;
                }
            };
            let unit = self.unit(&tenant, create);
            self.plan.moved.push((unit, id));
            units.push((unit, id));
            match item {
                Item::Event(fact) => self.plan.event(unit, fact),
                // Where a live job holds its unique key there is nothing to make, and nobody to tell.
                Item::Job(new) => {
                    self.enqueue_one(unit, &tenant, &new);
                }
            }
        }
        Answer::Moved { units, found }
    }
}

/// `None`: something of it has to be looked at again.
pub(super) fn moved(
    units: &[(UnitNo, i64)],
    more: bool,
    settled: &mut Settled,
    last: bool,
) -> Option<Outcome> {
    let (mut rows, mut again) = (0, false);
    for (unit, id) in units {
        match settled.verdict(*unit) {
            Verdict::Done => rows += 1,
            Verdict::UnknownTenant => settled.rejections.push((*id, "there is no such tenant".into())),
            Verdict::Suspended => settled.rejections.push((*id, "the tenant is suspended".into())),
            _ => again = true,
        }
    }
    if again && !last {
        return None;
    }
    Some(Outcome::Swept(Swept { rows, more, ..Swept::default() }))
}

impl Inner {
    /// Something in the outbox is what the database rejects: each row goes alone, until the culprit stands
    /// aside.
    pub(super) async fn move_one_by_one(
        &self,
        lane: usize,
        limit: usize,
        create: bool,
        progress: &mut Progress,
    ) -> Result<Outcome, CommitError> {
        let mut rows = 0;
        let left = outbox::look(&self.work, limit).await?;
        let found = left.len();
        for row in left {
            let id = row.id;
            let mut looked = Looked::default();
            looked.outbox.insert(0, vec![row]);
            let mut decider = self.decider(looked);
            decider.move_outbox(0, create);
            let (plan, mut rejections) =
                (std::mem::take(&mut decider.plan), std::mem::take(&mut decider.rejections));
            rows += self.move_one(lane, id, plan, &mut rejections, progress).await?;
            self.reject(&rejections).await?;
        }
        Ok(Outcome::Swept(Swept { rows, more: found == limit, ..Swept::default() }))
    }

    async fn move_one(
        &self,
        lane: usize,
        id: i64,
        plan: Plan,
        rejections: &mut Vec<Rejection>,
        progress: &mut Progress,
    ) -> Result<usize, CommitError> {
        if plan.is_empty() {
            return Ok(0);
        }
        match self.write(lane, &plan).await {
            Ok(written) => {
                let settled = Settled::new(plan, written);
                let done = settled.verdict(0) == Verdict::Done;
                progress.begun |= done;
                progress.take(settled);
                Ok(usize::from(done))
            }
            Err(CommitError::Rejected(reason)) => {
                rejections.push((id, reason));
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }
}
