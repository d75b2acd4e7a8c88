//! Receivers of webhooks: they answer 200 at once, or not at all, and know what they have had.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr},
};

use mio::{
    Interest, Poll, Token,
    net::{TcpListener, TcpStream},
};
use slab::Slab;

use super::{
    latency::Latencies,
    message::{self, read_digits},
};

/// One receiver for each endpoint, on a port of its own: to a sender each is another host. Their tokens are those from
/// `first_token` on.
#[derive(Debug)]
pub(crate) struct Receivers {
    first_token: usize,
    listeners: Vec<TcpListener>,
    sockets: Slab<Socket>,
    inboxes: Vec<Inbox>,
    scratch: Vec<u8>,
    answering: bool,
    /// Requests that were answered, and the bytes of their bodies.
    pub(crate) delivered: u64,
    pub(crate) body_bytes: u64,
    /// Connections that ended for saying what is no request.
    pub(crate) strange: u64,
}

#[derive(Debug)]
struct Socket {
    stream: TcpStream,
    inbox: usize,
    /// What came and is not answered.
    input: Vec<u8>,
}

/// What one receiver has had.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// Hashes of the `webhook-id`s.
    ids: HashSet<u64>,
    pub(crate) doubled: u64,
    /// Events that came after a later one.
    pub(crate) disordered: u64,
    seq_last: u64,
}

impl Inbox {
    /// How many different ones it has had.
    pub(crate) fn distinct(&self) -> u64 {
        self.ids.len() as u64
    }

    /// Takes a delivery with an id: what has none is the reference's, which only counts.
    fn take(&mut self, request: &Request<'_>) {
        let Some(id) = request.id else { return };
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        if !self.ids.insert(hasher.finish()) {
            self.doubled += 1;
            return;
        }
        let seq = seq(request.body).unwrap_or(0);
        self.disordered += u64::from(seq <= self.seq_last);
        self.seq_last = self.seq_last.max(seq);
    }
}

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

impl Receivers {
    pub(crate) fn listen(poll: &Poll, count: usize, first_token: usize) -> anyhow::Result<Self> {
        let mut listeners = Vec::with_capacity(count);
        for i in 0..count {
            let mut listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
            poll.registry().register(&mut listener, Token(first_token + i), Interest::READABLE)?;
            listeners.push(listener);
        }
        Ok(Self {
            first_token,
            listeners,
            sockets: Slab::new(),
            inboxes: (0..count).map(|_| Inbox::default()).collect(),
            scratch: vec![0; 64 * 1024],
            answering: true,
            delivered: 0,
            body_bytes: 0,
            strange: 0,
        })
    }

    pub(crate) fn addrs(&self) -> anyhow::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(|listener| Ok(listener.local_addr()?)).collect()
    }

    pub(crate) fn inboxes(&self) -> &[Inbox] {
        &self.inboxes
    }

    pub(crate) fn connections(&self) -> usize {
        self.sockets.len()
    }

    /// Handles what poll says of one of these sockets.
    pub(crate) fn ready(
        &mut self,
        poll: &Poll,
        event: &mio::event::Event,
        now_us: u64,
        latencies: Option<&mut Latencies>,
    ) -> anyhow::Result<()> {
        let index = event.token().0 - self.first_token;
        let Some(key) = index.checked_sub(self.listeners.len()) else { return self.accept(poll, index) };
        if !self.read(key, now_us, latencies) {
            self.sockets.remove(key);
        }
        Ok(())
    }

    /// From now on requests are taken in and left without an answer: they count as not delivered.
    pub(crate) fn hang(&mut self) {
        self.answering = false;
    }

    /// Answers all that wait, and from now on whatever comes.
    pub(crate) fn answer(&mut self, now_us: u64) {
        self.answering = true;
        let keys: Vec<_> = self.sockets.iter().map(|(key, _)| key).collect();
        for key in keys {
            if !self.read(key, now_us, None) {
                self.sockets.remove(key);
            }
        }
    }

    fn accept(&mut self, poll: &Poll, inbox: usize) -> anyhow::Result<()> {
        loop {
            let (mut stream, _) = match self.listeners[inbox].accept() {
                Ok(accepted) => accepted,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) => return Err(e.into()),
            };
            stream.set_nodelay(true)?;
            let entry = self.sockets.vacant_entry();
            let token = Token(self.first_token + self.listeners.len() + entry.key());
            poll.registry().register(&mut stream, token, Interest::READABLE)?;
            entry.insert(Socket { stream, inbox, input: Vec::new() });
        }
    }

    /// Reads what has come and answers what is whole; `false` where the connection is over.
    fn read(&mut self, key: usize, now_us: u64, mut latencies: Option<&mut Latencies>) -> bool {
        let Some(socket) = self.sockets.get_mut(key) else { return true };
        loop {
            match socket.stream.read(&mut self.scratch) {
                Ok(0) => return false,
                Ok(n) => {
                    socket.input.extend_from_slice(&self.scratch[..n]);
                    if n < self.scratch.len() {
                        break;
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => return false,
            }
        }
        let mut used = 0;
        while self.answering {
            let request = match parse(&socket.input[used..]) {
                Ok(Some(request)) => request,
                Ok(None) => break,
                Err(NoRequest) => {
                    self.strange += 1;
                    return false;
                }
            };
            used += request.len;
            self.delivered += 1;
            self.body_bytes += request.body.len() as u64;
            self.inboxes[socket.inbox].take(&request);
            if let (Some(latencies), Some(stamp)) = (&mut latencies, message::read(request.body)) {
                latencies.record(now_us.saturating_sub(stamp.at_us), 1);
            }
            // A socket that does not take so little has a sender that does not read.
            if socket.stream.write(ANSWER).ok() != Some(ANSWER.len()) {
                return false;
            }
        }
        socket.input.drain(..used);
        true
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Request<'a> {
    id: Option<&'a [u8]>,
    body: &'a [u8],
    len: usize,
}

#[derive(Debug, PartialEq, Eq)]
struct NoRequest;

/// The POST at the start of `bytes`, once it is whole.
fn parse(bytes: &[u8]) -> Result<Option<Request<'_>>, NoRequest> {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut request = httparse::Request::new(&mut headers);
    let httparse::Status::Complete(head) = request.parse(bytes).map_err(|_| NoRequest)? else {
        return Ok(None);
    };
    let header = |name: &str| {
        request.headers.iter().find(|h| h.name.eq_ignore_ascii_case(name)).map(|header| header.value)
    };
    let size = header("content-length").and_then(read_digits).ok_or(NoRequest)?;
    let len = head + size as usize;
    if request.method != Some("POST") {
        return Err(NoRequest);
    }
    Ok(bytes.get(head..len).map(|body| Request { id: header("webhook-id"), body, len }))
}

/// The number of the event in an envelope.
fn seq(body: &[u8]) -> Option<u64> {
    const KEY: &[u8] = br#""seq":"#;
    let start = memchr::memmem::find(body, KEY)? + KEY.len();
    let digits = body[start..].iter().take_while(|b| b.is_ascii_digit()).count();
    read_digits(&body[start..start + digits])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn post(id: &str, body: &str) -> Vec<u8> {
        format!("POST / HTTP/1.1\r\nwebhook-id: {id}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .into_bytes()
    }

    #[test]
    fn a_request_is_taken_when_it_is_whole() {
        let text = post("a", r#"{"seq":7}"#);
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), Ok(None), "cut at {end}");
        }
        let request = parse(&text).expect("valid").expect("whole");
        assert_eq!((request.id, seq(request.body), request.len), (Some(&b"a"[..]), Some(7), text.len()));
        assert_eq!(parse(b"GET / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"), Err(NoRequest));
    }

    #[test]
    fn what_comes_twice_or_late_is_seen() {
        let mut inbox = Inbox::default();
        for (id, number) in [("a", 1), ("b", 2), ("a", 1), ("d", 4), ("c", 3)] {
            let text = post(id, &format!(r#"{{"seq":{number}}}"#));
            inbox.take(&parse(&text).expect("valid").expect("whole"));
        }
        assert_eq!((inbox.distinct(), inbox.doubled, inbox.disordered), (4, 1, 1));
    }
}
