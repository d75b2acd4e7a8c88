//! A receiver that does to each connection what a test tells it to.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

#[derive(Debug, Clone, Default)]
pub(crate) struct Message {
    /// The request line and the headers as they came.
    pub(crate) head: Vec<String>,
    pub(crate) body: Vec<u8>,
}

impl Message {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |line: &'_ String| line.to_lowercase().starts_with(&format!("{name}: "));
        self.head.iter().find(|line| named(line)).map(|line| line.split_once(": ").unwrap().1)
    }
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    messages: Mutex<Vec<Message>>,
}

pub(crate) struct Receiver {
    pub(crate) addr: SocketAddr,
    seen: Arc<Seen>,
}

/// One connection, from the receiver's side.
pub(crate) struct Line {
    reader: BufReader<TcpStream>,
    seen: Arc<Seen>,
}

impl Receiver {
    /// A connection ends when `serve` does.
    pub(crate) fn start(serve: impl Fn(&mut Line) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (addr, seen, serve) = (listener.local_addr().unwrap(), Arc::<Seen>::default(), Arc::new(serve));
        let told = Arc::clone(&seen);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                told.connections.fetch_add(1, Ordering::SeqCst);
                let (serve, seen) = (Arc::clone(&serve), Arc::clone(&told));
                thread::spawn(move || serve(&mut Line { reader: BufReader::new(stream), seen }));
            }
        });
        Self { addr, seen }
    }

    /// Answers every message of a connection with `answer`.
    pub(crate) fn answering(answer: impl Into<String>) -> Self {
        let answer = answer.into();
        Self::start(move |line| {
            loop {
                line.message()?;
                line.say(&answer)?;
            }
        })
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/hook?a=b", self.addr)
    }

    pub(crate) fn connections(&self) -> usize {
        self.seen.connections.load(Ordering::SeqCst)
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        self.seen.messages.lock().unwrap().clone()
    }
}

impl Line {
    pub(crate) fn message(&mut self) -> io::Result<()> {
        self.take().map(drop)
    }

    /// The next message.
    pub(crate) fn take(&mut self) -> io::Result<Message> {
        let mut message = Message::default();
        loop {
            let mut line = String::new();
            if self.reader.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match line.trim_end() {
                "" => break,
                line => message.head.push(line.to_owned()),
            }
        }
        let length = message.header("content-length").map_or(0, |length| length.parse().unwrap());
        message.body.resize(length, 0);
        self.reader.read_exact(&mut message.body)?;
        self.seen.messages.lock().unwrap().push(message.clone());
        Ok(message)
    }

    /// Reads no more than that there is something.
    pub(crate) fn glance(&mut self) -> io::Result<()> {
        self.reader.read(&mut [0; 16]).map(drop)
    }

    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        self.write(text.as_bytes())
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.reader.get_mut().write_all(bytes)
    }

    /// Says nothing more, until the other side hangs up.
    pub(crate) fn hang(&mut self) -> io::Result<()> {
        io::copy(&mut self.reader, &mut io::sink()).map(drop)
    }

    /// Hangs up with a reset.
    pub(crate) fn reset(&mut self) -> io::Result<()> {
        socket2::SockRef::from(self.reader.get_ref()).set_linger(Some(std::time::Duration::ZERO))
    }
}
