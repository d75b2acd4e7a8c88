//! The PostgreSQL store: the same log and the same queue for any number of nodes.
//!
//! - A [commit] is a look without locks, a decision of the state machine, and one call of a function that
//!   changes nothing whose ground has moved. Each [lane] is a writer with a batch in flight.
//! - [Reads](reads) go through functions of a role that row-level security shows one tenant at a time.
//! - [Retention](retain) moves floors and drops the days of the log that all floors have passed.
//! - [`Cluster`](cluster) is what the nodes share beside the log.
//!
//! The schema is made by numbered [migrations](migrate); SQL that decides nothing lives in them as functions,
//! whose plans the server keeps.

mod advance;
mod alone;
mod arrays;
mod cluster;
mod codec;
mod commit;
mod config;
mod delivery_row;
mod endpoint_row;
mod endpoints;
mod event_row;
mod fault;
mod ground;
mod history;
mod import;
mod job_row;
mod kept;
mod lane;
mod look;
mod migrate;
mod outbox;
mod places;
mod plan;
mod pool;
mod reads;
mod reports;
mod retain;
mod schedule_row;
mod schedules;
#[cfg(test)]
mod tests;
mod time;
mod tls;
mod url;
mod webhooks;
mod write;

use std::{fmt, sync::Arc};

use parking_lot::Mutex;
use tidings_core::{Entropy, TenantId, Timestamp};

pub use config::{PostgresConfig, StoreClock};
pub use url::UrlError;

use crate::{OpenError, Schema, concurrency::Concurrency};
use codec::Id;
use commit::{Recent, Turns};
use fault::Fault;
use history::History;
use lane::Lanes;
use pool::Pool;
use time::StoreTime;
use url::Target;

/// What [`arrays::Arrays`] and the call's head come to.
const COMMIT_PARAMETERS: usize = 63;
/// With what fires schedules besides.
const FIRE_PARAMETERS: usize = COMMIT_PARAMETERS + 7;

/// A store on PostgreSQL. A clone is the same store.
#[derive(Clone)]
pub struct PostgresStore(Arc<Inner>);

struct Inner {
    /// For reads and retention.
    pool: Pool,
    /// For the lanes, each of which has at most one statement under way, and for what keeps this node among the others: no
    /// read makes these wait.
    work: Pool,
    lanes: Lanes,
    time: StoreTime,
    entropy: Arc<dyn Entropy>,
    concurrency: Concurrency,
    turns: Turns,
    recent: Recent,
    history: Arc<History>,
    /// Tenants that need not be made.
    known: advance::Known,
    advance_sql: String,
    commit_sql: String,
    fire_sql: String,
    report_sql: String,
    /// This process among the nodes.
    node: Id,
    /// The tenant that retention looked at last; `None` before the first.
    retained_to: Mutex<Option<TenantId>>,
}

impl PostgresStore {
    /// Connects, brings the schema up to date and makes the partitions of the days to come.
    pub async fn open(config: PostgresConfig, entropy: Arc<dyn Entropy>) -> Result<Self, OpenError> {
        let lanes = config.lanes.max(1);
        // Retention has a lane as well, and the nodes' affairs have one connection.
        let reads = config.connections.saturating_sub(lanes + 2).max(2);
        let (pool, target) = connect_limited(&config, reads).await?;
        migrate::migrate(&pool).await?;
        ground::check(&pool).await?;
        let rows = pool.query("SELECT tidings.micros()", &[]).await?;
        let time = StoreTime::new(&config.clock, Timestamp::from_micros(rows[0].get(0)));
        lane::make_partitions(&pool, &time).await?;
        let history = Arc::new(History::default());
        history.recognise(&pool).await?;
        let work = pool_of(&config, &target, lanes + 2)?.borrowing_from(&pool);
        let mut node = [0; 16];
        entropy.fill(&mut node);
        Ok(Self(Arc::new(Inner {
            lanes: Lanes::new(lanes, work.clone(), Arc::clone(&entropy), time.clone(), Arc::clone(&history)),
            pool,
            work,
            time,
            entropy,
            concurrency: Concurrency::new(config.concurrency),
            turns: Turns::default(),
            recent: Recent::default(),
            history,
            known: advance::Known::default(),
            advance_sql: arrays::statement(advance::COLUMNS, "advance", advance::PARAMETERS),
            commit_sql: arrays::statement(write::COLUMNS, "commit", COMMIT_PARAMETERS),
            fire_sql: arrays::statement(write::COLUMNS, "fire", FIRE_PARAMETERS),
            report_sql: reports::statement(),
            node: Id(node),
            retained_to: Mutex::new(None),
        })))
    }

    /// Brings the schema up to date and does nothing else. Returns how many steps that took.
    pub async fn migrate(config: &PostgresConfig) -> Result<usize, OpenError> {
        let pool = connect(config, 1)?;
        let taken = migrate::migrate(&pool).await;
        pool.close();
        taken
    }

    /// Gives every history a new name, as has to be done after a restore that the database cannot see. Returns
    /// how many there are. No server may be running.
    pub async fn renew_epochs(config: &PostgresConfig) -> Result<u64, OpenError> {
        let pool = connect(config, 1)?;
        let rows = pool.query("SELECT tidings.renew_epochs()", &[]).await?;
        pool.close();
        Ok(rows.first().map_or(0, |row| row.get::<_, i64>(0)) as u64)
    }

    /// How far the schema is; changes nothing.
    pub async fn schema(config: &PostgresConfig) -> Result<Schema, OpenError> {
        let pool = connect(config, 1)?;
        let schema = migrate::schema(&pool).await;
        pool.close();
        schema
    }

    /// Lets the connections go. Later calls fail as unavailable.
    pub fn close(&self) {
        self.0.pool.close();
        self.0.lanes.close();
    }
}

fn connect(config: &PostgresConfig, size: usize) -> Result<Pool, OpenError> {
    pool_of(config, &Target::parse(&config.url, config.connect_timeout)?, size)
}

/// The server itself ends statements that take too long, also where nobody is left to cancel them; poolers may
/// not know how to ask for that, and do without. Then nothing is prepared either.
async fn connect_limited(config: &PostgresConfig, size: usize) -> Result<(Pool, Target), OpenError> {
    let plain = Target::parse(&config.url, config.connect_timeout)?;
    let limited = plain.with_session(config.statement_timeout);
    let pool = pool_of(config, &limited, size)?;
    match pool.connection().await {
        Err(Fault::Unsent(text)) if text.contains("startup parameter") => {
            Ok((pool_of(config, &plain, size)?, plain))
        }
        // Whatever else is wrong meets whoever connects next.
        _ => Ok((pool, limited)),
    }
}

fn pool_of(config: &PostgresConfig, target: &Target, size: usize) -> Result<Pool, OpenError> {
    let tls = tls::connector(&target.trust)?;
    Pool::new(target, tls, size, config.connect_timeout, config.statement_timeout)
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore").field("lanes", &self.0.lanes.count()).finish_non_exhaustive()
    }
}
