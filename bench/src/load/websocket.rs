//! As much of RFC 6455 as a listening client needs.

/// One frame of a server: unmasked.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'a [u8],
    /// Bytes of the whole frame.
    pub(crate) len: usize,
}

pub(crate) const TEXT: u8 = 0x1;
pub(crate) const CLOSE: u8 = 0x8;
pub(crate) const PING: u8 = 0x9;
pub(crate) const PONG: u8 = 0xA;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    Frame(Frame<'a>),
    Incomplete,
    /// Masked, fragmented or with reserved bits: not what these servers send.
    Invalid,
}

/// The frame at the start of `bytes`.
#[inline]
pub(crate) fn parse(bytes: &[u8]) -> Parsed<'_> {
    let [first, second, ..] = *bytes else { return Parsed::Incomplete };
    if first & 0xF0 != 0x80 || second & 0x80 != 0 {
        return Parsed::Invalid;
    }
    let (head, size): (usize, usize) = match second {
        126 if bytes.len() >= 4 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        127 if bytes.len() >= 10 => {
            let mut size = [0; 8];
            size.copy_from_slice(&bytes[2..10]);
            (10, u64::from_be_bytes(size) as usize)
        }
        126 | 127 => return Parsed::Incomplete,
        size => (2, usize::from(size)),
    };
    match bytes.get(head..head.saturating_add(size)) {
        Some(payload) => Parsed::Frame(Frame { opcode: first & 0x0F, payload, len: head + size }),
        None => Parsed::Incomplete,
    }
}

/// A client's control frame. It is masked with zeros, which every server must take.
pub(crate) fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode, 0x80 | (payload.len() as u8), 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

/// A server's text frame.
pub(crate) fn text(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | TEXT];
    match payload.len() {
        size @ 0..126 => frame.push(size as u8),
        size @ 126..=0xFFFF => {
            frame.push(126);
            frame.extend_from_slice(&(size as u16).to_be_bytes());
        }
        size => {
            frame.push(127);
            frame.extend_from_slice(&(size as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_read_back_and_no_prefix_is_taken_for_whole() {
        for size in [0, 1, 125, 126, 300, 65_535, 65_536] {
            let payload = vec![b'a'; size];
            let frame = text(&payload);
            assert_eq!(
                parse(&frame),
                Parsed::Frame(Frame { opcode: TEXT, payload: &payload, len: frame.len() })
            );
            for end in [0, 1, 3, frame.len() - 1] {
                assert_eq!(parse(&frame[..end.min(frame.len() - 1)]), Parsed::Incomplete, "{size}");
            }
        }
        assert_eq!(parse(&control(PING, b"x")), Parsed::Invalid, "masked");
    }
}
