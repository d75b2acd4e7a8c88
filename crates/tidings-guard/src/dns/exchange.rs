//! One question to one server.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout_at},
};

use super::message::{self, Kind, Reading, UDP_BYTES};
use crate::resolve::{Answer, ResolveError};

pub(super) async fn ask(
    server: SocketAddr,
    name: &str,
    kind: Kind,
    timeout: Duration,
) -> Result<Answer, ResolveError> {
    let deadline = Instant::now() + timeout;
    match timeout_at(deadline, by_any(server, name, kind)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(_)) => Err(ResolveError::Failed),
        Err(_) => Err(ResolveError::TimedOut),
    }
}

/// By UDP; where the server does not know extensions, without them; where the answer was cut, by TCP.
async fn by_any(server: SocketAddr, name: &str, kind: Kind) -> io::Result<Result<Answer, ResolveError>> {
    for extended in [true, false] {
        let id = rand::random();
        let Ok(question) = message::question(id, name, kind, extended) else {
            return Ok(Err(ResolveError::NotFound));
        };
        let read = |bytes: &[u8]| message::read(bytes, id, name, kind);
        match by_udp(server, &question, read).await? {
            Reading::Answer(answer) => return Ok(answer),
            Reading::Cut => return by_tcp(server, &question, read).await,
            Reading::Plain | Reading::Stray => {}
        }
    }
    Ok(Err(ResolveError::Failed))
}

/// From a port of its own, and heard from that server alone. Strays are passed over until the time is up.
async fn by_udp(server: SocketAddr, question: &[u8], read: impl Fn(&[u8]) -> Reading) -> io::Result<Reading> {
    let any: SocketAddr =
        if server.is_ipv4() { (Ipv4Addr::UNSPECIFIED, 0).into() } else { (Ipv6Addr::UNSPECIFIED, 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut buffer = [0; UDP_BYTES as usize];
    loop {
        let length = socket.recv(&mut buffer).await?;
        match read(&buffer[..length]) {
            Reading::Stray => {}
            reading => return Ok(reading),
        }
    }
}

async fn by_tcp(
    server: SocketAddr,
    question: &[u8],
    read: impl Fn(&[u8]) -> Reading,
) -> io::Result<Result<Answer, ResolveError>> {
    let mut stream = TcpStream::connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), question].concat()).await?;
    let mut answer = vec![0; stream.read_u16().await?.into()];
    stream.read_exact(&mut answer).await?;
    Ok(match read(&answer) {
        Reading::Answer(answer) => answer,
        Reading::Cut | Reading::Plain | Reading::Stray => Err(ResolveError::Failed),
    })
}
