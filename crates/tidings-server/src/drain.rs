//! Whether the server is stopping.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::problem::{Kind, Problem};

/// Set once, when the server begins to stop: new streams and leases are refused, waiting ones end.
#[derive(Debug, Clone, Default)]
pub struct Drain(CancellationToken);

impl Drain {
    pub fn begin(&self) {
        self.0.cancel();
    }

    pub fn has_begun(&self) -> bool {
        self.0.is_cancelled()
    }

    pub async fn started(&self) {
        self.0.cancelled().await;
    }

    /// Refuses what should not begin on a server that stops.
    pub(crate) fn refuse(&self) -> Result<(), Problem> {
        if !self.has_begun() {
            return Ok(());
        }
        let detail = "The server is stopping. Another one, or this one restarted, will take the request.";
        Err(Problem::new(Kind::Draining, detail).retry_after(Duration::from_secs(2)))
    }
}
