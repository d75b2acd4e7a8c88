//! The data folder: its lock, the database file's identity, and the sidecar that tells a rewind.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use tidings_core::Timestamp;

use crate::OpenError;

/// A data folder that this process alone may use, until it is dropped.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    sidecar: File,
    /// Held for its lock; the kernel gives it up however the process ends.
    _lock: File,
}

/// What was last written beside the database. It is never older than the database by more than one
/// tick and never newer than what the database has on stable storage, so that a database with fewer
/// ticks than its sidecar was rewound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Sidecar {
    pub(super) ticks: u64,
    pub(super) alive_at: Timestamp,
}

/// The database of a data folder.
pub(super) fn database(folder: &Path) -> PathBuf {
    folder.join("tidings.db")
}

impl Folder {
    /// Makes the folder where it is missing, and locks it.
    pub(super) fn open(path: &Path) -> Result<Self, OpenError> {
        let io = |source| OpenError::Io { path: path.display().to_string(), source };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        let lock = private(&path.join("lock")).map_err(io)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(OpenError::Locked(path.display().to_string())),
            Err(fs::TryLockError::Error(source)) => return Err(io(source)),
        }
        let sidecar = private(&path.join("tidings.alive")).map_err(io)?;
        // SQLite makes its other files with the mode of this one.
        private(&path.join("tidings.db")).map_err(io)?;
        Ok(Self { path: path.to_owned(), sidecar, _lock: lock })
    }

    pub(super) fn database(&self) -> PathBuf {
        database(&self.path)
    }

    /// What a copy of the database file does not have: its inode with its time of birth or, where the
    /// file system keeps none, its device.
    pub(super) fn identity(&self) -> io::Result<String> {
        let metadata = fs::metadata(self.database())?;
        let born = metadata.created().ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        Ok(match born {
            Some(at) => format!("{}@{}", metadata.ino(), at.as_nanos()),
            None => format!("{}:{}", metadata.dev(), metadata.ino()),
        })
    }

    /// `None` where there is none yet, or it makes no sense.
    pub(super) fn read_sidecar(&self) -> io::Result<Option<Sidecar>> {
        let mut text = Vec::new();
        (&self.sidecar).take(256).read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let mut fields = text.split_ascii_whitespace();
        let sidecar = (|| {
            let ticks = fields.next()?.parse().ok()?;
            let alive_at = Timestamp::from_micros(fields.next()?.parse().ok()?);
            Some(Sidecar { ticks, alive_at })
        })();
        Ok(sidecar)
    }

    /// Overwrites it in place with one write of fixed length; not synced, since it must outlive this
    /// process and not the machine.
    pub(super) fn write_sidecar(&self, sidecar: Sidecar) -> io::Result<()> {
        let line = format!("{:020} {:020}\n", sidecar.ticks, sidecar.alive_at.as_micros().max(0));
        self.sidecar.write_all_at(line.as_bytes(), 0)
    }
}

fn private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}
