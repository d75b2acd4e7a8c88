//! The secrets that servers on one database share, without the database.

use std::{collections::BTreeMap, sync::Mutex};

use async_trait::async_trait;
use tidings_store::{ClusterError, stand_in::ClusterStandIn};

#[derive(Debug, Default)]
pub(crate) struct Secrets(Mutex<BTreeMap<String, Vec<u8>>>);

impl Secrets {
    pub(crate) fn all(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.lock().expect("no holder panics").clone()
    }

    /// Puts one where another is.
    pub(crate) fn put(&self, name: &str, sealed: Vec<u8>) {
        self.0.lock().expect("no holder panics").insert(name.to_owned(), sealed);
    }
}

#[async_trait]
impl ClusterStandIn for Secrets {
    async fn secret(&self, name: &str) -> Result<Option<Vec<u8>>, ClusterError> {
        let found = self.all().remove(name);
        // Whoever else starts may come in between.
        tokio::task::yield_now().await;
        Ok(found)
    }

    async fn offer_secret(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, ClusterError> {
        let mut all = self.0.lock().expect("no holder panics");
        Ok(all.entry(name.to_owned()).or_insert_with(|| sealed.to_vec()).clone())
    }

    async fn replace_secret(&self, name: &str, from: &[u8], to: &[u8]) -> Result<bool, ClusterError> {
        let mut all = self.0.lock().expect("no holder panics");
        let same = all.get(name).is_some_and(|kept| kept == from);
        if same {
            all.insert(name.to_owned(), to.to_vec());
        }
        Ok(same)
    }
}
