//! Finding and running other programs.

use std::{
    env, fs,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

/// The path of `name`, which Debian's `package` brings. The folders for administrators are looked at too.
///
/// # Panics
/// When it is missing: with the command that installs it.
pub(crate) fn find(name: &str, package: &str) -> PathBuf {
    look_for(name).unwrap_or_else(|| panic!("{name} is missing; run: apt-get install {package}"))
}

pub(crate) fn look_for(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    env::split_paths(&path).chain(more).map(|folder| folder.join(name)).find(|p| p.is_file())
}

/// A program of PostgreSQL's server: the newest version that Debian's packages installed, else from the path.
pub(crate) fn find_postgres(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok().map(|v| (v, entry.path())))
        .map(|(version, folder)| (version, folder.join("bin").join(name)))
        .filter(|(_, program)| program.is_file())
        .max();
    newest.map_or_else(|| find(name, "postgresql"), |(_, program)| program)
}

/// Runs it to its end.
///
/// # Panics
/// When it fails: with what it said.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()));
    let said = || String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, said());
    output
}

/// [`run`], for what it printed.
#[track_caller]
pub(crate) fn text(command: &mut Command) -> String {
    String::from_utf8_lossy(&run(command).stdout).trim().to_owned()
}
