//! A plain HTTP/1.1 client.

use std::{io, net::SocketAddr, time::Duration};

use serde::Serialize;
use serde_json::Value;

use crate::{wait::LONG, wire::Wire};

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// # Panics
    /// When the body is no JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("no JSON ({e}): {} {}", self.status, self.text()))
    }

    /// # Panics
    /// When the status is another one.
    #[track_caller]
    #[must_use]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Asserts that it is a problem of this status, as documented: RFC 9457, with a type, a title, a
    /// detail and the request's id.
    #[track_caller]
    pub fn expect_problem(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        let media = self.header("content-type").unwrap_or_default();
        assert!(media.starts_with("application/problem+json"), "content-type {media:?}: {}", self.text());
        let problem = self.json();
        assert_eq!(problem["status"], status, "{problem}");
        for field in ["type", "title", "detail"] {
            assert!(problem[field].as_str().is_some_and(|t| !t.is_empty()), "no {field} in {problem}");
        }
        assert!(self.header("x-request-id").is_some(), "no request id in {:?}", self.headers);
        problem
    }
}

/// A server and a credential for it.
#[derive(Debug, Clone)]
pub struct Api {
    pub addr: SocketAddr,
    pub token: Option<String>,
    /// The tenant that an operator acts for.
    pub tenant: Option<String>,
}

impl Api {
    pub const fn anonymous(addr: SocketAddr) -> Self {
        Self { addr, token: None, tenant: None }
    }

    #[must_use]
    pub fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), tenant: None, ..self.clone() }
    }

    /// Headers of every request: `Host`, the credential and the operator's tenant.
    pub fn headers(&self) -> String {
        let mut head = format!("Host: {}\r\n", self.addr);
        if let Some(token) = &self.token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        if let Some(tenant) = &self.tenant {
            head += &format!("X-Tidings-Tenant: {tenant}\r\n");
        }
        head
    }

    pub fn get(&self, path: &str) -> io::Result<Reply> {
        self.session()?.get(path)
    }

    pub fn delete(&self, path: &str) -> io::Result<Reply> {
        self.session()?.send("DELETE", path, &[], None)
    }

    pub fn post(&self, path: &str, body: &impl Serialize) -> io::Result<Reply> {
        self.session()?.post(path, body)
    }

    /// A connection that is kept for several requests.
    pub fn session(&self) -> io::Result<Session> {
        Ok(Session { api: self.clone(), wire: Wire::connect(self.addr, LONG)?, timeout: LONG })
    }

    /// Sends these very bytes and reads one answer.
    pub fn raw(&self, request: &[u8]) -> io::Result<Reply> {
        let mut wire = Wire::connect(self.addr, LONG)?;
        wire.write(request)?;
        read_reply(&mut wire, false)
    }
}

/// One keep-alive connection. An error leaves it unusable.
#[derive(Debug)]
pub struct Session {
    api: Api,
    wire: Wire,
    pub timeout: Duration,
}

impl Session {
    pub fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.send("GET", path, &[("Accept", "application/json")], None)
    }

    pub fn post(&mut self, path: &str, body: &impl Serialize) -> io::Result<Reply> {
        self.post_with(path, &[], body)
    }

    pub fn post_with(
        &mut self,
        path: &str,
        headers: &[(&str, &str)],
        body: &impl Serialize,
    ) -> io::Result<Reply> {
        let body = serde_json::to_vec(body)?;
        let mut all = vec![("Content-Type", "application/json")];
        all.extend_from_slice(headers);
        self.send("POST", path, &all, Some(&body))
    }

    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> io::Result<Reply> {
        let mut request = format!("{method} {path} HTTP/1.1\r\n{}", self.api.headers());
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        if body.is_some() || method == "POST" {
            request += &format!("Content-Length: {}\r\n", body.map_or(0, <[u8]>::len));
        }
        request += "\r\n";
        let mut bytes = request.into_bytes();
        bytes.extend_from_slice(body.unwrap_or_default());
        self.wire.allow(self.timeout);
        self.wire.write(&bytes)?;
        read_reply(&mut self.wire, method == "HEAD")
    }

    pub const fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

/// Reads the status line and the headers; what follows stays in the wire.
pub fn read_head(wire: &mut Wire) -> io::Result<Reply> {
    let head = String::from_utf8_lossy(&wire.take_through(b"\r\n\r\n")?).into_owned();
    let mut lines = head.split("\r\n").filter(|l| !l.is_empty());
    let bad = || io::Error::new(io::ErrorKind::InvalidData, head.clone());
    let status = lines
        .next()
        .and_then(|l| l.strip_prefix("HTTP/1.1 "))
        .and_then(|l| l.get(..3))
        .and_then(|s| s.parse().ok())
        .ok_or_else(bad)?;
    let headers = lines
        .map(|l| {
            l.split_once(':').map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned())).ok_or_else(bad)
        })
        .collect::<Result<_, _>>()?;
    Ok(Reply { status, headers, body: Vec::new() })
}

/// Reads a whole answer, passing over interim ones.
pub fn read_reply(wire: &mut Wire, head_only: bool) -> io::Result<Reply> {
    let mut reply = read_head(wire)?;
    while reply.status == 100 {
        reply = read_head(wire)?;
    }
    reply.body = if head_only || matches!(reply.status, 101 | 204 | 304) {
        Vec::new()
    } else if reply.header("transfer-encoding") == Some("chunked") {
        let mut body = Vec::new();
        while let Some(chunk) = read_chunk(wire)? {
            body.extend_from_slice(&chunk);
        }
        body
    } else if let Some(length) = reply.header("content-length") {
        let length = length.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        wire.take(length)?
    } else {
        wire.take_to_end()?
    };
    Ok(reply)
}

/// One chunk of a chunked body; `None` after the last. It is taken whole or not at all.
pub fn read_chunk(wire: &mut Wire) -> io::Result<Option<Vec<u8>>> {
    let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let line = wire.ensure_through(b"\r\n")?;
    let length = std::str::from_utf8(&wire.buffered()[..line])
        .ok()
        .and_then(|l| usize::from_str_radix(l.trim().split(';').next().unwrap_or_default(), 16).ok())
        .ok_or_else(|| bad("no chunk size"))?;
    wire.ensure(line + length + 2)?;
    let mut chunk = wire.take(line + length + 2)?.split_off(line);
    if !chunk.ends_with(b"\r\n") {
        return Err(bad("a chunk without its end"));
    }
    chunk.truncate(length);
    Ok((length > 0).then_some(chunk))
}
