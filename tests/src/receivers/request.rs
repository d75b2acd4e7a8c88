use std::io;

use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::TcpStream,
};

/// A message as it came, as far as anybody asks.
#[derive(Debug)]
pub(super) struct Request {
    pub seq: u64,
    /// `webhook-id`.
    pub id: String,
    /// When the event was committed, in microseconds.
    pub time: i64,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    seq: u64,
    time: &'a str,
}

pub(super) async fn read(stream: &mut BufReader<TcpStream>) -> io::Result<Request> {
    let (mut length, mut id, mut line) = (0, String::new(), String::new());
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if line.trim_end().is_empty() {
            break;
        }
        let Some((name, value)) = line.trim_end().split_once(':') else { continue };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        } else if name.eq_ignore_ascii_case("webhook-id") {
            value.trim().clone_into(&mut id);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let Envelope { seq, time } = serde_json::from_slice(&body)?;
    let time: jiff::Timestamp = time.parse().map_err(io::Error::other)?;
    Ok(Request { seq, id, time: time.as_microsecond() })
}
