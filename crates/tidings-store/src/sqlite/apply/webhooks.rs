use tidings_core::{
    Endpoint, EndpointId, EventId, ReplayId, Seq, TenantId, UserId,
    webhook::{Replay, disabled_event},
};

use crate::{
    CommandError, EndpointChange, NewEndpoint, Outcome, ReplayWhat, Report,
    sqlite::{
        column::get_u64,
        delivery_row::{self, Owner},
        endpoint_row::{self, Stored},
        fault::Stop,
        tenant::TenantKey,
        txn::Txn,
    },
    webhooks,
};
use rusqlite::{OptionalExtension as _, params};

impl Txn<'_> {
    pub(super) fn put_endpoint(
        &mut self,
        tenant: &TenantId,
        create: bool,
        new: &NewEndpoint,
    ) -> Result<Outcome, Stop> {
        let key = self.writable(tenant, create)?;
        if endpoint_row::count(self.conn, key)? >= new.limit {
            return Err(CommandError::TooMany.into());
        }
        let head = self.memory.tenants.loaded(key).head;
        let cursor = new.cursor.map_or(head, |cursor| cursor.min(head));
        let what = (new.spec.clone(), new.grant.clone());
        let mut endpoint = Endpoint::new(new.id, tenant.clone(), what, new.secrets.clone(), cursor, self.now);
        endpoint.change = endpoint_row::next_change(self.conn)?;
        endpoint_row::insert(self.conn, key, &endpoint)?;
        Ok(Outcome::Endpoint(Box::new(endpoint)))
    }

    pub(super) fn change_endpoint(
        &mut self,
        tenant: &TenantId,
        create: bool,
        id: EndpointId,
        change: &EndpointChange,
    ) -> Result<Outcome, Stop> {
        let key = if change.any_state() {
            self.memory.tenants.get(self.conn, tenant)?.ok_or(CommandError::UnknownTenant)?.key
        } else {
            self.existing(tenant, create)?
        };
        let found = endpoint_row::find(self.conn, key, tenant, id)?.ok_or(CommandError::NotFound)?;
        let Stored { key: endpoint_key, endpoint } = found;
        let head = self.memory.tenants.loaded(key).head;
        let mut after = webhooks::applied(change, endpoint, head, self.now)?;
        after.change = endpoint_row::next_change(self.conn)?;
        endpoint_row::update(self.conn, endpoint_key, &after)?;
        Ok(Outcome::Endpoint(Box::new(after)))
    }

    pub(super) fn delete_endpoint(
        &mut self,
        tenant: &TenantId,
        create: bool,
        id: EndpointId,
    ) -> Result<Outcome, Stop> {
        let tenant_key = self.existing(tenant, create)?;
        let key = endpoint_row::key_of(self.conn, tenant_key, id)?.ok_or(CommandError::NotFound)?;
        let change = endpoint_row::next_change(self.conn)?;
        endpoint_row::bury(self.conn, key, change, self.now)?;
        Ok(Outcome::Done)
    }

    /// Those that are active or disabled; of whatever state their tenant is.
    pub(super) fn pause_endpoints(&mut self, tenant: &TenantId, user: &UserId) -> Result<Outcome, Stop> {
        let key = self.memory.tenants.get(self.conn, tenant)?.ok_or(CommandError::UnknownTenant)?.key;
        let ids: Vec<EndpointId> = self
            .conn
            .prepare_cached("SELECT id FROM endpoints WHERE tenant_key = ? AND user = ? AND state IN (0, 2)")?
            .query_map(params![key, user.as_str()], |row| row.get(0).map(EndpointId::from_bytes))?
            .collect::<Result<_, _>>()?;
        for id in &ids {
            let Some(Stored { key: endpoint_key, endpoint }) =
                endpoint_row::find(self.conn, key, tenant, *id)?
            else {
                continue;
            };
            let mut paused = endpoint.paused(self.now);
            paused.change = endpoint_row::next_change(self.conn)?;
            endpoint_row::update(self.conn, endpoint_key, &paused)?;
        }
        Ok(Outcome::Paused(ids.len()))
    }

    pub(super) fn replay(
        &mut self,
        tenant: &TenantId,
        create: bool,
        id: EndpointId,
        what: ReplayWhat,
    ) -> Result<Outcome, Stop> {
        let key = self.existing(tenant, create)?;
        let endpoint = endpoint_row::key_of(self.conn, key, id)?.ok_or(CommandError::NotFound)?;
        let owner = (key, endpoint);
        let (deliveries, more) = match what {
            ReplayWhat::Failures => {
                let sent = delivery_row::send_again(self.conn, owner, None, self.now, Replay::DEAD_MAX)?;
                (sent, sent == Replay::DEAD_MAX)
            }
            ReplayWhat::Event { id, seq } => {
                let sent = delivery_row::send_again(self.conn, owner, Some(seq), self.now, 1)?;
                (if sent == 0 { self.replay_range(owner, id, (seq, seq))? } else { sent }, false)
            }
            ReplayWhat::Range { id, from, to } => (self.replay_range(owner, id, (from, to))?, false),
        };
        self.tell_dispatchers(endpoint)?;
        Ok(Outcome::Replaying { deliveries, more })
    }

    /// As far as the log is kept; how many events that is.
    fn replay_range(&mut self, owner: Owner, id: ReplayId, (from, to): (Seq, Seq)) -> Result<usize, Stop> {
        let log = self.memory.tenants.loaded(owner.0).log();
        let (from, to) = (from.max(log.oldest), to.min(log.head));
        if from > to {
            return Err(CommandError::NotFound.into());
        }
        if delivery_row::replays(self.conn, owner)?.len() >= Replay::MAX {
            return Err(CommandError::TooMany.into());
        }
        let replay = Replay { id, from, to, position: from.prev(), created_at: self.now };
        delivery_row::put_replay(self.conn, owner, &replay)?;
        Ok(to.next().distance_from(from) as usize)
    }

    fn tell_dispatchers(&mut self, endpoint: i64) -> Result<(), Stop> {
        let change = endpoint_row::next_change(self.conn)?;
        self.conn
            .prepare_cached("UPDATE endpoints SET change = ? WHERE key = ?")?
            .execute(params![change as i64, endpoint])?;
        Ok(())
    }

    pub(super) fn report(
        &mut self,
        tenant: &TenantId,
        create: bool,
        report: &Report,
    ) -> Result<Outcome, Stop> {
        let key = self.existing(tenant, create)?;
        let place = self.place(key, report)?.ok_or(CommandError::NotFound)?;
        let owner = (key, place.key);
        delivery_row::log(self.conn, owner, place.logged, &report.attempts)?;
        for seq in &report.delivered {
            delivery_row::remove(self.conn, owner, *seq)?;
        }
        for delivery in &report.deliveries {
            if place.current {
                delivery_row::put(self.conn, owner, delivery)?;
            } else {
                delivery_row::refresh(self.conn, owner, delivery)?;
            }
        }
        self.conn
            .prepare_cached("UPDATE endpoints SET attempts = attempts + ? WHERE key = ?")?
            .execute(params![report.attempts.len() as i64, place.key])?;
        if place.current {
            self.move_on(owner, report)?;
            self.disable(tenant, owner, &place, report)?;
        }
        Ok(Outcome::Reported { current: place.current })
    }

    /// Cursors go forward alone, and no further than the log.
    fn move_on(&mut self, owner: Owner, report: &Report) -> Result<(), Stop> {
        let head = self.memory.tenants.loaded(owner.0).head;
        if let Some(cursor) = report.cursor {
            self.conn
                .prepare_cached("UPDATE endpoints SET cursor = max(cursor, ?) WHERE key = ?")?
                .execute(params![cursor.min(head).get() as i64, owner.1])?;
        }
        if let Some(since) = report.failing_since {
            self.conn
                .prepare_cached("UPDATE endpoints SET failing_since = ? WHERE key = ?")?
                .execute(params![since.map(tidings_core::Timestamp::as_micros), owner.1])?;
        }
        if let Some(until) = report.quiet_until {
            self.conn
                .prepare_cached(
                    "UPDATE endpoints SET quiet_until = max(coalesce(quiet_until, 0), ?) WHERE key = ?",
                )?
                .execute(params![until.as_micros(), owner.1])?;
        }
        for (id, position) in &report.replays {
            delivery_row::advance_replay(self.conn, owner, *id, *position)?;
        }
        Ok(())
    }

    fn disable(
        &mut self,
        tenant: &TenantId,
        owner: Owner,
        place: &Place,
        report: &Report,
    ) -> Result<(), Stop> {
        let Some(reason) = report.disable.filter(|_| place.state == 0) else { return Ok(()) };
        let since = self
            .conn
            .prepare_cached(
                "UPDATE endpoints SET state = 2, since = ?, reason = ?, generation = generation + 1 WHERE key = ?
                 RETURNING failing_since",
            )?
            .query_row(params![self.now.as_micros(), reason.as_str(), owner.1], |row| {
                crate::sqlite::column::get_time_opt(row, 0)
            })?;
        self.tell_dispatchers(owner.1)?;
        let id = EventId::generate(self.now, self.entropy);
        self.emit(owner.0, tenant, None, disabled_event(report.endpoint, reason, since, id))?;
        Ok(())
    }

    fn place(&self, tenant: TenantKey, report: &Report) -> Result<Option<Place>, Stop> {
        let place = self
            .conn
            .prepare_cached(
                "SELECT key, state, generation, attempts FROM endpoints
                 WHERE tenant_key = ? AND id = ? AND state < 3",
            )?
            .query_row(params![tenant, report.endpoint.as_bytes()], |row| {
                Ok(Place {
                    key: row.get(0)?,
                    state: row.get(1)?,
                    current: get_u64(row, 2)? == report.generation,
                    logged: get_u64(row, 3)?,
                })
            })
            .optional()?;
        Ok(place)
    }
}

/// Where an endpoint stands that is reported of.
struct Place {
    key: i64,
    state: i64,
    /// The report is of the generation that it is in.
    current: bool,
    logged: u64,
}
