//! The least program that can deliver: one thread that posts one ready-made request, again and again, on connections that
//! are kept, each with one request at a time. It signs, stores, retries and chooses nothing.

use std::{
    io::{self, Read as _, Write as _},
    net::SocketAddr,
};

use anyhow::{Context as _, bail};
use mio::{Events, Interest, Poll, Token, net::TcpStream};

use crate::load::await_ready;

struct Connection {
    stream: TcpStream,
    /// Bytes of the answer that have come.
    answer: Vec<u8>,
}

/// Posts bodies of `bytes` until the process is ended, or the receiver ends a connection.
pub fn run(addr: SocketAddr, bytes: usize, connections: usize) -> anyhow::Result<()> {
    let request = [
        format!(
            "POST /hook HTTP/1.1\r\nHost: {addr}\r\nContent-Type: application/json\r\nContent-Length: {bytes}\r\n\r\n"
        )
        .into_bytes(),
        vec![b'x'; bytes],
    ]
    .concat();
    let mut poll = Poll::new()?;
    let mut all = Vec::with_capacity(connections);
    for key in 0..connections {
        let stream = std::net::TcpStream::connect(addr).context("connecting")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(key), Interest::READABLE)?;
        let mut connection = Connection { stream, answer: Vec::new() };
        connection.post(&request)?;
        all.push(connection);
    }
    let mut events = Events::with_capacity(connections.max(1));
    loop {
        await_ready(&mut poll, &mut events, None)?;
        for event in &events {
            let connection = &mut all[event.token().0];
            if connection.is_answered()? {
                connection.post(&request)?;
            }
        }
    }
}

impl Connection {
    fn post(&mut self, request: &[u8]) -> anyhow::Result<()> {
        // The receiver has read the one before, so that there is room for a whole one.
        if self.stream.write(request).context("posting")? != request.len() {
            bail!("the kernel did not take a whole request");
        }
        Ok(())
    }

    /// Whether the answer is whole. One that is no 200 is an error.
    fn is_answered(&mut self) -> anyhow::Result<bool> {
        let mut piece = [0; 1_024];
        match self.stream.read(&mut piece) {
            Ok(0) => bail!("the receiver ended a connection"),
            Ok(n) => self.answer.extend_from_slice(&piece[..n]),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(e) => return Err(e.into()),
        }
        if !self.answer.ends_with(b"\r\n\r\n") {
            return Ok(false);
        }
        if !self.answer.starts_with(b"HTTP/1.1 200 ") {
            bail!("the receiver answered {}", String::from_utf8_lossy(&self.answer));
        }
        self.answer.clear();
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::load::{Processes, posts};

    #[test]
    fn what_it_posts_is_received() {
        let start = |addr| {
            std::thread::spawn(move || super::run(addr, 450, 4));
            Ok(Processes::own())
        };
        let report =
            posts(start, Duration::from_millis(50), Duration::from_millis(200)).expect("the load runs");
        assert!(report.posts_per_s > 100.0, "{report:?}");
        assert!((report.body_bytes - 450.0).abs() < 1e-9, "{report:?}");
        assert_eq!(report.strange, 0);
    }

    #[test]
    fn an_answer_that_is_no_success_ends_it() {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let client = std::thread::spawn(move || super::run(addr, 10, 1));
        let (mut stream, _) = listener.accept().expect("it connects");
        let read = stream.read(&mut [0; 1_024]).expect("it posts");
        assert!(read > 0);
        stream.write_all(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n").expect("it listens");
        // A client that goes on finds the end of the connection.
        drop(stream);
        let error = client.join().expect("no panic").expect_err("a refusal");
        assert!(error.to_string().contains("503"), "{error}");
    }
}
