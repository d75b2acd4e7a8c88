//! A writer: numbered calls, one at a time, each of which ends done, refused or told to be unknown.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidings_core::Entropy;
use tokio::sync::Mutex;
use tokio_postgres::{Row, types::Type};

use super::{
    codec::Id,
    fault::Fault,
    history::History,
    pool::{Parameter, Pool},
    time::StoreTime,
};
use crate::CommitError;

/// Silence for so long is an unknown outcome.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// For so long a call that surely was not done is tried again.
const TRIED_MAX: Duration = Duration::from_secs(3);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);
/// Writers that rest for longer are forgotten by the database: a lane goes on under a new name before.
const REST_MAX: Duration = Duration::from_hours(1);

pub(super) struct Lanes {
    /// One for each lane, and retention's.
    writers: Vec<Mutex<Writer>>,
    pool: Pool,
    entropy: Arc<dyn Entropy>,
    time: StoreTime,
    history: Arc<History>,
}

/// A function of the database that changes something.
#[derive(Clone, Copy)]
pub(super) struct Call<'a> {
    pub(super) sql: &'a str,
    /// Its fourth parameter is whether it may have been made before.
    pub(super) asks_again: bool,
}

impl<'a> From<&'a str> for Call<'a> {
    fn from(sql: &'a str) -> Self {
        Self { sql, asks_again: false }
    }
}

/// One lane's name and the number of its last batch that is known to have committed.
struct Writer {
    name: Id,
    n: i64,
    used: Instant,
}

impl Lanes {
    pub(super) fn new(
        count: usize,
        pool: Pool,
        entropy: Arc<dyn Entropy>,
        time: StoreTime,
        history: Arc<History>,
    ) -> Self {
        let writers = (0..=count.max(1)).map(|_| Mutex::new(Writer::named(&*entropy))).collect();
        Self { writers, pool, entropy, time, history }
    }

    /// Retention's is not among them.
    pub(super) fn count(&self) -> usize {
        self.writers.len() - 1
    }

    pub(super) fn close(&self) {
        self.pool.close();
    }

    /// Makes a call whose first parameters are the writer's name, the batch's number and the timeline. After a lost
    /// answer the same call is sent again: the database answers what it answered, or does it now.
    pub(super) async fn call(
        &self,
        lane: usize,
        call: impl Into<Call<'_>>,
        rest: &[Parameter<'_>],
    ) -> Result<Row, CommitError> {
        let mut writer = self.writers[lane % self.writers.len()].lock().await;
        if writer.used.elapsed() > REST_MAX {
            *writer = Writer::named(&*self.entropy);
        }
        writer.used = Instant::now();
        let n = writer.n + 1;
        let name = writer.name;
        match self.until_answered(call.into(), (&name, &n), rest).await {
            Ok(row) => {
                writer.n = n;
                Ok(row)
            }
            Err(error) => {
                if matches!(error, CommitError::Unknown(_)) {
                    *writer = Writer::named(&*self.entropy);
                }
                Err(error)
            }
        }
    }

    async fn until_answered(
        &self,
        call: Call<'_>,
        (name, n): (&Id, &i64),
        rest: &[Parameter<'_>],
    ) -> Result<Row, CommitError> {
        let started = Instant::now();
        let mut doubtful = false;
        loop {
            let timeline = self.history.timeline();
            let mut parameters: Vec<Parameter<'_>> =
                vec![(name, Type::UUID), (n, Type::INT8), (&timeline, Type::INT4)];
            let again = doubtful;
            if call.asks_again {
                parameters.push((&again, Type::BOOL));
            }
            parameters.extend(rest.iter().cloned());
            let fault =
                match self.once(call.sql, &parameters, SILENCE_MAX.saturating_sub(started.elapsed())).await {
                    Ok(row) => return Ok(row),
                    Err(fault) => fault,
                };
            doubtful |= matches!(fault, Fault::Doubtful(_) | Fault::Late(_) | Fault::Unreadable(_));
            let again = match &fault {
                Fault::Rejected(text) if !doubtful => return Err(CommitError::Rejected(text.clone())),
                Fault::Unavailable(_) | Fault::Rejected(_) | Fault::Unreadable(_) => doubtful,
                Fault::OtherTimeline => self.history.recognise(&self.pool).await.is_ok(),
                Fault::NoPartition => self.make_partitions().await.is_ok(),
                Fault::Unsent(_) | Fault::Doubtful(_) | Fault::Late(_) | Fault::Again(_) => true,
            };
            let limit = if doubtful { SILENCE_MAX } else { TRIED_MAX };
            if !again || started.elapsed() + PAUSE >= limit {
                let text = fault.text().to_owned();
                return Err(if doubtful {
                    CommitError::Unknown(text)
                } else {
                    CommitError::Unavailable(text)
                });
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn once(&self, sql: &str, parameters: &[Parameter<'_>], timeout: Duration) -> Result<Row, Fault> {
        let started = Instant::now();
        let connection = match tokio::time::timeout(timeout, self.pool.connection()).await {
            Ok(connection) => connection?,
            Err(_) => return Err(Fault::Unsent("no connection".into())),
        };
        let left = timeout.saturating_sub(started.elapsed());
        let rows = self.pool.query_on(connection, sql, parameters, left).await?;
        rows.into_iter().next().ok_or_else(|| Fault::Unreadable("an answer without a row".into()))
    }

    /// The days around now, and the one before in case the clock was set back.
    async fn make_partitions(&self) -> Result<(), Fault> {
        make_partitions(&self.pool, &self.time).await
    }
}

pub(super) async fn make_partitions(pool: &Pool, time: &StoreTime) -> Result<(), Fault> {
    const DAY: Duration = Duration::from_hours(24);
    let now = time.now();
    let (first, last) = ((now - DAY).as_micros(), (now + DAY * 3).as_micros());
    pool.query("SELECT tidings.make_partitions($1, $2)", &[(&first, Type::INT8), (&last, Type::INT8)])
        .await?;
    Ok(())
}

impl Writer {
    fn named(entropy: &dyn Entropy) -> Self {
        let mut name = [0; 16];
        entropy.fill(&mut name);
        Self { name: Id(name), n: 0, used: Instant::now() }
    }
}
