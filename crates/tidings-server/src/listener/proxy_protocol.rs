//! What a proxy says in front of a connection of whom it speaks for: PROXY protocol, versions 1 and 2.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::io::{AsyncRead, AsyncReadExt as _};

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// The longest line of version 1, with its end.
const LINE_MAX: usize = 107;

/// Addresses and extensions of version 2: far more than load balancers send.
const BODY_MAX: usize = 4_096;

/// Reads the header and not a byte more. `None`: the proxy speaks for itself, or for it does not say whom.
pub(super) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    // Both versions are longer than this.
    let mut start = [0; 12];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        return binary(stream).await;
    }
    if start.starts_with(b"PROXY ") {
        return line(stream, start.to_vec()).await;
    }
    Err(malformed("it does not begin with a header"))
}

async fn line(stream: &mut (impl AsyncRead + Unpin), mut line: Vec<u8>) -> io::Result<Option<SocketAddr>> {
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE_MAX {
            return Err(malformed("its line has no end"));
        }
        line.push(stream.read_u8().await?);
    }
    line.truncate(line.len() - 2);
    let text = std::str::from_utf8(&line).map_err(|_| malformed("its line is no text"))?;
    if text == "PROXY UNKNOWN" || text.starts_with("PROXY UNKNOWN ") {
        return Ok(None);
    }
    source(text).map(Some).ok_or_else(|| malformed("its line does not read"))
}

/// `PROXY TCP4 <source> <destination> <port> <port>`
fn source(line: &str) -> Option<SocketAddr> {
    let mut words = line.split(' ').skip(1);
    let family = words.next()?;
    let [source, destination, port, to_port] = [words.next()?, words.next()?, words.next()?, words.next()?];
    let (source, _) = match family {
        "TCP4" => (source.parse::<Ipv4Addr>().ok()?.into(), destination.parse::<Ipv4Addr>().ok()?.into()),
        "TCP6" => (source.parse::<Ipv6Addr>().ok()?.into(), destination.parse::<Ipv6Addr>().ok()?.into()),
        _ => return None,
    } as (IpAddr, IpAddr);
    let port = number(port)?;
    number(to_port)?;
    words.next().is_none().then_some(SocketAddr::new(source, port))
}

/// A port as it is written: the standard parser takes a sign and zeros in front.
fn number(text: &str) -> Option<u16> {
    let port: u16 = text.parse().ok()?;
    (port.to_string() == text).then_some(port)
}

async fn binary(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut head = [0; 4];
    stream.read_exact(&mut head).await?;
    let [command, family, high, low] = head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > BODY_MAX {
        return Err(malformed("it is too long"));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    match (command, family) {
        (0x20, _) | (0x21, 0x00) => Ok(None),
        (0x21, 0x11) => addressed::<4>(&body, |ip| Ipv4Addr::from(ip).into()),
        (0x21, 0x21) => addressed::<16>(&body, |ip| Ipv6Addr::from(ip).into()),
        _ => Err(malformed("its version, command or family is not one that is spoken here")),
    }
}

/// Source, destination and their ports; extensions follow.
fn addressed<const N: usize>(body: &[u8], ip: impl Fn([u8; N]) -> IpAddr) -> io::Result<Option<SocketAddr>> {
    let short = || malformed("it is too short for its addresses");
    body.get(..2 * N + 4).ok_or_else(short)?;
    let source = *body.first_chunk::<N>().ok_or_else(short)?;
    let port = u16::from_be_bytes([body[2 * N], body[2 * N + 1]]);
    Ok(Some(SocketAddr::new(ip(source), port)))
}

fn malformed(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What is read, and what is left of the bytes.
    fn reads(bytes: &[u8]) -> (Result<Option<String>, io::ErrorKind>, usize) {
        let mut rest = bytes;
        let read = futures_util::FutureExt::now_or_never(read(&mut rest)).expect("bytes are there or not");
        (read.map(|source| source.map(|s| s.to_string())).map_err(|e| e.kind()), rest.len())
    }

    fn v2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = SIGNATURE.to_vec();
        bytes.extend([command, family]);
        bytes.extend((body.len() as u16).to_be_bytes());
        bytes.extend(body);
        bytes
    }

    const V4: [u8; 12] = [192, 0, 2, 1, 192, 0, 2, 2, 0x30, 0x39, 1, 187];

    #[test]
    fn both_versions_name_the_client_and_leave_the_rest() {
        let at = |text: &str| (Ok(Some(text.to_owned())), 3);
        assert_eq!(reads(b"PROXY TCP4 192.0.2.1 192.0.2.2 12345 443\r\nGET"), at("192.0.2.1:12345"));
        assert_eq!(reads(b"PROXY TCP6 2001:db8::1 ::1 12345 443\r\nGET"), at("[2001:db8::1]:12345"));
        assert_eq!(reads(b"PROXY UNKNOWN ffff::1 x y z\r\nGET"), (Ok(None), 3));
        assert_eq!(reads(b"PROXY UNKNOWN\r\nGET"), (Ok(None), 3));
        let extended = [&V4[..], &[4, 0, 1, 0]].concat();
        for bytes in [v2(0x21, 0x11, &V4), v2(0x21, 0x11, &extended)] {
            assert_eq!(reads(&[&bytes[..], b"GET"].concat()), at("192.0.2.1:12345"));
        }
        let mut six = [0; 36];
        (six[0], six[15], six[32], six[33]) = (0x20, 1, 0x30, 0x39);
        assert_eq!(reads(&[&v2(0x21, 0x21, &six)[..], b"GET"].concat()), at("[2000::1]:12345"));
        assert_eq!(reads(&[&v2(0x20, 0, &[])[..], b"GET"].concat()), (Ok(None), 3), "a health check");
        assert_eq!(reads(&[&v2(0x21, 0, &[1, 2])[..], b"GET"].concat()), (Ok(None), 3));
    }

    #[test]
    fn what_does_not_read_is_refused() {
        let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
        for line in [
            "GET / HTTP/1.1\r\n\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 12345\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 12345 443 1\r\n",
            "PROXY TCP4 192.0.2.1  192.0.2.2 12345 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 65536 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 +5 443\r\n",
            "PROXY TCP4 192.0.2.1 192.0.2.2 05 443\r\n",
            "PROXY TCP4 2001:db8::1 ::1 12345 443\r\n",
            "PROXY TCP6 192.0.2.1 192.0.2.2 12345 443\r\n",
            "PROXY UDP4 192.0.2.1 192.0.2.2 12345 443\r\n",
            "proxy TCP4 192.0.2.1 192.0.2.2 12345 443\r\n",
            &long,
        ] {
            assert_eq!(reads(line.as_bytes()).0, Err(io::ErrorKind::InvalidData), "{line}");
        }
        for (command, family, body) in [
            (0x11, 0x11, &V4[..]),
            (0x22, 0x11, &V4),
            (0x21, 0x12, &V4),
            (0x21, 0x31, &[0; 216]),
            (0x21, 0x11, &V4[..11]),
            (0x21, 0x21, &V4),
            (0x21, 0x11, &[0; BODY_MAX + 1]),
        ] {
            let refused = reads(&v2(command, family, body)).0;
            assert_eq!(refused, Err(io::ErrorKind::InvalidData), "{command:x} {family:x} {}", body.len());
        }
        assert_eq!(reads(b"PROXY TCP4 192.0").0, Err(io::ErrorKind::UnexpectedEof));
        assert_eq!(reads(&v2(0x21, 0x11, &V4)[..20]).0, Err(io::ErrorKind::UnexpectedEof));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), signed in any::<bool>()) {
            let bytes = if signed { [&SIGNATURE[..], &bytes].concat() } else { [b"PROXY ", &bytes[..]].concat() };
            let _ = reads(&bytes);
        }
    }
}
