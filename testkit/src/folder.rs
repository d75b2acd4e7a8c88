//! Temporary folders.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Once,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{process::is_alive, program};

const PREFIX: &str = "tidings-testkit-run-";

/// A folder that goes with its owner. What the drop could not remove (the owner was killed, or lay in a
/// `static`), the next test process does.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

impl Folder {
    /// Owned by `user`, where one is given.
    pub(crate) fn new(user: Option<&str>) -> Self {
        static SWEEP: Once = Once::new();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        SWEEP.call_once(sweep);
        let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        let folder = Self { path };
        if let Some(user) = user {
            folder.give_to(user);
        }
        folder
    }

    fn give_to(&self, user: &str) {
        program::run(Command::new("chown").arg(format!("{user}:")).arg(&self.path));
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Removes the folders of processes that are gone.
fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let owner = entry.file_name().to_str().and_then(owner);
        if owner.is_some_and(|pid| !is_alive(pid)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

/// A folder that this user's test processes share and that stays: templates and claims.
///
/// # Panics
/// When somebody else made it.
pub(crate) fn shared() -> PathBuf {
    let us = fs::metadata("/proc/self").expect("/proc is there").uid();
    let path = std::env::temp_dir().join(format!("tidings-testkit-{us}"));
    fs::create_dir_all(&path).expect("the temporary folder can be written");
    let owner = fs::symlink_metadata(&path).expect("it was made").uid();
    assert_eq!(owner, us, "{} belongs to another user", path.display());
    path
}
