//! A stub resolver: it asks recursive name servers for A and AAAA records, and no more.

use std::{net::IpAddr, sync::Arc, time::Duration};

use tokio::{sync::Semaphore, time::Instant};

use crate::resolve::{Answer, Resolve, ResolveError, Resolving};

use cache::Cache;
use message::Kind;
use system::System;

mod cache;
mod config;
mod exchange;
mod message;
mod system;

pub use config::DnsConfig;

/// Asks name servers by UDP, and by TCP where an answer was cut. Cheap to clone.
///
/// At most [`DnsConfig::lookups_max`] lookups are under way; further ones wait. Answers are remembered as long as they
/// hold, at most [`DnsConfig::ttl_max`] and [`DnsConfig::names_max`] of them; one with a TTL of zero never is, nor is a failure.
#[derive(Debug, Clone)]
pub struct Dns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    source: Source,
    cache: Cache,
    lookups: Semaphore,
}

#[derive(Debug)]
enum Source {
    Fixed(Arc<DnsConfig>),
    System(System),
}

impl Dns {
    pub fn new(config: DnsConfig) -> Self {
        Self::of(&Arc::new(config), Source::Fixed)
    }

    /// The servers of `/etc/resolv.conf` and the names of `/etc/hosts`, which are read again a few seconds after they have
    /// changed. The search list is not used: names are complete.
    pub fn system() -> Self {
        let system = System::new();
        let config = system.config();
        Self::of(&config, |_| Source::System(system))
    }

    fn of(config: &Arc<DnsConfig>, source: impl FnOnce(Arc<DnsConfig>) -> Source) -> Self {
        let (cache, lookups) = (Cache::new(config.names_max), Semaphore::new(config.lookups_max));
        Self(Arc::new(Shared { source: source(Arc::clone(config)), cache, lookups }))
    }

    async fn lookup(&self, name: &str) -> Result<Answer, ResolveError> {
        let (shared, config) = (&*self.0, self.0.source.config());
        if let Some(addresses) = config.hosts.get(name) {
            return Ok(Answer { addresses: addresses.clone(), ttl: Duration::ZERO });
        }
        if let Some(answer) = shared.cache.get(name, Instant::now()) {
            return Ok(answer);
        }
        let _permit = shared.lookups.acquire().await.map_err(|_| ResolveError::Failed)?;
        let (v6, v4) = tokio::join!(ask(&config, name, Kind::V6), ask(&config, name, Kind::V4));
        let mut answer = both(v6, v4)?;
        answer.ttl = answer.ttl.min(config.ttl_max);
        shared.cache.put(name, &answer, Instant::now());
        Ok(answer)
    }
}

impl Source {
    fn config(&self) -> Arc<DnsConfig> {
        match self {
            Self::Fixed(config) => Arc::clone(config),
            Self::System(system) => system.config(),
        }
    }
}

/// One server after the other, for as many rounds as are configured. That a name does not exist is an answer.
async fn ask(config: &DnsConfig, name: &str, kind: Kind) -> Result<Answer, ResolveError> {
    let mut last = ResolveError::Failed;
    for _ in 0..config.rounds {
        for server in &config.servers {
            match exchange::ask(*server, name, kind, config.timeout).await {
                Err(error @ (ResolveError::Failed | ResolveError::TimedOut)) => last = error,
                answered => return answered,
            }
        }
    }
    Err(last)
}

impl Resolve for Dns {
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a> {
        Box::pin(self.lookup(name))
    }
}

/// The addresses of both families. One family's failure hides nothing that would be dialled: only what was answered is.
fn both(v6: Result<Answer, ResolveError>, v4: Result<Answer, ResolveError>) -> Result<Answer, ResolveError> {
    match (v6, v4) {
        (Ok(v6), Ok(v4)) => {
            Ok(Answer { addresses: interleaved(v6.addresses, v4.addresses), ttl: v6.ttl.min(v4.ttl) })
        }
        (Ok(answer), Err(_)) | (Err(_), Ok(answer)) => Ok(answer),
        (Err(ResolveError::NotFound), Err(error)) | (Err(error), Err(_)) => Err(error),
    }
}

/// The families in turn, so that one that leads nowhere costs one attempt.
fn interleaved(v6: Vec<IpAddr>, v4: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut all = Vec::with_capacity(v6.len() + v4.len());
    loop {
        let pair = [v6.next(), v4.next()];
        if pair == [None, None] {
            return all;
        }
        all.extend(pair.into_iter().flatten());
    }
}

/// Reads any bytes as the answer to each question that they could be one to.
#[doc(hidden)]
pub fn read_answer(datagram: &[u8]) {
    let id = datagram.first_chunk().map_or(0, |id| u16::from_be_bytes(*id));
    for kind in [Kind::V4, Kind::V6] {
        if let message::Reading::Answer(Ok(answer)) = message::read(datagram, id, "a.example", kind) {
            assert!(!answer.addresses.is_empty() && answer.addresses.len() <= message::ADDRESSES_MAX);
        }
    }
}
