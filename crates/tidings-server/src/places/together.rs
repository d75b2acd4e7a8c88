//! Where the nodes count together.

use std::{error::Error as StdError, sync::Arc, time::Duration};

use async_trait::async_trait;
use tidings_live::RedisBus;
use tidings_store::{PlacesAsked, PlacesGiven, Store};

/// Why it did not answer.
pub(crate) type Silence = Box<dyn StdError + Send + Sync>;

/// Gives places as far as all nodes' counts let it. See [`tidings_store::Cluster::places`].
#[async_trait]
pub(crate) trait Together: Send + Sync {
    async fn places(&self, asked: &[PlacesAsked]) -> Result<Vec<PlacesGiven>, Silence>;

    /// How often everything is to be said again.
    fn again(&self) -> Duration;
}

/// In the store, where what a node has counts while it says that it is alive.
pub(crate) struct InStore(pub(crate) Arc<dyn Store>);

/// In Redis, where what a node says counts for a while.
pub(crate) struct InRedis(pub(crate) Arc<RedisBus>);

#[async_trait]
impl Together for InStore {
    async fn places(&self, asked: &[PlacesAsked]) -> Result<Vec<PlacesGiven>, Silence> {
        let cluster = self.0.cluster().ok_or("the store is this node's alone")?;
        Ok(cluster.places(asked).await?)
    }

    /// For what was lost with a table that is not logged.
    fn again(&self) -> Duration {
        Duration::from_mins(1)
    }
}

impl InRedis {
    const HOLD: Duration = Duration::from_secs(30);
}

#[async_trait]
impl Together for InRedis {
    async fn places(&self, asked: &[PlacesAsked]) -> Result<Vec<PlacesGiven>, Silence> {
        Ok(self.0.places(asked, Self::HOLD).await?)
    }

    fn again(&self) -> Duration {
        Self::HOLD / 3
    }
}
