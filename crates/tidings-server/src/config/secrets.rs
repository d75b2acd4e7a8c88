use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidings_auth::{MasterKey, MasterKeys};

use super::{ConfigError, Secret};

/// What the secrets that are kept in a database are sealed under.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Secrets {
    /// 32 bytes in base64 or hexadecimal. The same on every node.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_key: Option<Secret>,
    /// A file that holds what `master_key` would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_key_file: Option<PathBuf>,
    /// Another that opens and does not seal, while the master key is being replaced: first the new one, then
    /// the one before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_key_previous: Option<Secret>,
    /// A file that holds what `master_key_previous` would.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub master_key_previous_file: Option<PathBuf>,
}

impl Secrets {
    /// The keys, where there is a master key.
    pub fn master_keys(&self) -> Result<Option<MasterKeys>, ConfigError> {
        let previous = read("secrets.master_key_previous", self.master_key_previous.as_ref())?;
        match read("secrets.master_key", self.master_key.as_ref())? {
            Some(current) => Ok(Some(MasterKeys::new(current, previous))),
            None if previous.is_some() => {
                Err(ConfigError::invalid("secrets.master_key", "must be given where master_key_previous is"))
            }
            None => Ok(None),
        }
    }

    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.master_keys().map(drop)
    }
}

fn read(key: &str, text: Option<&Secret>) -> Result<Option<MasterKey>, ConfigError> {
    text.map(|text| text.expose().parse().map_err(|e| ConfigError::invalid(key, format!("{e}")))).transpose()
}
