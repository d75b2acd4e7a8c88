use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs as _};

use anyhow::{Context as _, bail};

/// A server under load, and how it is asked for what.
#[derive(Debug, Clone)]
pub struct Target {
    pub addr: SocketAddr,
    /// `Host` of every request.
    pub host: String,
    /// Further header lines of every request, each with its line end.
    pub headers: String,
    pub dialect: Dialect,
    /// The address that its connections come from, one of 127.0.0.0/8; `None`: the system's choice.
    pub from: Option<Ipv4Addr>,
}

/// What a server's routes and messages look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Envelopes with `seq`; a stream says `stream.open` first.
    Tidings,
    /// What is posted to `/publish` comes out of `/ws` and `/events` as it is.
    Plain,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    WebSocket,
    Sse,
}

impl Transport {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WebSocket => "WebSocket",
            Self::Sse => "SSE",
        }
    }
}

impl Target {
    /// A Tidings server at `http://host:port`; an operator's token names its `tenant`.
    pub fn tidings(url: &str, token: &str, tenant: Option<&str>) -> anyhow::Result<Self> {
        let Some(host) = url.trim_end_matches('/').strip_prefix("http://") else {
            bail!("the load generator speaks plain http:// only, not {url}");
        };
        if host.contains('/') {
            bail!("the load generator takes a server's root such as http://127.0.0.1:3000, not {url}");
        }
        let authority = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
        let addr = authority.to_socket_addrs().with_context(|| format!("looking up {host}"))?.next();
        let addr = addr.with_context(|| format!("{host} has no address"))?;
        let mut headers = format!("Authorization: Bearer {token}\r\n");
        if let Some(tenant) = tenant {
            headers.extend(["X-Tidings-Tenant: ", tenant, "\r\n"]);
        }
        Ok(Self { addr, host: host.to_owned(), headers, dialect: Dialect::Tidings, from: None })
    }

    /// One of the references.
    pub fn plain(addr: SocketAddr) -> Self {
        Self { addr, host: addr.to_string(), headers: String::new(), dialect: Dialect::Plain, from: None }
    }

    /// The request that opens a stream.
    pub(crate) fn subscribe(&self, transport: Transport) -> Vec<u8> {
        let path = match (self.dialect, transport) {
            (Dialect::Tidings, Transport::WebSocket) => "/api/v1/ws",
            (Dialect::Tidings, Transport::Sse) => "/api/v1/events",
            (Dialect::Plain, Transport::WebSocket) => "/ws",
            (Dialect::Plain, Transport::Sse) => "/events",
        };
        let upgrade = match (transport, self.dialect) {
            (Transport::Sse, _) => "Accept: text/event-stream\r\n",
            (Transport::WebSocket, Dialect::Tidings) => concat!(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: tidings.v1\r\n"
            ),
            (Transport::WebSocket, Dialect::Plain) => concat!(
                "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            ),
        };
        format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{upgrade}{}\r\n", self.host, self.headers).into_bytes()
    }

    /// A POST with a JSON body.
    pub(crate) fn post(&self, path: &str, body: &[u8]) -> Vec<u8> {
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n{}Content-Length: {}\r\n\r\n",
            self.host,
            self.headers,
            body.len()
        )
        .into_bytes();
        request.extend_from_slice(body);
        request
    }

    /// A publish whose body ends with `data`.
    pub(crate) fn publish(&self, data: &[u8]) -> Vec<u8> {
        match self.dialect {
            Dialect::Plain => self.post("/publish", data),
            Dialect::Tidings => {
                let body = [br#"{"type":"bench.message","data":"#.as_slice(), data, b"}"].concat();
                self.post("/api/v1/events", &body)
            }
        }
    }
}
