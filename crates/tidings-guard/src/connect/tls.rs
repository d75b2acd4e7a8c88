use std::{io, sync::Arc};

use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName},
};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use super::{ConnectError, SetupError, Stream};
use crate::{Host, Target};

/// The platform's authorities and `extra`. What does not parse of the platform's is passed over, as everywhere.
pub(super) fn roots(extra: Vec<CertificateDer<'static>>) -> Result<RootCertStore, SetupError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for root in extra {
        roots.add(root).map_err(SetupError::Root)?;
    }
    Ok(roots)
}

/// One configuration for all connections, so that they share resumed sessions.
pub(super) fn connector(roots: RootCertStore, http2: bool) -> Result<TlsConnector, SetupError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(SetupError::Tls)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let offered: &[&[u8]] = if http2 { &[b"h2", b"http/1.1"] } else { &[b"http/1.1"] };
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();
    Ok(TlsConnector::from(Arc::new(config)))
}

pub(super) async fn secure(
    tls: &TlsConnector,
    target: &Target,
    tcp: TcpStream,
    deadline: Instant,
) -> Result<Stream, ConnectError> {
    let peer = tcp.peer_addr().map_err(ConnectError::Unreachable)?;
    let name = server_name(target).map_err(|error| ConnectError::Tls(io::Error::other(error)))?;
    let secured = timeout_at(deadline, tls.connect(name, tcp)).await.map_err(|_| ConnectError::TimedOut)?;
    Ok(Stream::secured(secured.map_err(ConnectError::Tls)?, peer))
}

fn server_name(target: &Target) -> Result<ServerName<'static>, rustls::pki_types::InvalidDnsNameError> {
    match target.host() {
        Host::Name(name) => ServerName::try_from(name.to_string()),
        Host::Address(ip) => Ok(ServerName::IpAddress((*ip).into())),
    }
}
