//! The administrator's API key: where it is kept, and who makes it.

use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret as _, SecretString};
use tidings_core::{Grant, ScopeSet, SystemEntropy, Tenants};
use tidings_store::{Cluster, Command, CommandError, Journal, NewKey, Store};
use zeroize::Zeroizing;

use super::{
    ServerKeys, files,
    shared::{self, Kept, Place},
};
use crate::{
    KeysError, MasterKeys,
    api_key::{self, KeyRequest},
};

const FILE: &str = "admin.key";

/// The administrator's API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdminKey {
    /// The file that holds its text; it may have been taken away since. Of servers that share a
    /// database only the one that made the key has it.
    pub path: PathBuf,
    /// Whether it was made and written just now: the moment to tell how to use it.
    pub created: bool,
}

impl ServerKeys {
    /// Sees to it that the store has an operator's key. Where it has none, the one in `admin.key`, or of
    /// servers on one database the one that is sealed there, is put there, made first if need be; where it
    /// has one, nothing changes, so that an administrator who took the file away or revoked its key does
    /// not find a new one.
    pub async fn ensure_admin_key(
        &self,
        store: &dyn Store,
        journal: &Journal,
    ) -> Result<AdminKey, KeysError> {
        let path = self.0.data.join(FILE);
        if !store.keys(None, None, 1).await?.is_empty() {
            return Ok(AdminKey { path, created: false });
        }
        let Kept { text, created } = self.put_admin_key(store, journal).await?;
        let created = created && (!self.0.shared || self.write(&path, &text));
        Ok(AdminKey { path, created })
    }

    /// An administrator's key beside whatever operators' keys the store has: of servers on one database the one that is
    /// sealed there, else one that is made now. Returns its text.
    pub async fn make_admin_key(
        &self,
        store: &dyn Store,
        journal: &Journal,
    ) -> Result<SecretString, KeysError> {
        let Kept { text, .. } = self.put_admin_key(store, journal).await?;
        Ok(SecretString::from(text.as_str()))
    }

    async fn put_admin_key(&self, store: &dyn Store, journal: &Journal) -> Result<Kept, KeysError> {
        let path = self.0.data.join(FILE);
        let grant = Grant { tenants: Tenants::All, user: None, scopes: ScopeSet::all(), subjects: None };
        let request = KeyRequest { name: "administrator".into(), grant, expires_at: None };
        let (mut key, made) = api_key::generate(request, self.0.clock.now(), &*self.0.entropy);
        // Kept first: a crash in between leaves a key that the next start puts into the store.
        let Kept { text, created } = self.keep(store.cluster(), &path, &made).await?;
        let text = Zeroizing::new(text.trim().to_owned());
        key.id = api_key::parse_id(&text).map_err(|_| KeysError::Malformed { path, what: "an API key" })?;
        key.hash = api_key::digest(&text);
        put(store, journal, key).await?;
        Ok(Kept { text, created })
    }

    /// The text that counts: this one, or the one that is there.
    async fn keep(
        &self,
        cluster: Option<&dyn Cluster>,
        path: &Path,
        made: &SecretString,
    ) -> Result<Kept, KeysError> {
        let new = || Zeroizing::new(format!("{}\n", made.expose_secret()));
        if let Some(cluster) = cluster.filter(|_| self.0.shared) {
            let place = Place { cluster, master: &self.0.master, entropy: &*self.0.entropy };
            return place.read_or_create(shared::ADMIN, new).await;
        }
        let text = files::read_or_create(path, &*self.0.entropy, new)?;
        Ok(Kept { created: text.trim() == made.expose_secret(), text })
    }

    /// Writes the shared key where its maker's operator finds it. A server on a database needs no folder
    /// that can be written, and the key can be had from the database.
    fn write(&self, path: &Path, text: &str) -> bool {
        let new = || Zeroizing::new(format!("{text}\n"));
        let written = files::make_folder(&self.0.data)
            .and_then(|()| files::read_or_create(path, &*self.0.entropy, new));
        match written {
            Ok(found) if found.trim() == text => true,
            Ok(_) => {
                tracing::warn!(path = %path.display(), "the file holds another key: `tidings keys admin` prints the new one");
                false
            }
            Err(error) => {
                tracing::warn!(%error, "the administrator key was not written: `tidings keys admin` prints it");
                false
            }
        }
    }
}

/// Of several servers that put the one key at once, the first does.
async fn put(store: &dyn Store, journal: &Journal, key: NewKey) -> Result<(), KeysError> {
    let id = key.id;
    match journal.submit(Command::PutOperatorKey(key)).await {
        Ok(_) => Ok(()),
        Err(CommandError::Rejected(_)) if store.key(id).await?.is_some() => Ok(()),
        Err(error) => Err(KeysError::Store(error)),
    }
}

/// The text of the administrator's key in a data folder, if its file is there: what a command on the
/// server's own machine acts with.
pub fn read_admin_key(data: &Path) -> Result<Option<SecretString>, KeysError> {
    Ok(files::read(&data.join(FILE))?.map(|text| SecretString::from(text.trim())))
}

/// The text of the administrator's key that servers on one database made, if they have.
pub async fn read_shared_admin_key(
    cluster: &dyn Cluster,
    master: &MasterKeys,
) -> Result<Option<SecretString>, KeysError> {
    let place = Place { cluster, master, entropy: &SystemEntropy };
    Ok(place.read(shared::ADMIN).await?.map(|text| SecretString::from(text.trim())))
}
