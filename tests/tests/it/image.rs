//! The image's root file system, without a container engine: read-only, as its user, with nothing but what it holds.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use serde_json::Value;
use tidings_tests::{
    Server, server,
    wait::{self, LONG},
};

fn laid_out(server: &Server) -> PathBuf {
    let root = server.scratch().join("root");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/docker/root-fs");
    let status = Command::new(script).arg(server::binary()).arg(&root).status().expect("it runs");
    assert!(status.success(), "{status}");
    root
}

/// Ends what it has started, and what that has.
struct Contained(Child);

impl Drop for Contained {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `tidings` in `root` as 65532, where only `data` can be written.
fn contained(root: &Path, data: &Path, args: &[&str]) -> Command {
    let mut inside = Command::new("bwrap");
    inside.args([
        "--die-with-parent",
        "--unshare-all",
        "--share-net",
        "--uid",
        "65532",
        "--gid",
        "65532",
        "--clearenv",
    ]);
    inside.arg("--ro-bind").arg(root).arg("/").args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp"]);
    inside.arg("--bind").arg(data).arg("/var/lib/tidings");
    inside.args(["--setenv", "TIDINGS_SERVER__DATA", "/var/lib/tidings"]);
    inside.arg("/usr/local/bin/tidings").args(args).stdin(Stdio::null());
    inside
}

#[test]
fn the_images_root_serves_read_only_as_its_user() {
    // For its folder, and that nothing of it stays.
    let owner = Server::plain();
    let (root, data) = (laid_out(&owner), owner.scratch().join("contained"));
    fs::create_dir(&data).expect("a folder");
    assert!(!root.join("bin/sh").exists() && !root.join("usr/bin").exists(), "no shell is in it");
    let log = fs::File::create(owner.scratch().join("contained.log")).expect("a file");
    let mut serve =
        contained(&root, &data, &["serve", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0"]);
    let child = serve.stdout(log.try_clone().expect("a descriptor")).stderr(log).spawn();
    let mut running = Contained(child.expect("bwrap is there (Debian: bubblewrap)"));
    let url = wait::until("the contained server to say where it is", LONG, || {
        if let Some(status) = running.0.try_wait().expect("it can be asked") {
            panic!(
                "{status}: {}",
                fs::read_to_string(owner.scratch().join("contained.log")).unwrap_or_default()
            );
        }
        let text = fs::read(data.join("server.json")).ok()?;
        serde_json::from_slice::<Value>(&text).ok()?["url"].as_str().map(str::to_owned)
    });
    // What the image's HEALTHCHECK does, and the same from outside.
    let inside = contained(&root, &data, &["health"]).output().expect("it runs");
    assert!(inside.status.success(), "{}", String::from_utf8_lossy(&inside.stderr));
    let outside = owner.command(&["health", "--url", &url]).output().expect("it runs");
    assert!(outside.stdout.starts_with(b"ok"), "{}", String::from_utf8_lossy(&outside.stdout));
}
