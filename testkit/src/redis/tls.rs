//! A certificate for 127.0.0.1 and `localhost`, and the authority that signs it.

use std::{fs, path::Path, process::Command};

use crate::program;

/// Writes `ca.pem`, `server.pem` and `server.key` into `folder`.
pub(super) fn make(folder: &Path) {
    let extensions = "basicConstraints=CA:FALSE\nsubjectAltName=DNS:localhost,IP:127.0.0.1\n";
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
