//! Redis Cluster.

use crate::{
    Redis, RedisOptions, program,
    wait::{self, LONG},
};

/// Primaries without replicas, between which all slots are shared out.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
}

impl RedisCluster {
    /// # Panics
    /// With fewer than three nodes, the least that Redis takes, or when it does not come about.
    pub fn start(nodes: usize) -> Self {
        Self::with(nodes, &RedisOptions::default())
    }

    /// Every node with these options.
    pub fn with(nodes: usize, options: &RedisOptions) -> Self {
        let options = RedisOptions { cluster: true, ..options.clone() };
        let nodes: Vec<_> = (0..nodes).map(|_| options.clone().start()).collect();
        let addrs = nodes.iter().map(|node| node.addr().to_string());
        let mut create = nodes[0].cli_command();
        create.args(["--cluster", "create"]).args(addrs);
        program::run(create.args(["--cluster-replicas", "0", "--cluster-yes"]));
        let cluster = Self { nodes };
        wait::until_true("every node to see the whole cluster", LONG, || {
            cluster.nodes.iter().all(|node| node.cli(&["CLUSTER", "INFO"]).contains("cluster_state:ok"))
        });
        cluster
    }

    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// The URLs of all nodes, parted by commas.
    pub fn urls(&self) -> String {
        self.nodes.iter().map(Redis::url).collect::<Vec<_>>().join(",")
    }
}
