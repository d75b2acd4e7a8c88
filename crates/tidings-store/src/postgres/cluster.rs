//! What the nodes share beside the log.

use std::{collections::HashMap, time::Duration};

use async_trait::async_trait;
use tidings_core::{Epoch, Seq, TenantId, Timestamp};
use tokio_postgres::{Row, types::Type};

use super::{
    Inner, PostgresStore,
    codec::{self, Columns, Id},
    fault::Fault,
    places::ALIVE_US,
};
use crate::{Beat, Cluster, ClusterError, Duty, Moves, PlacesAsked, PlacesGiven, Seen, Term};

/// Nodes say every second that they are alive; a few late seconds are no outage.
const GRACE: Duration = Duration::from_secs(3);
/// A term ends so long after its last renewal.
const TERM: Duration = Duration::from_secs(10);
/// So many more writers than a first look found have come, and gone for the most part: with more, there is another.
const GONE_MAX: usize = 4_096;
/// Batches of one writer that one look takes.
const MOVES_MAX: i32 = 1_000;

#[async_trait]
impl Cluster for PostgresStore {
    async fn beat(&self) -> Result<(), ClusterError> {
        Ok(self.0.end_outage(Some(self.0.node)).await?)
    }

    async fn last_beat_elsewhere(&self) -> Result<Option<Beat>, ClusterError> {
        let now = self.0.time.injected();
        let rows = self
            .0
            .work
            .query(
                "WITH clock AS (SELECT coalesce($2, tidings.micros()) AS now)
                 SELECT max(n.alive_at), min(clock.now - n.alive_at) FROM clock, tidings.nodes n
                 WHERE n.node <> $1 AND n.alive_at > clock.now - $3",
                &[(&self.0.node, Type::UUID), (&now, Type::INT8), (&ALIVE_US, Type::INT8)],
            )
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let row = Columns::of(row);
        let at: Option<i64> = row.get(0).map_err(Fault::from)?;
        let ago: Option<i64> = row.get(1).map_err(Fault::from)?;
        Ok(at.zip(ago).map(|(at, ago)| Beat {
            at: Timestamp::from_micros(at),
            ago: Duration::from_micros(u64::try_from(ago).unwrap_or_default()),
        }))
    }

    async fn moves(&self, seen: &mut Seen) -> Result<Moves, ClusterError> {
        let writers: Vec<Id> = seen.writers.keys().map(|name| Id(*name)).collect();
        let numbers: Vec<i64> = seen.writers.values().copied().collect();
        if seen.found.is_none_or(|found| seen.writers.len() > found + GONE_MAX) {
            seen.writers.clear();
            return Ok(self.first_look(seen).await?);
        }
        let rows = self
            .0
            .work
            .query(
                "SELECT writer, n, tenants, epochs, bases, heads, tidings.timeline() FROM tidings.moves($1, $2, $3)",
                &[(&writers, Type::UUID_ARRAY), (&numbers, Type::INT8_ARRAY), (&MOVES_MAX, Type::INT4)],
            )
            .await?;
        let moves = gather(&rows, seen).map_err(Fault::from)?;
        let timeline =
            rows.last().map(|row| Columns::of(row).get::<i32>(6)).transpose().map_err(Fault::from)?;
        if timeline.is_some_and(|timeline| timeline != self.0.history.timeline()) {
            self.0.history.recognise(&self.0.work).await?;
        }
        for (tenant, epoch, head) in &moves.heads {
            self.0.history.reached(tenant, epoch.clone(), *head);
        }
        Ok(moves)
    }

    async fn lead(&self, duty: Duty) -> Result<Option<Term>, ClusterError> {
        let (now, length) = (self.0.time.injected(), TERM.as_micros() as i64);
        let rows = self
            .0
            .work
            .query(
                "SELECT tidings.lead($1, $2, $3, $4)",
                &[
                    (&duty.as_str(), Type::TEXT),
                    (&self.0.node, Type::UUID),
                    (&now, Type::INT8),
                    (&length, Type::INT8),
                ],
            )
            .await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let term: Option<i64> = Columns::of(row).get(0).map_err(Fault::from)?;
        Ok(term.map(|term| term as Term))
    }

    async fn resign(&self, duty: Duty) -> Result<(), ClusterError> {
        self.0
            .work
            .query(
                "UPDATE tidings.duties SET node = NULL WHERE duty = $1 AND node = $2",
                &[(&duty.as_str(), Type::TEXT), (&self.0.node, Type::UUID)],
            )
            .await?;
        Ok(())
    }

    /// Each node that delivers leads a duty of its own, whose term tells that it is alive.
    async fn delivering(&self) -> Result<usize, ClusterError> {
        let (now, length) = (self.0.time.injected(), TERM.as_micros() as i64);
        let rows = self
            .0
            .work
            .query(
                "WITH own AS (SELECT tidings.lead('webhooks-at-' || $1::text, $1, $2, $3)),
                 gone AS (DELETE FROM tidings.duties WHERE duty LIKE 'webhooks-at-%' AND duty <> 'webhooks-at-' || $1::text
                     AND expires_at < coalesce($2, tidings.micros()) - 3600000000)
                 SELECT count(own) + (SELECT count(*) FROM tidings.duties WHERE duty LIKE 'webhooks-at-%'
                     AND duty <> 'webhooks-at-' || $1::text AND expires_at > coalesce($2, tidings.micros())) FROM own",
                &[(&self.0.node, Type::UUID), (&now, Type::INT8), (&length, Type::INT8)],
            )
            .await?;
        let count: i64 = rows.first().map_or(Ok(1), |row| Columns::of(row).get(0)).map_err(Fault::from)?;
        Ok(count as usize)
    }

    async fn places(&self, asked: &[PlacesAsked]) -> Result<Vec<PlacesGiven>, ClusterError> {
        Ok(self.0.places(asked).await?)
    }

    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, ClusterError> {
        let rows = self
            .0
            .work
            .query("SELECT sealed FROM tidings.secrets WHERE name = $1", &[(&name, Type::TEXT)])
            .await?;
        Ok(rows.first().map(|row| Columns::of(row).get(0)).transpose().map_err(Fault::from)?)
    }

    async fn offer_secret(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, ClusterError> {
        self.0
            .work
            .query(
                "INSERT INTO tidings.secrets VALUES ($1, $2) ON CONFLICT DO NOTHING",
                &[(&name, Type::TEXT), (&sealed, Type::BYTEA)],
            )
            .await?;
        let kept = self.secret(name).await?;
        kept.ok_or_else(|| ClusterError::Unavailable(format!("the secret {name} was removed meanwhile")))
    }

    async fn replace_secret(&self, name: &str, from: &[u8], to: &[u8]) -> Result<bool, ClusterError> {
        let rows = self
            .0
            .work
            .query(
                "UPDATE tidings.secrets SET sealed = $3 WHERE name = $1 AND sealed = $2 RETURNING true",
                &[(&name, Type::TEXT), (&from, Type::BYTEA), (&to, Type::BYTEA)],
            )
            .await?;
        Ok(!rows.is_empty())
    }
}

impl PostgresStore {
    /// From here on; what was before is not told.
    async fn first_look(&self, seen: &mut Seen) -> Result<Moves, Fault> {
        let rows =
            self.0.work.query("SELECT writer, max(n) FROM tidings.batches GROUP BY writer", &[]).await?;
        for row in &rows {
            let at = Columns::of(row);
            seen.writers.insert(at.get::<Id>(0)?.0, at.get(1)?);
        }
        seen.found = Some(rows.len());
        Ok(Moves { heads: Vec::new(), complete: false })
    }
}

impl Inner {
    /// Gives running leases the length of an outage that is over, and says that `node` is alive.
    pub(super) async fn end_outage(&self, node: Option<Id>) -> Result<(), Fault> {
        let (now, grace) = (self.time.injected(), GRACE.as_micros() as i64);
        let rows = self
            .work
            .query(
                "SELECT tidings.beat($1, $2, $3)",
                &[(&node, Type::UUID), (&now, Type::INT8), (&grace, Type::INT8)],
            )
            .await?;
        let outage: i64 = rows.first().map_or(Ok(0), |row| Columns::of(row).get(0))?;
        if outage > 0 {
            tracing::warn!(
                outage_ms = outage / 1_000,
                "no node reached the store: every lease was extended by that"
            );
        }
        Ok(())
    }
}

/// Each writer's batches come in order. Its numbers have no gaps, so that one that is missing was removed before
/// anybody looked.
fn gather(rows: &[Row], seen: &mut Seen) -> codec::Result<Moves> {
    let mut newest = Newest::default();
    let mut complete = true;
    for row in rows {
        let at = Columns::of(row);
        let (writer, n): (Id, i64) = (at.get(0)?, at.get(1)?);
        let last = seen.writers.entry(writer.0).or_insert(0);
        complete &= n == *last + 1;
        *last = n;
        let tenants: Vec<Option<&str>> = at.get::<Option<_>>(2)?.unwrap_or_default();
        let epochs: Vec<Option<&str>> = at.get::<Option<_>>(3)?.unwrap_or_default();
        let bases: Vec<Option<i64>> = codec::list(row, 4)?;
        let heads: Vec<Option<i64>> = codec::list(row, 5)?;
        for ((tenant, epoch), (base, head)) in
            tenants.into_iter().zip(epochs).zip(bases.into_iter().zip(heads))
        {
            let (Some(tenant), Some(epoch), Some(base), Some(head)) = (tenant, epoch, base, head) else {
                continue;
            };
            if head <= base {
                continue;
            }
            let tenant = TenantId::new(tenant).map_err(|error| at.unreadable(2, &error))?;
            let epoch = Epoch::parse(epoch).map_err(|error| at.unreadable(3, &error))?;
            newest.reached(tenant, epoch, Head { seq: Seq::new(head as u64), renewal: base < 0 });
        }
    }
    Ok(Moves { heads: newest.heads(), complete })
}

/// Where a history has come to. A renewal moves no head: of two histories at the same one it began the later.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Head {
    seq: Seq,
    renewal: bool,
}

/// The newest head of each history. Writers' batches come in any order among them, so that of two histories of a
/// tenant neither takes the other's place.
#[derive(Default)]
struct Newest(HashMap<(TenantId, Epoch), Head>);

impl Newest {
    fn reached(&mut self, tenant: TenantId, epoch: Epoch, head: Head) {
        self.0.entry((tenant, epoch)).and_modify(|known| *known = head.max(*known)).or_insert(head);
    }

    fn heads(self) -> Vec<(TenantId, Epoch, Seq)> {
        let mut heads: Vec<_> = self.0.into_iter().collect();
        heads.sort_unstable_by_key(|(_, head)| *head);
        heads.into_iter().map(|((tenant, epoch), head)| (tenant, epoch, head.seq)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renewal_is_told_in_whatever_order_the_writers_are_read() {
        let history = |name: &str| Epoch::parse(name).expect("valid");
        let rows = [("oldhistory", 9, false), ("oldhistory", 10, false), ("newhistory", 10, true)];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [2, 0, 1]] {
            let mut newest = Newest::default();
            for (epoch, seq, renewal) in order.map(|n| rows[n]) {
                let tenant = TenantId::new("acme").expect("valid");
                newest.reached(tenant, history(epoch), Head { seq: Seq::new(seq), renewal });
            }
            let heads: Vec<_> =
                newest.heads().into_iter().map(|(_, epoch, seq)| (epoch, seq.get())).collect();
            assert_eq!(heads, [(history("oldhistory"), 10), (history("newhistory"), 10)], "{order:?}");
        }
    }
}
