//! Several nodes on one PostgreSQL and one Redis.

use std::{net::SocketAddr, sync::Arc, thread};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rand::RngExt as _;
use tidings_testkit::{Netns, PgBouncer, Postgres, Proxy, Redis};

use crate::{Api, Server, ServerOptions, server::ALL_SCOPES};

const DATABASE: &str = "tidings";

/// How to start them.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    nodes: usize,
    redis: bool,
    pooled: bool,
    node: ServerOptions,
    reach: Reach,
}

/// How the first node reaches PostgreSQL and Redis. The others reach them directly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Directly,
    ByProxies,
    FromANetns,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        let node = ServerOptions::new().set("jobs.lease", "2s").set("limits.lag", 1_000_000);
        Self { nodes: 3, redis: true, pooled: false, node, reach: Reach::Directly }
    }
}

impl ClusterOptions {
    #[must_use]
    pub const fn nodes(mut self, nodes: usize) -> Self {
        self.nodes = nodes;
        self
    }

    /// PostgreSQL alone.
    #[must_use]
    pub const fn without_redis(mut self) -> Self {
        self.redis = false;
        self
    }

    /// All nodes reach PostgreSQL through a PgBouncer in transaction mode.
    #[must_use]
    pub const fn pooled(mut self) -> Self {
        self.pooled = true;
        self
    }

    /// The first node reaches PostgreSQL and Redis by [`Cluster::proxies`].
    #[must_use]
    pub const fn first_by_proxies(mut self) -> Self {
        self.reach = Reach::ByProxies;
        self
    }

    /// The first node runs in [`Cluster::netns`], and reaches PostgreSQL and Redis by [`Cluster::proxies`] on its edge.
    #[must_use]
    pub const fn first_in_a_netns(mut self) -> Self {
        self.reach = Reach::FromANetns;
        self
    }

    /// All limits of every node are as they are shipped, but for those that are set.
    #[must_use]
    pub fn as_shipped(mut self) -> Self {
        self.node = ServerOptions::new().as_shipped();
        self
    }

    /// A configuration key of every node.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.node = self.node.set(key, value);
        self
    }

    /// Starts PostgreSQL and Redis, and then all nodes at once.
    pub fn start(self) -> Cluster {
        Cluster::with(&self)
    }
}

/// Where the first node reaches the others' servers.
#[derive(Debug)]
pub struct Proxies {
    pub postgres: Proxy,
    pub redis: Option<Proxy>,
}

/// The nodes end before what they stand on.
#[derive(Debug)]
pub struct Cluster {
    pub nodes: Vec<Server>,
    pub proxies: Option<Proxies>,
    pub netns: Option<Arc<Netns>>,
    pub pooler: Option<PgBouncer>,
    pub redis: Option<Redis>,
    pub postgres: Postgres,
}

impl Cluster {
    /// Three nodes, each with PostgreSQL and Redis within reach.
    pub fn start() -> Self {
        Self::options().start()
    }

    pub fn options() -> ClusterOptions {
        ClusterOptions::default()
    }

    fn with(options: &ClusterOptions) -> Self {
        let postgres = Postgres::start();
        postgres.database(DATABASE);
        let redis = options.redis.then(Redis::start);
        let pooler = options.pooled.then(|| PgBouncer::start(&postgres));
        let database = pooler.as_ref().map_or(postgres.addr(), PgBouncer::addr);
        let netns = (options.reach == Reach::FromANetns).then(|| Arc::new(Netns::start()));
        let edge = |target: SocketAddr| match &netns {
            Some(netns) => Proxy::between(netns.outside().into(), target),
            None => Proxy::to(target),
        };
        let proxies = (options.reach != Reach::Directly)
            .then(|| Proxies { postgres: edge(database), redis: redis.as_ref().map(|r| edge(r.addr())) });
        let mut cluster = Self { nodes: Vec::new(), proxies, netns, pooler, redis, postgres };
        cluster.nodes = cluster.start_nodes(options, database);
        cluster.share_admin_key();
        cluster
    }

    fn start_nodes(&self, options: &ClusterOptions, database: SocketAddr) -> Vec<Server> {
        let master_key = STANDARD.encode(rand::rng().random::<[u8; 32]>());
        let node = |n: usize| {
            let proxies = self.proxies.as_ref().filter(|_| n == 0);
            let store = self.postgres.url_at(proxies.map_or(database, |p| p.postgres.addr()), DATABASE);
            let mut node = options.node.clone().arg("--store").arg(&store);
            node = node.env("TIDINGS_SERVER__STORE", &store).env("TIDINGS_SECRETS__MASTER_KEY", &master_key);
            if let Some(redis) = &self.redis {
                let addr = proxies.and_then(|p| p.redis.as_ref()).map_or(redis.addr(), Proxy::addr);
                node = node.arg("--redis").arg(&redis.url_at(addr));
            }
            match &self.netns {
                Some(netns) if n == 0 => node.inside(netns),
                _ => node,
            }
        };
        thread::scope(|scope| {
            let starting: Vec<_> =
                (0..options.nodes).map(node).map(|node| scope.spawn(|| node.start())).collect();
            starting.into_iter().map(|node| node.join().expect("a node starts")).collect()
        })
    }

    /// One node made it and has it in its folder.
    fn share_admin_key(&self) {
        let keys: Vec<_> = self.nodes.iter().filter_map(Server::own_admin_key).collect();
        assert_eq!(keys.len(), 1, "administrator keys");
        for node in &self.nodes {
            node.know_admin_key(&keys[0]);
        }
    }

    /// Makes `tenant`, and gives its backend's credential on every node.
    pub fn tenant(&self, tenant: &str) -> Vec<Api> {
        let first = self.nodes[0].tenant(tenant);
        self.nodes.iter().map(|node| Api { addr: node.addr, ..first.clone() }).collect()
    }

    /// `user` of `tenant` on every node, with the backend's scopes.
    pub fn user(&self, tenant: &str, user: &str) -> Vec<Api> {
        let first = self.nodes[0].user(tenant, user, ALL_SCOPES);
        self.nodes.iter().map(|node| Api { addr: node.addr, ..first.clone() }).collect()
    }

    /// Rows of a query in the nodes' database, columns parted by `|`.
    pub fn sql(&self, sql: &str) -> String {
        self.postgres.psql(DATABASE, sql)
    }
}
