use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// How many connections there are, and when there are none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Active(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    connections: AtomicUsize,
    none: Notify,
}

/// One connection's place in the count, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place(Active);

impl Active {
    pub(crate) fn take(&self) -> Place {
        self.0.connections.fetch_add(1, Ordering::AcqRel);
        Place(self.clone())
    }

    pub(crate) fn count(&self) -> usize {
        self.0.connections.load(Ordering::Acquire)
    }

    pub(crate) async fn none(&self) {
        loop {
            let notified = self.0.none.notified();
            tokio::pin!(notified);
            notified.as_mut().enable();
            if self.count() == 0 {
                return;
            }
            notified.await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.0.0.connections.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.0.none.notify_waiters();
        }
    }
}
