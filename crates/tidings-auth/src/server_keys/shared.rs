//! Keys in the database that several servers share, sealed under the master key.

use tidings_core::Entropy;
use tidings_store::Cluster;
use zeroize::Zeroizing;

use crate::{KeysError, MasterKeys};

pub(super) const SIGNING: &str = "signing";
pub(super) const TICKET: &str = "ticket";
pub(super) const ADMIN: &str = "admin";

/// Every secret that is kept there.
const NAMES: [&str; 3] = [SIGNING, TICKET, ADMIN];

/// How often a secret may be changed by others while it is rewrapped.
const TRIES: usize = 10;

/// Where the keys are kept.
pub(super) struct Place<'a> {
    pub(super) cluster: &'a dyn Cluster,
    pub(super) master: &'a MasterKeys,
    pub(super) entropy: &'a dyn Entropy,
}

/// A key's text, and whether it was made just now and here.
pub(super) struct Kept {
    pub(super) text: Zeroizing<String>,
    pub(super) created: bool,
}

/// What became of the sealed secrets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Sealed anew under the present master key.
    pub rewrapped: usize,
    /// Sealed under it already.
    pub kept: usize,
}

impl Place<'_> {
    pub(super) async fn read(&self, name: &'static str) -> Result<Option<Zeroizing<String>>, KeysError> {
        let sealed = self.cluster.secret(name).await?;
        sealed.map(|sealed| self.open(name, &sealed)).transpose()
    }

    /// The secret of that name; where there is none it is made with `new`. Of several that make it at
    /// once one wins and all get its.
    pub(super) async fn read_or_create(
        &self,
        name: &'static str,
        new: impl FnOnce() -> Zeroizing<String> + Send,
    ) -> Result<Kept, KeysError> {
        if let Some(text) = self.read(name).await? {
            return Ok(Kept { text, created: false });
        }
        let offered = self.master.seal(&purpose(name), new().as_bytes(), self.entropy);
        let kept = self.cluster.offer_secret(name, &offered).await?;
        Ok(Kept { text: self.open(name, &kept)?, created: kept == offered })
    }

    fn open(&self, name: &'static str, sealed: &[u8]) -> Result<Zeroizing<String>, KeysError> {
        let bytes =
            self.master.open(&purpose(name), sealed).map_err(|source| KeysError::Sealed { name, source })?;
        let text = std::str::from_utf8(&bytes).map_err(|_| KeysError::SharedMalformed { name })?;
        Ok(Zeroizing::new(text.to_owned()))
    }
}

/// Seals every shared secret anew that the previous master key sealed. To be called again where it was
/// interrupted: what is done stays done, and servers that have both keys read either.
pub async fn rewrap(
    cluster: &dyn Cluster,
    master: &MasterKeys,
    entropy: &dyn Entropy,
) -> Result<Rewrapped, KeysError> {
    let place = Place { cluster, master, entropy };
    let mut done = Rewrapped::default();
    for name in NAMES {
        match place.rewrap(name).await? {
            Some(true) => done.rewrapped += 1,
            Some(false) => done.kept += 1,
            None => {}
        }
    }
    Ok(done)
}

impl Place<'_> {
    /// Whether it had to be sealed anew; `None` where there is no such secret.
    async fn rewrap(&self, name: &'static str) -> Result<Option<bool>, KeysError> {
        for _ in 0..TRIES {
            let Some(sealed) = self.cluster.secret(name).await? else { return Ok(None) };
            if self.master.is_current(&sealed) {
                return Ok(Some(false));
            }
            let text = self.open(name, &sealed)?;
            let anew = self.master.seal(&purpose(name), text.as_bytes(), self.entropy);
            // Another who rewraps at the same time may have been first.
            if self.cluster.replace_secret(name, &sealed, &anew).await? {
                return Ok(Some(true));
            }
        }
        Err(KeysError::Contended { name })
    }
}

/// What a secret is sealed for, so that none can be put into another's place.
fn purpose(name: &str) -> String {
    format!("server key: {name}")
}
