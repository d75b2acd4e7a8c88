use std::{fmt, mem, net::SocketAddr, sync::Arc};

use foldhash::HashMap;
use parking_lot::Mutex;
use tidings_core::TenantId;
use tokio::time::Instant;

use super::{
    SenderConfig,
    destination::Key,
    http1::Http1,
    http2::{Http2, Stream},
    permit::Permit,
    using::Using,
};
use crate::shares::Shares;

/// The connections that are open, counted by host. One lock, held for a look-up; nothing is closed under it.
pub(super) struct Pool {
    config: SenderConfig,
    hosts: Mutex<Hosts>,
}

#[derive(Default)]
struct Hosts {
    by_key: HashMap<Key, Host>,
    open: usize,
}

#[derive(Default)]
struct Host {
    /// The latest last: the next to be used.
    idle: Vec<Idle>,
    shared: Vec<Arc<Http2>>,
    open: usize,
    /// Requests that have a connection to themselves, or are making one.
    shares: Shares,
}

struct Idle {
    connection: Box<Http1>,
    since: Instant,
}

/// What a request may go by.
pub(super) enum Found<'a> {
    Http1(Box<Http1>, Using<'a>),
    Http2(Stream),
    /// Nothing yet, and room for one more.
    Room(Permit, Using<'a>),
    Full,
}

impl Pool {
    pub(super) fn new(config: SenderConfig) -> Self {
        Self { config, hosts: Mutex::default() }
    }

    pub(super) fn open(&self) -> usize {
        self.hosts.lock().open
    }

    /// A kept connection whose peer is `permitted` still, unless `reuse` is not wanted; else room for a new one. One for itself
    /// alone only within the tenant's share.
    pub(super) fn find<'a>(
        self: &'a Arc<Self>,
        (key, tenant): (&'a Key, &'a TenantId),
        reuse: bool,
        permitted: impl Fn(SocketAddr) -> bool,
    ) -> Found<'a> {
        let (now, mut past) = (Instant::now(), Past::default());
        let mut hosts = self.hosts.lock();
        if let Some(host) = hosts.by_key.get_mut(key) {
            let fit = |since, born, peer| self.holds(since, born, now) && permitted(peer);
            let admitted = host.shares.admit(tenant, self.config.per_host_max);
            while let Some(Idle { connection, since }) =
                if reuse && admitted { host.idle.pop() } else { None }
            {
                if fit(since, connection.born(), connection.peer()) {
                    host.shares.enter(tenant);
                    return Found::Http1(connection, Using::new(self, key, tenant));
                }
                past.idle.push(connection);
            }
            let (keep, unfit) = mem::take(&mut host.shared)
                .into_iter()
                .partition(|shared: &Arc<Http2>| shared.is_sound() && fit(now, shared.born(), shared.peer()));
            (host.shared, past.shared) = (keep, unfit);
            if let Some(stream) = host.shared.iter().filter(|_| reuse).find_map(Http2::stream) {
                return Found::Http2(stream);
            }
            if !admitted {
                return Found::Full;
            }
        }
        self.room(&mut hosts, (key, tenant), &mut past)
    }

    fn room<'a>(
        self: &'a Arc<Self>,
        hosts: &mut Hosts,
        (key, tenant): (&'a Key, &'a TenantId),
        past: &mut Past,
    ) -> Found<'a> {
        // What was taken out is closed right after this.
        if hosts.open.saturating_sub(past.len()) >= self.config.connections_max && !hosts.evict(past) {
            return Found::Full;
        }
        let host = hosts.by_key.entry(key.clone()).or_default();
        if host.open >= self.config.per_host_max {
            return Found::Full;
        }
        host.open += 1;
        host.shares.enter(tenant);
        hosts.open += 1;
        Found::Room(Permit::new(self, key.clone()), Using::new(self, key, tenant))
    }

    /// Keeps it for the next request, while there are fewer than may be idle.
    pub(super) fn put(&self, key: &Key, connection: Box<Http1>, now: Instant) {
        let mut hosts = self.hosts.lock();
        let Some(host) = hosts.by_key.get_mut(key) else { return };
        if host.idle.len() < self.config.idle_per_host_max {
            host.idle.push(Idle { connection, since: now });
            return;
        }
        drop(hosts);
        drop(connection);
    }

    /// A place on a connection that others have opened meanwhile.
    pub(super) fn shared(&self, key: &Key) -> Option<Stream> {
        let hosts = self.hosts.lock();
        hosts.by_key.get(key)?.shared.iter().filter(|shared| shared.is_sound()).find_map(Http2::stream)
    }

    pub(super) fn share(&self, key: &Key, connection: Arc<Http2>) {
        if let Some(host) = self.hosts.lock().by_key.get_mut(key) {
            host.shared.push(connection);
        }
    }

    pub(super) fn closed(&self, key: &Key) {
        let mut hosts = self.hosts.lock();
        hosts.open -= 1;
        hosts.change(key, |host| host.open -= 1);
    }

    /// A request has done with the connection that it had to itself.
    pub(super) fn leave(&self, key: &Key, tenant: &TenantId) {
        self.hosts.lock().change(key, |host| host.shares.leave(tenant));
    }

    /// Closes what has been idle or open for too long.
    pub(super) fn sweep(&self, now: Instant) {
        let mut past = Past::default();
        let mut hosts = self.hosts.lock();
        for host in hosts.by_key.values_mut() {
            let (keep, old) = mem::take(&mut host.idle)
                .into_iter()
                .partition(|idle| self.holds(idle.since, idle.connection.born(), now));
            host.idle = keep;
            past.idle.extend(old.into_iter().map(|idle: Idle| idle.connection));
            let (keep, old) = mem::take(&mut host.shared).into_iter().partition(|shared: &Arc<Http2>| {
                shared.is_sound() && self.holds(shared.idle_since().unwrap_or(now), shared.born(), now)
            });
            host.shared = keep;
            past.shared.extend::<Vec<_>>(old);
        }
    }

    fn holds(&self, since: Instant, born: Instant, now: Instant) -> bool {
        now.duration_since(since) < self.config.idle && now.duration_since(born) < self.config.age_max
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("open", &self.open()).finish_non_exhaustive()
    }
}

/// Connections that are done with. Declared before the lock is taken, so that it is dropped after it is given back.
#[derive(Default)]
struct Past {
    #[allow(clippy::vec_box, reason = "they are boxed where they come from, and moved often")]
    idle: Vec<Box<Http1>>,
    shared: Vec<Arc<Http2>>,
}

impl Past {
    const fn len(&self) -> usize {
        self.idle.len() + self.shared.len()
    }
}

impl Hosts {
    /// Takes a connection that some host has idle, the one that it has had so for longest.
    fn evict(&mut self, past: &mut Past) -> bool {
        for host in self.by_key.values_mut() {
            if !host.idle.is_empty() {
                past.idle.push(host.idle.remove(0).connection);
                return true;
            }
            if let Some(at) = host.shared.iter().position(|shared| shared.idle_since().is_some()) {
                past.shared.push(host.shared.remove(at));
                return true;
            }
        }
        false
    }

    /// Forgets a host of which nothing is left.
    fn change(&mut self, key: &Key, change: impl FnOnce(&mut Host)) {
        let Some(host) = self.by_key.get_mut(key) else { return };
        change(host);
        if host.open == 0 && host.shares.taken() == 0 {
            self.by_key.remove(key);
        }
    }
}
