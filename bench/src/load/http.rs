//! A keep-alive HTTP/1.1 connection that may have several requests in flight.

use std::{
    collections::VecDeque,
    fmt,
    io::{self, Read as _, Write as _},
};

use anyhow::Context as _;
use mio::net::TcpStream;

use super::sse::Dechunker;

/// One connection. Requests are answered in the order they were sent.
#[derive(Debug)]
pub(crate) struct HttpConnection<T> {
    pub(crate) stream: TcpStream,
    out: Vec<u8>,
    written: usize,
    input: Vec<u8>,
    /// What the caller remembers of each request that is not answered yet.
    in_flight: VecDeque<T>,
}

/// An answer's status and body.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// An answer that is no success: the server does not carry the load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What was asked for, such as "a publish".
    pub what: &'static str,
    pub status: u16,
    pub body: Vec<u8>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} was answered {} {}", self.what, self.status, String::from_utf8_lossy(&self.body))
    }
}

impl std::error::Error for Refusal {}

impl<T> HttpConnection<T> {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, out: Vec::new(), written: 0, input: Vec::new(), in_flight: VecDeque::new() }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Queues a request and writes what the socket takes.
    pub(crate) fn send(&mut self, request: &[u8], memory: T) -> io::Result<()> {
        self.in_flight.push_back(memory);
        self.out.extend_from_slice(request);
        self.flush()
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(n) => self.written += n,
                // Not connected yet counts as "later": the poll says when.
                Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected) => {
                    return Ok(());
                }
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Reads what has come and hands each answer over with what was remembered of its request.
    pub(crate) fn receive(
        &mut self,
        mut each: impl FnMut(T, Answer) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut piece = [0; 16 * 1024];
        loop {
            match self.stream.read(&mut piece) {
                Ok(0) => {
                    let why = "the server closed an HTTP connection";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, why).into());
                }
                Ok(n) => {
                    self.input.extend_from_slice(&piece[..n]);
                    if n < piece.len() {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) => return Err(e).context("reading an HTTP answer"),
            }
        }
        let mut used = 0;
        while let Some((answer, len)) = parse_answer(&self.input[used..])? {
            used += len;
            let memory = self.in_flight.pop_front().context("the server answered what was not asked")?;
            each(memory, answer)?;
        }
        self.input.drain(..used);
        Ok(())
    }
}

/// The answer at the start of `bytes` and its length, once it is whole.
fn parse_answer(bytes: &[u8]) -> anyhow::Result<Option<(Answer, usize)>> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let httparse::Status::Complete(head) = response.parse(bytes).context("parsing an HTTP answer")? else {
        return Ok(None);
    };
    let status = response.code.context("a parsed answer has a status")?;
    let header = |name: &str| {
        let found = response.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        found.and_then(|h| std::str::from_utf8(h.value).ok())
    };
    if let Some(size) = header("content-length") {
        let size: usize = size.trim().parse().context("content-length is a number")?;
        let body = bytes.get(head..head + size);
        return Ok(body.map(|body| (Answer { status, body: body.to_vec() }, head + size)));
    }
    if header("transfer-encoding").is_some_and(|v| v.eq_ignore_ascii_case("chunked")) {
        return Ok(parse_chunked(&bytes[head..]).map(|(body, len)| (Answer { status, body }, head + len)));
    }
    Ok(Some((Answer { status, body: Vec::new() }, head)))
}

/// A chunked body without trailers, once its last chunk is there.
fn parse_chunked(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let end =
        if bytes.starts_with(b"0\r\n\r\n") { 5 } else { memchr::memmem::find(bytes, b"\r\n0\r\n\r\n")? + 7 };
    let mut body = bytes[..end].to_vec();
    let size = Dechunker::default().compact(&mut body).ok()?;
    body.truncate(size);
    Some((body, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_end_where_their_framing_says() {
        let next = b"HTTP/1.1 200 OK\r\n\r\n";
        for (text, status, body) in [
            (&b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}"[..], 201, "{}"),
            (
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n1\r\n \r\n0\r\n\r\n",
                200,
                "{} ",
            ),
            (b"HTTP/1.1 204 No Content\r\n\r\n", 204, ""),
        ] {
            let (answer, len) = parse_answer(&[text, next].concat()).expect("valid").expect("whole");
            assert_eq!((answer.status, len), (status, text.len()));
            assert_eq!(answer.body, body.as_bytes());
            for end in 0..text.len() {
                assert!(parse_answer(&text[..end]).expect("valid so far").is_none(), "{status} cut at {end}");
            }
        }
    }
}
