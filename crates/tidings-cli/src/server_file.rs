//! `server.json` in the data folder: where the running server listens.

use std::{
    fs::{self, DirBuilder},
    io,
    os::unix::fs::DirBuilderExt as _,
    path::Path,
};

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
        let text = fs::read(data.join(NAME)).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Whole or not at all: a reader never sees half a file. Makes the folder where it is missing, for its owner
    /// alone, as the embedded store does: a server on a database may be the first to want it.
    pub(crate) fn write(&self, data: &Path) -> io::Result<()> {
        DirBuilder::new().recursive(true).mode(0o700).create(data)?;
        let draft = data.join(format!(".{NAME}.{}", self.pid));
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        fs::write(&draft, text)?;
        fs::rename(draft, data.join(NAME))
    }

    /// Only its own: another server may have started meanwhile.
    pub(crate) fn remove(&self, data: &Path) {
        if Self::read(data).as_ref() == Some(self) {
            let _ = fs::remove_file(data.join(NAME));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_missing_folder_is_made_for_its_owner_alone() {
        let outer = tempfile::tempdir().expect("a folder");
        let data = outer.path().join("some/data");
        let file = ServerFile { url: "http://127.0.0.1:1".into(), ops_url: None, pid: 7 };
        file.write(&data).expect("written");
        assert_eq!(ServerFile::read(&data).as_ref(), Some(&file));
        let mode = fs::metadata(&data).expect("made").permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
        file.remove(&data);
        assert_eq!(ServerFile::read(&data), None);
    }
}
