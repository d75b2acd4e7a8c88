//! A bus in memory that loses, doubles and reorders as the test says.

use std::{
    collections::HashMap,
    sync::{Arc, OnceLock},
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_core::{Epoch, Event, TenantId};
use tokio::sync::watch;

use crate::{Bus, BusState, Histories, Listener, News};

/// What is between the nodes.
#[derive(Default)]
pub(crate) struct Wire {
    buses: Mutex<Vec<Arc<WireBus>>>,
    flying: Mutex<Vec<(usize, News)>>,
}

/// One node's end.
pub(crate) struct WireBus {
    wire: Arc<Wire>,
    number: usize,
    listener: OnceLock<Arc<dyn Listener>>,
    pub(crate) joined: Mutex<HashMap<TenantId, usize>>,
    pub(crate) connected: watch::Sender<bool>,
}

impl Wire {
    pub(crate) fn bus(self: &Arc<Self>) -> Arc<WireBus> {
        let mut buses = self.buses.lock();
        let bus = Arc::new(WireBus {
            wire: self.clone(),
            number: buses.len(),
            listener: OnceLock::new(),
            joined: Mutex::default(),
            connected: watch::Sender::new(true),
        });
        buses.push(bus.clone());
        bus
    }

    /// Takes one message, whichever `pick` falls on.
    pub(crate) fn take(&self, pick: usize) -> Option<(usize, News)> {
        let mut flying = self.flying.lock();
        let at = pick.checked_rem(flying.len())?;
        Some(flying.swap_remove(at))
    }

    /// Brings a message to every other node that has joined its tenant.
    pub(crate) fn bring(&self, (from, news): &(usize, News)) {
        let buses = self.buses.lock().clone();
        for bus in buses.iter().filter(|bus| bus.number != *from) {
            if bus.joined.lock().contains_key(&news.tenant) {
                bus.listener.get().expect("attached").heard(news);
            }
        }
    }

    /// Brings all there is, in order.
    pub(crate) fn bring_all(&self) {
        let flying = std::mem::take(&mut *self.flying.lock());
        for message in &flying {
            self.bring(message);
        }
    }

    pub(crate) fn lose_all(&self) {
        self.flying.lock().clear();
    }

    /// As a node that is none of these would publish it.
    pub(crate) fn forge(&self, news: News) {
        self.bring(&(usize::MAX, news));
    }
}

#[async_trait]
impl Bus for WireBus {
    fn attach(&self, listener: Arc<dyn Listener>) {
        assert!(self.listener.set(listener).is_ok(), "attached once");
    }

    fn publish(&self, events: &[Arc<Event>], epochs: &[(TenantId, Epoch)]) {
        let mut histories = Histories::new(epochs);
        for run in events.chunk_by(|a, b| a.tenant == b.tenant) {
            let Some(epoch) = histories.of(&run[0].tenant) else { continue };
            let (tenant, head) = (run[0].tenant.clone(), run[run.len() - 1].seq);
            let news = News { tenant, epoch: epoch.clone(), head, events: run.into() };
            self.wire.flying.lock().push((self.number, news));
        }
    }

    fn join(&self, tenant: &TenantId) {
        *self.joined.lock().entry(tenant.clone()).or_default() += 1;
    }

    fn leave(&self, tenant: &TenantId) {
        let mut joined = self.joined.lock();
        let joins = joined.get_mut(tenant).expect("joined before");
        *joins -= 1;
        if *joins == 0 {
            joined.remove(tenant);
        }
    }

    async fn joined(&self, _: &TenantId) {
        tokio::task::yield_now().await;
    }

    fn connected(&self) -> watch::Receiver<bool> {
        self.connected.subscribe()
    }

    fn state(&self) -> BusState {
        BusState { connected: *self.connected.borrow(), ..BusState::default() }
    }
}
