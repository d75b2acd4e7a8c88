//! The whole as shipped, with an empty allow-list: a public address in a network namespace, TLS and a name server.
//! The part inside runs in this program once more, under `ip netns exec`.

use std::{
    env,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread,
};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tidings_guard::{ConnectError, Connector, ConnectorConfig, Dns, Policy, Refusal};
use tidings_testkit::{Certificates, Netns};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::{
    name_server::{NameServer, Reply},
    site::{LONG, dns, ip, silent},
};

const PUBLIC: &str = "93.184.216.34";
const PUBLIC_V6: &str = "2606:2800:220:1::1";
const FOLDER: &str = "GUARD_NAMESPACE_FOLDER";

#[test]
fn a_public_address_is_reached_and_nothing_else() {
    let netns = Netns::start();
    netns.add_address(ip(PUBLIC));
    netns.add_address(ip(PUBLIC_V6));
    let certificates = Certificates::new(&format!("DNS:partner.example,IP:{PUBLIC},IP:{PUBLIC_V6}"));
    let mut inside = netns.command(env::current_exe().unwrap());
    inside.args(["--exact", "namespace::inside_the_namespace", "--ignored", "--nocapture"]);
    inside.env(FOLDER, certificates.authority().parent().unwrap());
    let output = inside.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

#[tokio::test]
#[ignore = "runs inside the namespace of the test above"]
async fn inside_the_namespace() {
    tls_server("[::]:8443".parse().unwrap());
    let database = silent("127.0.0.1:5432".parse().unwrap());
    let names = NameServer::start(|name, before| match (name, before) {
        ("partner.example", _) => Reply::Addresses(0, vec![ip(PUBLIC), ip(PUBLIC_V6)]),
        ("flip.example", 0) => Reply::Addresses(0, vec![ip(PUBLIC)]),
        ("flip.example", _) => Reply::Addresses(0, vec![ip("127.0.0.1")]),
        _ => Reply::NoName,
    });
    let connector = connector(&names);

    for host in ["partner.example", PUBLIC, &format!("[{PUBLIC_V6}]")] {
        let answer = exchange(&connector, &format!("https://{host}:8443/")).await.unwrap();
        assert_eq!(answer, "hello", "{host}");
    }
    connector.check("https://flip.example:5432/").await.unwrap();
    for url in ["https://flip.example:5432/", "https://127.0.0.1:5432/", "https://[::ffff:127.0.0.1]:5432/"] {
        let refused = exchange(&connector, url).await.unwrap_err();
        assert!(matches!(refused, ConnectError::Refused(_)), "{url}: {refused:?}");
    }
    assert!(matches!(database.accept(), Err(error) if error.kind() == ErrorKind::WouldBlock));

    // Its own port, on an address that is public and this machine's.
    connector.set_policy(Policy::default().with_own("0.0.0.0:8443".parse().unwrap()));
    let refused = exchange(&connector, "https://partner.example:8443/").await.unwrap_err();
    assert!(matches!(refused, ConnectError::Refused(Refusal::Own)), "{refused:?}");
}

fn folder() -> std::path::PathBuf {
    env::var_os(FOLDER).expect("the outer test sets it").into()
}

fn connector(names: &NameServer) -> Connector {
    let mut config = ConnectorConfig::new(Policy::default());
    config.resolver = Arc::new(Dns::new(dns(&[names])));
    config.extra_roots = vec![CertificateDer::from_pem_file(folder().join("ca.pem")).unwrap()];
    Connector::new(config).unwrap()
}

async fn exchange(connector: &Connector, url: &str) -> Result<String, ConnectError> {
    let target = connector.policy().judge_url(url).map_err(ConnectError::Refused)?;
    let mut stream = connector.connect(&target, LONG).await?;
    stream.write_all(b"?").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Says hello for each byte that it reads.
fn tls_server(addr: SocketAddr) {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(folder().join("server.pem")).unwrap()],
            PrivateKeyDer::from_pem_file(folder().join("server.key")).unwrap(),
        )
        .unwrap();
    let (listener, config) = (TcpListener::bind(addr).unwrap(), Arc::new(config));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = rustls::StreamOwned::new(connection, stream);
            if tls.read_exact(&mut [0]).is_ok() {
                let _ = tls.write_all(b"hello");
                let _ = tls.flush();
            }
        }
    });
}
