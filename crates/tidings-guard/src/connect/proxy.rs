use std::{fmt, io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::ConnectError;
use crate::{Host, Policy, Refusal, Target};

/// Bytes of the proxy's answer.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// An HTTP proxy that makes tunnels (`CONNECT`), through which every connection leaves.
///
/// The guard still judges each URL, and each address that is written in one. Names go to the proxy unresolved: that they lead to
/// nothing inside is then **the proxy's to ensure**, by its own rules or by where it stands in the network. The allow-list
/// lifts nothing for names, since their addresses stay unknown. Whatever the proxy says against a host is told as one and the same.
#[derive(Clone)]
pub struct EgressProxy {
    /// `host:port`. Set by the operator, and judged by nobody.
    pub address: String,
    /// The value of `Proxy-Authorization`.
    pub authorization: Option<String>,
}

impl EgressProxy {
    pub(super) async fn tunnel(
        &self,
        policy: &Policy,
        target: &Target,
        deadline: Instant,
    ) -> Result<TcpStream, ConnectError> {
        judge(policy, target).map_err(ConnectError::Refused)?;
        let late = |_| Err(io::ErrorKind::TimedOut.into());
        timeout_at(deadline, self.ask(target)).await.unwrap_or_else(late).map_err(ConnectError::Proxy)
    }

    async fn ask(&self, target: &Target) -> io::Result<TcpStream> {
        let mut tcp = TcpStream::connect(&self.address).await?;
        tcp.set_nodelay(true)?;
        let host = authority(target);
        let mut request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n");
        if let Some(authorization) = &self.authorization {
            request.extend(["Proxy-Authorization: ", authorization, "\r\n"]);
        }
        request.push_str("\r\n");
        tcp.write_all(request.as_bytes()).await?;
        let answer = head(&mut tcp).await?;
        if is_success(&answer) { Ok(tcp) } else { Err(io::Error::other("the proxy refused")) }
    }
}

/// Without the authorization.
impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EgressProxy").field("address", &self.address).finish_non_exhaustive()
    }
}

/// What can be judged without the name's addresses: nothing is owed, and a written address is permitted.
pub(super) fn judge(policy: &Policy, target: &Target) -> Result<(), Refusal> {
    match target.host() {
        Host::Address(ip) => policy.judge(target, *ip).map(drop),
        Host::Name(_) => policy.debt(target).map_or(Ok(()), Err),
    }
}

fn authority(target: &Target) -> String {
    match target.host() {
        Host::Name(name) => format!("{name}:{}", target.port()),
        Host::Address(ip) => SocketAddr::new(*ip, target.port()).to_string(),
    }
}

/// Byte by byte up to the empty line: what follows belongs to the tunnel.
async fn head(tcp: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(128);
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() == ANSWER_BYTES_MAX {
            return Err(io::Error::other("the proxy's answer has no end"));
        }
        head.push(tcp.read_u8().await?);
    }
    Ok(head)
}

/// `HTTP/1.x 2xx`
fn is_success(head: &[u8]) -> bool {
    let status = head.strip_prefix(b"HTTP/1.").and_then(|rest| rest.get(1..));
    matches!(status, Some([b' ', b'2', b'0'..=b'9', b'0'..=b'9', b' ' | b'\r', ..]))
}
