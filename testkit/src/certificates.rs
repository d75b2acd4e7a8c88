//! Certificates of an authority that nobody else knows.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{folder::Folder, program};

/// A server's certificate and the authority that signs it, in a folder that goes with this value.
#[derive(Debug)]
pub struct Certificates {
    folder: Folder,
}

impl Certificates {
    /// For `names`, as openssl writes them: `DNS:localhost,IP:127.0.0.1`.
    pub fn new(names: &str) -> Self {
        let folder = Folder::new(None);
        make(folder.path(), names);
        Self { folder }
    }

    /// The authority's, PEM.
    pub fn authority(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// The server's, PEM.
    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("server.pem")
    }

    /// The server's private key, PEM.
    pub fn key(&self) -> PathBuf {
        self.folder.path().join("server.key")
    }
}

/// Writes `ca.pem`, `server.pem` and `server.key` into `folder`.
pub(crate) fn make(folder: &Path, names: &str) {
    let extensions = format!("basicConstraints=CA:FALSE\nsubjectAltName={names}\n");
    fs::write(folder.join("server.ext"), extensions).expect("its folder can be written");
    let openssl = |args: &str| {
        let mut command = Command::new(program::find("openssl", "openssl"));
        program::run(command.current_dir(folder).args(args.split(' ')));
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(&format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=test-authority"));
    openssl(&format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"));
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile server.ext -out server.pem",
    );
}
