//! A TCP connection that is read up to deadlines.

use std::{
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, Socket, Type};
use tidings_testkit::socket;

/// A connection, with what was read and not yet taken.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buffer: Vec<u8>,
    taken: usize,
    deadline: Instant,
}

impl Wire {
    /// Connects; every later read ends by `within` from now, until [`Wire::allow`] says otherwise.
    pub fn connect(addr: SocketAddr, within: Duration) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&addr, within)?, within)
    }

    /// Connects with a receive buffer of about `bytes` (the kernel has a minimum of some 2 KiB), set
    /// before the handshake so that the window never was larger.
    pub fn connect_narrow(addr: SocketAddr, bytes: usize, within: Duration) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_recv_buffer_size(bytes)?;
        socket.connect_timeout(&addr.into(), within)?;
        Self::over(socket.into(), within)
    }

    /// Connects as the host `from`, one of 127.0.0.0/8.
    pub fn connect_from(addr: SocketAddr, from: Ipv4Addr, within: Duration) -> io::Result<Self> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.bind(&SocketAddr::from((from, 0)).into())?;
        socket.connect_timeout(&addr.into(), within)?;
        Self::over(socket.into(), within)
    }

    fn over(stream: TcpStream, within: Duration) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(within))?;
        Ok(Self { stream, buffer: Vec::new(), taken: 0, deadline: Instant::now() + within })
    }

    /// Reads from here on end by `within` from now.
    pub fn allow(&mut self, within: Duration) {
        self.deadline = Instant::now() + within;
    }

    pub fn local_addr(&self) -> SocketAddr {
        self.stream.local_addr().expect("a connected socket has an address")
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// What lies here unread.
    pub fn buffered(&self) -> &[u8] {
        &self.buffer[self.taken..]
    }

    /// Reads some more; `false` at the end of the stream. [`io::ErrorKind::TimedOut`] at the deadline.
    pub fn fill(&mut self) -> io::Result<bool> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left))?;
        if self.taken > 64 * 1024 {
            self.buffer.drain(..self.taken);
            self.taken = 0;
        }
        let mut chunk = [0; 16 * 1024];
        match socket::read(&self.stream, &mut chunk) {
            Ok(n) => {
                self.buffer.extend_from_slice(&chunk[..n]);
                Ok(n > 0)
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::TimedOut.into()),
            Err(e) => Err(e),
        }
    }

    /// Reads until `n` bytes lie here. Nothing is taken, so that a deadline in between loses nothing.
    pub fn ensure(&mut self, n: usize) -> io::Result<()> {
        while self.buffered().len() < n {
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(())
    }

    /// Takes exactly `n` bytes.
    pub fn take(&mut self, n: usize) -> io::Result<Vec<u8>> {
        self.ensure(n)?;
        let bytes = self.buffered()[..n].to_vec();
        self.taken += n;
        Ok(bytes)
    }

    /// Reads until `mark` lies here, and says how many bytes there are up to its end.
    pub fn ensure_through(&mut self, mark: &[u8]) -> io::Result<usize> {
        let mut searched = 0;
        loop {
            let found = self.buffered()[searched..].windows(mark.len()).position(|w| w == mark);
            if let Some(at) = found {
                return Ok(searched + at + mark.len());
            }
            searched = (self.buffered().len() + 1).saturating_sub(mark.len());
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Takes everything up to and including `mark`.
    pub fn take_through(&mut self, mark: &[u8]) -> io::Result<Vec<u8>> {
        let length = self.ensure_through(mark)?;
        self.take(length)
    }

    /// Takes everything until the peer ends the stream.
    pub fn take_to_end(&mut self) -> io::Result<Vec<u8>> {
        while self.fill()? {}
        let rest = self.buffered().to_vec();
        self.taken = self.buffer.len();
        Ok(rest)
    }

    /// Whether the peer has ended or reset the connection, once everything that still came is dropped.
    pub fn ends(&mut self, within: Duration) -> bool {
        self.allow(within);
        loop {
            match self.fill() {
                Ok(true) => self.taken = self.buffer.len(),
                Ok(false) => return true,
                Err(e) => return e.kind() != io::ErrorKind::TimedOut,
            }
        }
    }

    pub fn shut_write(&self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }

    /// Bytes that the kernel holds for us are left there; only one at a time is taken.
    pub const fn socket(&self) -> &TcpStream {
        &self.stream
    }
}
