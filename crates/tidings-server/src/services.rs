//! What runs in the background: stopped together, and never silently gone.

use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The background tasks of one server.
#[derive(Debug, Clone, Default)]
pub(crate) struct Services {
    tasks: TaskTracker,
    stop: CancellationToken,
    failed: CancellationToken,
}

impl Services {
    /// Runs `service` until [`Services::stop`]. Should it end before, by a return or a panic, the
    /// server has failed.
    pub(crate) fn spawn(&self, name: &'static str, service: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        let alarm = self.failed.clone().drop_guard();
        self.tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => drop(alarm.disarm()),
                () = service => tracing::error!(service = name, "a service ended that never should"),
            }
        });
    }

    /// Returns when a service has failed.
    pub(crate) async fn failed(&self) {
        self.failed.cancelled().await;
    }

    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_service_that_ends_or_panics_is_a_failure_and_a_stopped_one_is_not() {
        let returns = Services::default();
        returns.spawn("returns", async {});
        returns.failed().await;
        let panics = Services::default();
        panics.spawn("panics", async { panic!("on purpose") });
        panics.failed().await;
        let stopped = Services::default();
        stopped.spawn("stopped", std::future::pending());
        stopped.stop().await;
        assert!(!stopped.failed.is_cancelled());
    }
}
