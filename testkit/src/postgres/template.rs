//! One `initdb` for all tests of this machine: an archive of its outcome is unpacked for each server, which
//! takes a fifth of the time.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    folder::{self, Folder},
    process::{as_user, unprivileged},
    program,
};

/// Makes `data` the folder of a new cluster. Its parent belongs to the user who will run it.
pub(super) fn unpack_into(data: &Path) {
    let archive = archive();
    program::run(as_user(unprivileged()).args(["mkdir", "-m", "0700"]).arg(data));
    program::run(as_user(unprivileged()).args(["tar", "-xpf"]).arg(archive).arg("-C").arg(data));
}

/// One file and not a folder: what cleans `/tmp` by age takes it whole or not at all.
fn archive() -> PathBuf {
    let shared = folder::shared();
    let archive = shared.join(format!("postgres-{}.tar", version()));
    let lock = File::create(shared.join("postgres.lock")).expect("the shared folder can be written");
    lock.lock().expect("a file can be locked");
    if !archive.exists() {
        make(&archive);
    }
    archive
}

fn make(archive: &Path) {
    let folder = Folder::new(unprivileged());
    let data = folder.path().join("data");
    let mut initdb = as_user(unprivileged());
    initdb.arg(program::find_postgres("initdb")).arg("-D").arg(&data);
    initdb.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
    program::run(&mut initdb);
    let unfinished = archive.with_extension("unfinished");
    program::run(Command::new("tar").arg("-cf").arg(&unfinished).arg("-C").arg(&data).arg("."));
    fs::rename(unfinished, archive).expect("a file can be renamed");
}

/// `15.18`, of `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
fn version() -> String {
    let text = program::text(Command::new(program::find_postgres("postgres")).arg("--version"));
    text.split_whitespace().nth(2).expect("a version").to_owned()
}
