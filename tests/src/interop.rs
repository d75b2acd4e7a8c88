//! Peers of other makers, in the virtual environment that `make test` prepares.

use std::{path::PathBuf, process::Command};

/// A program of `target/peers/bin`.
///
/// # Panics
/// When it is not installed, with the command that installs it.
pub fn peer(program: &str) -> Command {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join("target/peers/bin").join(program);
    assert!(path.exists(), "{} is missing; run: scripts/prepare test", path.display());
    Command::new(path)
}

/// A script of `tests/peers`, run by the environment's Python.
pub fn script(name: &str) -> Command {
    let mut command = peer("python");
    command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers").join(name));
    command
}
