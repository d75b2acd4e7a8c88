//! Hearing what other nodes commit, for as long as a feed is of use.

use std::sync::Arc;

use tidings_core::TenantId;

use super::Feed;
use crate::Bus;

/// The bus brings the tenant's news until this is dropped.
pub(super) struct Listening {
    bus: Arc<dyn Bus>,
    tenant: TenantId,
}

impl Feed {
    /// Returns once the bus brings what is committed from now on, or is out of reach.
    pub(super) async fn listen(&self) {
        let bus = &self.node.bus;
        if self.listening.lock().is_none() {
            bus.join(&self.tenant);
            let listening = Listening { bus: bus.clone(), tenant: self.tenant.clone() };
            let spare = self.listening.lock().replace(listening);
            drop(spare);
            // It may have ended meanwhile.
            if self.ended().is_some() {
                self.stop_listening();
            }
        }
        bus.joined(&self.tenant).await;
    }

    pub(super) fn stop_listening(&self) {
        let listening = self.listening.lock().take();
        drop(listening);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.bus.leave(&self.tenant);
    }
}

impl std::fmt::Debug for Listening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Listening").field("tenant", &self.tenant).finish_non_exhaustive()
    }
}
