use std::{io, net::SocketAddr, time::Duration};

use tokio::{
    net::TcpStream,
    task::JoinSet,
    time::{Instant, sleep, timeout_at},
};

use super::ConnectError;

/// Addresses that are tried.
const ATTEMPTS_MAX: usize = 8;
/// How long one has before the next is tried beside it (RFC 8305).
const HEAD_START: Duration = Duration::from_millis(250);

/// The first of the judged addresses that takes the connection. The others' attempts end with it.
pub(super) async fn first(addresses: Vec<SocketAddr>, deadline: Instant) -> Result<TcpStream, ConnectError> {
    let stream = match addresses.as_slice() {
        [only] => timeout_at(deadline, TcpStream::connect(*only)).await,
        _ => timeout_at(deadline, race(addresses)).await,
    };
    let stream = stream.map_err(|_| ConnectError::TimedOut)?.map_err(ConnectError::Unreachable)?;
    // A request leaves in one write: nothing is gained by holding it back.
    stream.set_nodelay(true).map_err(ConnectError::Unreachable)?;
    Ok(stream)
}

async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter().take(ATTEMPTS_MAX);
    let mut attempts = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        match waiting.next() {
            Some(address) => drop(attempts.spawn(TcpStream::connect(address))),
            None if attempts.is_empty() => return Err(last),
            None => {}
        }
        let head_start =
            async { if waiting.len() > 0 { sleep(HEAD_START).await } else { std::future::pending().await } };
        tokio::select! {
            Some(ended) = attempts.join_next() => match ended.map_err(io::Error::other)? {
                Ok(stream) => return Ok(stream),
                Err(error) => last = error,
            },
            () = head_start => {}
        }
    }
}
