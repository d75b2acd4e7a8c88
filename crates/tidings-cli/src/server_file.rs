//! `server.json` in the data folder: where the running server listens.

use std::{io, path::Path};

use serde::{Deserialize, Serialize};

const NAME: &str = "server.json";

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ServerFile {
    pub(crate) url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ops_url: Option<String>,
    pub(crate) pid: u32,
}

impl ServerFile {
    pub(crate) fn read(data: &Path) -> Option<Self> {
        let text = std::fs::read(data.join(NAME)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whole or not at all: a reader never sees half a file.
    pub(crate) fn write(&self, data: &Path) -> io::Result<()> {
        let draft = data.join(format!(".{NAME}.{}", self.pid));
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        std::fs::write(&draft, text)?;
        std::fs::rename(draft, data.join(NAME))
    }

    /// Only its own: another server may have started meanwhile.
    pub(crate) fn remove(&self, data: &Path) {
        if Self::read(data).as_ref() == Some(self) {
            let _ = std::fs::remove_file(data.join(NAME));
        }
    }
}
