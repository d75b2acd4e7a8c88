//! What a configuration leaves slower or undone, whatever runs.

use super::{Config, Role, StoreChoice};

impl Config {
    /// A sentence for each; none where nothing is missing. What is out of reach at a moment is `/health/ready`'s to say.
    pub fn degraded(&self) -> Vec<&'static str> {
        let Ok(StoreChoice::Postgres(_)) = self.server.store_choice() else { return Vec::new() };
        let without = |role| !self.server.has_role(role);
        let cases = [
            (
                self.server.redis.is_none(),
                "server.redis is not set: nodes hear of each other's commits by asking the database twenty times a second \
                 each, and count live connections in it",
            ),
            (
                self.secrets.master_key.is_none(),
                "secrets.master_key is not set: a server does not start without it",
            ),
            (without(Role::Api), "server.roles has no api: this node answers /health and nothing else"),
            (
                without(Role::Scheduler),
                "server.roles has no scheduler: unless another node has it, lost leases stay, nothing expires, schedules do \
                 not fire and the outbox is not moved",
            ),
            (
                without(Role::Webhooks),
                "server.roles has no webhooks: unless another node has it, webhooks are not delivered",
            ),
        ];
        cases.into_iter().filter(|(is_so, _)| *is_so).map(|(_, sentence)| sentence).collect()
    }
}
