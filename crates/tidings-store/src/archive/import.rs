use std::io::{BufRead, Read as _};

use tidings_core::{
    Endpoint, EndpointId, Event, Job, Schedule, Seq, Timestamp,
    webhook::{Delivery, Replay},
};

use super::{
    Begun, Import, ImportError, Seals,
    digest::Digests,
    endpoint_line::EndpointError,
    record::{Line, VERSION},
    walk,
};
use crate::{KeyRecord, Store, TenantRecord};

/// What one transaction takes.
const BATCH: usize = 500;
const BATCH_BYTES: usize = 4 << 20;
/// Longer than any event or job may be.
const LINE_MAX: u64 = 64 << 20;

/// What an import has done. Events that were there already are counted apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Imported {
    pub tenants: u64,
    pub events: u64,
    pub events_found: u64,
    pub jobs: u64,
    pub schedules: u64,
    pub endpoints: u64,
    pub deliveries: u64,
    pub keys: u64,
}

/// Reads an archive into `target`, which `store` reads. `tell` hears how many events were seen, now and
/// then. A tenant is in use once all of it has been read back and compared.
pub async fn import(
    target: &dyn Import,
    store: &dyn Store,
    seals: &dyn Seals,
    input: &mut (dyn BufRead + Send),
    tell: &mut (dyn FnMut(u64) + Send),
) -> Result<Imported, ImportError> {
    let mut lines = Lines { input, line: 0 };
    let at = match lines.next()? {
        Some(Line::Tidings { version: VERSION, at }) => at,
        Some(Line::Tidings { version, .. }) => {
            return Err(lines.wrong(format!("this release reads version {VERSION}, not {version}")));
        }
        _ => return Err(lines.wrong("this is not an archive of Tidings".into())),
    };
    let mut filling = Filling::new(target, store, seals, at);
    loop {
        match lines.next()?.ok_or(ImportError::CutOff)? {
            Line::Tidings { .. } => return Err(lines.wrong("an archive begins only once".into())),
            Line::Tenant(tenant) => {
                let tenant = TenantRecord::try_from(tenant).map_err(|why| lines.wrong(why))?;
                filling.begin(tenant).await?;
            }
            Line::End { tenants, events, .. } => {
                filling.end().await?;
                let done = filling.done;
                if (tenants, events) != (done.tenants, done.events + done.events_found) {
                    return Err(lines.wrong("the archive does not hold what its end says".into()));
                }
                tell(events);
                return Ok(done);
            }
            line => filling.take(line, &mut lines, tell).await?,
        }
    }
}

struct Lines<'a> {
    input: &'a mut (dyn BufRead + Send),
    line: u64,
}

impl Lines<'_> {
    fn next(&mut self) -> Result<Option<Line>, ImportError> {
        let mut text = Vec::new();
        self.line += 1;
        (&mut *self.input).take(LINE_MAX).read_until(b'\n', &mut text)?;
        if text.is_empty() {
            return Ok(None);
        }
        if text.last() != Some(&b'\n') {
            return Err(ImportError::CutOff);
        }
        serde_json::from_slice(&text).map(Some).map_err(|error| self.wrong(error.to_string()))
    }

    fn wrong(&self, why: String) -> ImportError {
        ImportError::Line { line: self.line, why }
    }
}

/// The tenant that is being read, and what waits for its transaction.
struct Filling<'a> {
    target: &'a dyn Import,
    store: &'a dyn Store,
    seals: &'a dyn Seals,
    /// When the archive was begun.
    at: Option<Timestamp>,
    done: Imported,
    /// `None`: the operators' keys.
    tenant: Option<TenantRecord>,
    /// An earlier run has ended with it: its lines are passed over.
    in_use: bool,
    head: Seq,
    /// Jobs of this tenant that were put before.
    jobs_put: u64,
    expected: Digests,
    events: Vec<Event>,
    jobs: Vec<Job>,
    schedules: Vec<Schedule>,
    endpoints: Vec<(Endpoint, Vec<Replay>)>,
    deliveries: Vec<(EndpointId, Delivery)>,
    keys: Vec<KeyRecord>,
    bytes: usize,
}

impl<'a> Filling<'a> {
    fn new(
        target: &'a dyn Import,
        store: &'a dyn Store,
        seals: &'a dyn Seals,
        at: Option<Timestamp>,
    ) -> Self {
        Self {
            target,
            store,
            seals,
            at,
            done: Imported::default(),
            tenant: None,
            in_use: false,
            head: Seq::ZERO,
            jobs_put: 0,
            expected: Digests::default(),
            events: Vec::new(),
            jobs: Vec::new(),
            schedules: Vec::new(),
            endpoints: Vec::new(),
            deliveries: Vec::new(),
            keys: Vec::new(),
            bytes: 0,
        }
    }

    async fn begin(&mut self, tenant: TenantRecord) -> Result<(), ImportError> {
        self.end().await?;
        let begun = self.target.begin(&tenant).await?;
        let (Begun::Open(head) | Begun::InUse(head)) = begun;
        self.in_use = matches!(begun, Begun::InUse(_));
        if self.in_use && head < tenant.log.head {
            return Err(ImportError::InUse(tenant.id));
        }
        self.head = head;
        self.jobs_put = 0;
        self.tenant = Some(tenant);
        Ok(())
    }

    async fn take(
        &mut self,
        line: Line,
        lines: &mut Lines<'_>,
        tell: &mut (dyn FnMut(u64) + Send),
    ) -> Result<(), ImportError> {
        if self.in_use {
            self.done.events_found += u64::from(matches!(line, Line::Event(_)));
            return Ok(());
        }
        self.expected.add(&line);
        match (line, &self.tenant) {
            (Line::Key(key), _) => {
                self.keys.push(KeyRecord::try_from(key).map_err(|why| lines.wrong(why))?);
                self.done.keys += 1;
            }
            (Line::Event(event), Some(tenant)) => {
                let event = event.into_event(&tenant.id);
                self.take_event(event, lines)?;
                let seen = self.done.events + self.done.events_found;
                if seen.is_multiple_of(1_000) {
                    tell(seen);
                }
            }
            (Line::Schedule(schedule), Some(tenant)) => {
                self.schedules.push(schedule.into_schedule(&tenant.id).map_err(|why| lines.wrong(why))?);
                self.done.schedules += 1;
            }
            (Line::Endpoint(endpoint), Some(tenant)) => {
                let read = endpoint.into_endpoint(&tenant.id, self.seals).map_err(|error| match error {
                    EndpointError::Malformed(why) => lines.wrong(why),
                    EndpointError::Seal(why) => ImportError::Secret { tenant: tenant.id.clone(), why },
                })?;
                self.endpoints.push(read);
                self.done.endpoints += 1;
            }
            (Line::Delivery(delivery), Some(_)) => {
                let endpoint = delivery.endpoint;
                let delivery = delivery.into_delivery().map_err(|why| lines.wrong(why))?;
                self.bytes += delivery.body.as_ref().map_or(0, bytes::Bytes::len);
                self.deliveries.push((endpoint, delivery));
                self.done.deliveries += 1;
            }
            (Line::Job(job), Some(tenant)) => {
                let job = job.into_job(&tenant.id);
                self.bytes += job.spec.payload.len();
                self.jobs.push(job);
                self.done.jobs += 1;
            }
            _ => return Err(lines.wrong("it belongs to no tenant".into())),
        }
        let waiting = self.events.len() + self.jobs.len() + self.schedules.len() + self.keys.len();
        let waiting = waiting + self.endpoints.len() + self.deliveries.len();
        if waiting >= BATCH || self.bytes >= BATCH_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    fn take_event(&mut self, event: Event, lines: &Lines<'_>) -> Result<(), ImportError> {
        if event.seq <= self.head {
            self.done.events_found += 1;
            return Ok(());
        }
        if event.seq != self.head.next() {
            return Err(lines.wrong(format!("event {} does not follow event {}", event.seq, self.head)));
        }
        self.head = event.seq;
        self.bytes += event.fact.body.len();
        self.events.push(event);
        self.done.events += 1;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), ImportError> {
        self.bytes = 0;
        let id = self.tenant.as_ref().map(|tenant| &tenant.id);
        if !self.keys.is_empty() {
            self.target.put_keys(id, &std::mem::take(&mut self.keys)).await?;
        }
        let Some(id) = id else { return Ok(()) };
        if !self.schedules.is_empty() {
            self.target.put_schedules(id, &std::mem::take(&mut self.schedules)).await?;
        }
        for (endpoint, replays) in std::mem::take(&mut self.endpoints) {
            self.target.put_endpoint(id, &endpoint, &replays).await?;
        }
        for of_one in std::mem::take(&mut self.deliveries).chunk_by(|a, b| a.0 == b.0) {
            let deliveries: Vec<_> = of_one.iter().map(|(_, delivery)| delivery.clone()).collect();
            self.target.put_deliveries(id, of_one[0].0, &deliveries).await?;
        }
        if !self.jobs.is_empty() {
            let jobs = std::mem::take(&mut self.jobs);
            self.target.put_jobs(id, self.jobs_put, &jobs).await?;
            self.jobs_put += jobs.len() as u64;
        }
        if !self.events.is_empty() {
            self.target.append(id, &std::mem::take(&mut self.events)).await?;
        }
        Ok(())
    }

    /// Reads back what was written, and puts the tenant to use.
    async fn end(&mut self) -> Result<(), ImportError> {
        self.flush().await?;
        let expected = std::mem::take(&mut self.expected);
        let Some(tenant) = self.tenant.take() else { return Ok(()) };
        if std::mem::take(&mut self.in_use) {
            self.done.tenants += 1;
            return Ok(());
        }
        let verification = |what| ImportError::Verification { tenant: tenant.id.to_string(), what };
        if self.head != tenant.log.head {
            return Err(verification("events"));
        }
        let mut found = Digests::default();
        let mut take = |line: Line| -> Result<(), ImportError> {
            found.add(&line);
            Ok(())
        };
        walk::tenant(self.store, self.seals, &tenant, &mut take).await?;
        if let Some(what) = expected.difference(found) {
            return Err(verification(what));
        }
        self.target.finish(&tenant.id, tenant.state, self.at).await?;
        self.done.tenants += 1;
        Ok(())
    }
}
