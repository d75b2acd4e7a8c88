//! What the limits ask of the system.

use tidings_webhooks::sender::SenderConfig;

use super::{Config, Role, StoreChoice};

impl Config {
    /// How many file descriptors this process can need before a limit refuses anything: one for each connection that it may have, and
    /// some for itself.
    pub fn descriptors_max(&self) -> usize {
        /// The embedded store's files, Redis, what the threads wait on.
        const RESERVE: usize = 256;
        let listeners = 1 + usize::from(self.server.ops_listen.0.is_some());
        let database = match self.server.store_choice() {
            Ok(StoreChoice::Postgres(_)) => self.postgres.connections,
            _ => 0,
        };
        let webhooks =
            if self.server.has_role(Role::Webhooks) { SenderConfig::default().connections_max } else { 0 };
        let Self { limits, .. } = self;
        limits.connections + listeners * limits.listener_connections + database + webhooks + RESERVE
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Loaded, Sources};

    fn needed(sets: &[&str]) -> usize {
        let sets = sets.iter().map(|set| (*set).to_owned()).collect();
        Loaded::load(Sources { sets, ..Sources::default() }).expect("valid").config.descriptors_max()
    }

    #[test]
    fn every_connection_that_may_be_takes_one() {
        let shipped = needed(&[]);
        assert_eq!(shipped, 1_000 + 2 * 4_096 + 4_096 + 256);
        assert_eq!(needed(&["limits.connections=5000"]), shipped + 4_000);
        assert_eq!(needed(&["limits.listener_connections=5096"]), shipped + 2_000);
        assert_eq!(needed(&["server.ops_listen=off"]), shipped - 4_096);
        let shared = ["server.store=postgres://db/x", "postgres.connections=40"];
        assert_eq!(needed(&shared), shipped + 40);
        let api = [shared[0], shared[1], "server.roles=api"];
        assert_eq!(needed(&api), shipped + 40 - 4_096, "another node delivers webhooks");
    }
}
