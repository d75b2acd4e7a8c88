//! Opening a feed: it is registered, and listened for, before its head is read, so that no event falls
//! between.

use std::sync::{Arc, atomic::Ordering};

use tidings_store::{LogState, ReadError};

use super::{Ended, Feed};

impl Feed {
    /// Reads where the log stands, once for all who open it now. `false`: there is no such tenant.
    /// After an error, or where the reading caller went away, the next caller reads.
    pub(crate) async fn open(self: &Arc<Self>) -> Result<bool, ReadError> {
        let read = || async {
            self.listen().await;
            let asked_at = self.node.now();
            match self.node.store.log_state(&self.tenant).await? {
                Some(log) => {
                    self.confirm(asked_at);
                    self.begin(&log);
                }
                None => self.end(Ended::Gone),
            }
            Ok(self.ended() != Some(Ended::Gone))
        };
        self.opened.get_or_try_init(read).await.copied()
    }

    /// Reads anew how the log stands, where the feed is open.
    pub(crate) async fn read_log(self: &Arc<Self>) -> Result<(), ReadError> {
        if self.epoch.get().is_none() || self.ended().is_some() {
            return Ok(());
        }
        match self.node.store.log_state(&self.tenant).await? {
            Some(log) => self.note(&log),
            None => self.end(Ended::Gone),
        }
        Ok(())
    }

    fn begin(self: &Arc<Self>, log: &LogState) {
        self.epoch.set(log.epoch.clone()).expect("a feed begins once");
        self.raise_oldest(log.oldest);
        let stamp = self.node.next_stamp();
        let mut gone = Vec::new();
        let repair = {
            let mut order = self.order.lock();
            for event in order.open(log.head, &log.epoch) {
                order.offer(&event, None, |event| self.slot(event), stamp, &mut gone);
            }
            self.head.store(order.tail().get(), Ordering::Release);
            self.start_repair(&mut order)
        };
        if repair {
            self.spawn_repair();
        }
        self.node.keep_budget();
    }
}
