use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{sync::Notify, time::sleep};
use tokio_util::sync::CancellationToken;

use crate::Client;

/// Between two reports of one job.
const INTERVAL: Duration = Duration::from_millis(100);

/// The newest progress that has not been sent. One place: what is newer replaces it.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    pending: Mutex<Option<(u8, Option<String>)>>,
    changed: Notify,
    /// Held while one is on its way: reports of one job never overtake each other.
    sending: tokio::sync::Mutex<()>,
}

impl Progress {
    pub(super) fn set(&self, percent: u8, message: Option<String>) {
        *self.0.pending.lock().expect("no panic while held") = Some((percent, message));
        self.0.changed.notify_one();
    }

    fn take(&self) -> Option<(u8, Option<String>)> {
        self.0.pending.lock().expect("no panic while held").take()
    }

    /// Sends what comes, until `over`.
    pub(super) async fn forward(&self, client: &Client, lease: &str, over: &CancellationToken) {
        loop {
            tokio::select! {
                biased;
                () = over.cancelled() => return,
                () = self.0.changed.notified() => {}
            }
            self.flush(client, lease).await;
            tokio::select! {
                () = over.cancelled() => return,
                () = sleep(INTERVAL) => {}
            }
        }
    }

    /// Sends what is pending; when it returns, nothing is on its way. Progress that cannot be sent is worth no repeat: newer follows.
    pub(super) async fn flush(&self, client: &Client, lease: &str) {
        let _sending = self.0.sending.lock().await;
        if let Some((percent, message)) = self.take()
            && let Err(error) = client.progress(lease, percent, message.as_deref()).await
        {
            tracing::debug!(%error, "progress was not taken");
        }
    }
}
