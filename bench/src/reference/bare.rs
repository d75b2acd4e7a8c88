//! The least server that can fan a message out: one thread that accepts the upgrade or the SSE request,
//! takes a POST and writes one ready-made frame to every socket. It authenticates, stores, filters and
//! numbers nothing.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
};

use mio::{
    Events, Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use slab::Slab;

use crate::load::{await_ready, websocket};

/// How messages become writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Writes {
    /// One write for each message and socket.
    PerMessage,
    /// One write for all messages that came in one turn of the loop.
    Coalesced,
}

const LISTENER: Token = Token(usize::MAX);

/// Serves until the process is ended; prints the address it listens on as its first line.
pub fn serve(writes: Writes) -> anyhow::Result<()> {
    let bare = Bare::bind(writes)?;
    println!("{}", bare.listener.local_addr()?);
    io::stdout().flush()?;
    bare.run()
}

struct Bare {
    poll: Poll,
    listener: TcpListener,
    writes: Writes,
    sockets: Slab<Socket>,
    /// Keys of those that listen.
    subscribers: Vec<usize>,
    due: Due,
}

struct Socket {
    stream: TcpStream,
    kind: Kind,
    input: Vec<u8>,
    /// What the kernel did not take yet.
    backlog: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    WebSocket,
    Sse,
}

/// Frames that are due for every socket of a kind.
#[derive(Default)]
struct Due {
    frames: Vec<u8>,
    records: Vec<u8>,
}

enum Request {
    Subscribe { kind: Kind, response: Vec<u8> },
    Publish { body: std::ops::Range<usize>, len: usize },
}

impl Bare {
    fn bind(writes: Writes) -> anyhow::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        socket.listen(4_096)?;
        let mut listener = TcpListener::from_std(socket.into());
        let poll = Poll::new()?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            writes,
            sockets: Slab::new(),
            subscribers: Vec::new(),
            due: Due::default(),
        })
    }

    fn run(mut self) -> anyhow::Result<()> {
        let mut events = Events::with_capacity(1_024);
        loop {
            await_ready(&mut self.poll, &mut events, None)?;
            for event in &events {
                if event.token() == LISTENER {
                    self.accept()?;
                    continue;
                }
                let key = event.token().0;
                if event.is_writable() {
                    self.write(key, &[]);
                }
                if (event.is_readable() || event.is_read_closed()) && !self.read(key) {
                    self.close(key);
                }
            }
            self.deliver();
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let (mut stream, _) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e),
            };
            stream.set_nodelay(true)?;
            let entry = self.sockets.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut stream, Token(entry.key()), interest)?;
            entry.insert(Socket { stream, kind: Kind::Http, input: Vec::new(), backlog: Vec::new() });
        }
    }

    /// Reads what has come; `false` where the connection is over.
    fn read(&mut self, key: usize) -> bool {
        let mut piece = [0; 16 * 1024];
        loop {
            let Some(socket) = self.sockets.get_mut(key) else { return true };
            match socket.stream.read(&mut piece) {
                Ok(0) => return false,
                // What listeners say is of no interest.
                Ok(_) if socket.kind != Kind::Http => {}
                Ok(n) => socket.input.extend_from_slice(&piece[..n]),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        self.requests(key)
    }

    fn requests(&mut self, key: usize) -> bool {
        loop {
            let Some(socket) = self.sockets.get_mut(key).filter(|s| s.kind == Kind::Http) else {
                return true;
            };
            match parse(&socket.input) {
                Err(()) => return false,
                Ok(None) => return true,
                Ok(Some(Request::Subscribe { kind, response })) => {
                    socket.kind = kind;
                    socket.input = Vec::new();
                    self.subscribers.push(key);
                    self.write(key, &response);
                }
                Ok(Some(Request::Publish { body, len })) => {
                    self.due.add(&socket.input[body]);
                    socket.input.drain(..len);
                    if self.writes == Writes::PerMessage {
                        self.deliver();
                    }
                    self.write(key, b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n");
                }
            }
        }
    }

    fn deliver(&mut self) {
        if self.due.frames.is_empty() {
            return;
        }
        let due = std::mem::take(&mut self.due);
        for i in 0..self.subscribers.len() {
            let key = self.subscribers[i];
            let bytes = if self.sockets[key].kind == Kind::Sse { &due.records } else { &due.frames };
            self.write(key, bytes);
        }
    }

    /// Writes what is left over and then `bytes`; what the kernel refuses waits for the next time.
    fn write(&mut self, key: usize, bytes: &[u8]) {
        let Some(socket) = self.sockets.get_mut(key) else { return };
        if !socket.backlog.is_empty() {
            socket.backlog.extend_from_slice(bytes);
            let written = write_some(&mut socket.stream, &socket.backlog);
            socket.backlog.drain(..written);
        } else if !bytes.is_empty() {
            let written = write_some(&mut socket.stream, bytes);
            socket.backlog.extend_from_slice(&bytes[written..]);
        }
    }

    fn close(&mut self, key: usize) {
        self.sockets.remove(key);
        self.subscribers.retain(|k| *k != key);
    }
}

impl Due {
    fn add(&mut self, message: &[u8]) {
        self.frames.extend_from_slice(&websocket::text(message));
        self.records.extend_from_slice(b"data: ");
        self.records.extend_from_slice(message);
        self.records.extend_from_slice(b"\n\n");
    }
}

/// How many bytes the kernel took. An error shows when the socket is read.
fn write_some(stream: &mut TcpStream, bytes: &[u8]) -> usize {
    let mut written = 0;
    while written < bytes.len() {
        match stream.write(&bytes[written..]) {
            Ok(n) => written += n,
            Err(_) => break,
        }
    }
    written
}

fn parse(input: &[u8]) -> Result<Option<Request>, ()> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(input).map_err(drop)? else { return Ok(None) };
    let header = |name: &str| {
        let found = request.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        found.and_then(|h| std::str::from_utf8(h.value).ok())
    };
    match (request.method, request.path) {
        (Some("GET"), Some("/ws")) => {
            let accept = accept_key(header("sec-websocket-key").ok_or(())?);
            let response = format!(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
            );
            Ok(Some(Request::Subscribe { kind: Kind::WebSocket, response: response.into_bytes() }))
        }
        (Some("GET"), Some("/events")) => {
            let response = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
            Ok(Some(Request::Subscribe { kind: Kind::Sse, response: response.to_vec() }))
        }
        (Some("POST"), Some("/publish")) => {
            let size: usize = header("content-length").and_then(|v| v.trim().parse().ok()).ok_or(())?;
            let len = head + size;
            Ok((input.len() >= len).then_some(Request::Publish { body: head..len, len }))
        }
        _ => Err(()),
    }
}

fn accept_key(key: &str) -> String {
    use base64::Engine as _;
    use sha1::Digest as _;
    let digest = sha1::Sha1::digest(format!("{}258EAFA5-E914-47DA-95CA-C5AB0DC85B11", key.trim()));
    base64::engine::general_purpose::STANDARD.encode(digest)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::load::{FanoutLoad, FanoutReport, Pace, Processes, Target, Transport, fanout};

    #[test]
    fn the_accept_key_is_that_of_the_rfc() {
        assert_eq!(accept_key("dGhlIHNhbXBsZSBub25jZQ=="), "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    fn load(writes: Writes, transport: Transport, pace: Pace) -> FanoutReport {
        let bare = Bare::bind(writes).expect("a free port");
        let addr = bare.listener.local_addr().expect("bound");
        std::thread::spawn(move || bare.run());
        fanout(&FanoutLoad {
            target: Target::plain(addr),
            publish_to: None,
            transport,
            subscribers: 20,
            pace,
            publishers: 2,
            message_bytes: 300,
            warm_up: Duration::from_millis(50),
            measure: Duration::from_millis(200),
            behind_max: 100,
            processes: Processes::own(),
            beside: Processes::default(),
        })
        .expect("the load runs")
    }

    #[test]
    fn every_subscriber_of_either_kind_gets_everything_in_order() {
        for writes in [Writes::PerMessage, Writes::Coalesced] {
            for transport in [Transport::WebSocket, Transport::Sse] {
                for pace in [Pace::Saturated { in_flight: 8 }, Pace::Paced { per_second: 200.0 }] {
                    let report = load(writes, transport, pace);
                    assert!(report.faults.is_none(), "{writes:?} {report:?}");
                    assert!(report.deliveries > 0, "{writes:?} {report:?}");
                }
            }
        }
    }

    #[test]
    fn a_load_that_cannot_be_offered_says_so() {
        let report = load(Writes::Coalesced, Transport::WebSocket, Pace::Paced { per_second: 5e6 });
        assert!(report.objection().is_some_and(|why| why.contains("proves nothing")));
    }
}
