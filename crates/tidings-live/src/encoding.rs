//! The bytes of one event on one transport.

use std::io::Write as _;

use bytes::Bytes;
use tidings_core::{Epoch, Event, Verbosity};

/// What carries the bytes, and so what is around each envelope.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// A whole text frame from a server: header and envelope.
    WebSocket,
    /// A whole record: `id:` with the cursor, `event:`, `data:` with the envelope.
    Sse,
    /// The same record as one chunk of HTTP/1.1's chunked coding.
    ChunkedSse,
}

/// Which of an event's frames a subscription gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoding {
    pub transport: Transport,
    pub verbosity: Verbosity,
}

impl Transport {
    pub(crate) const COUNT: usize = 3;
}

impl Encoding {
    /// Makes the frame.
    pub(crate) fn encode(self, epoch: &Epoch, event: &Event) -> Bytes {
        let verbosity = self.verbosity;
        match self.transport {
            Transport::WebSocket => web_socket_frame(event, verbosity),
            Transport::Sse => sse_record(epoch, event, verbosity).into(),
            Transport::ChunkedSse => chunk(&sse_record(epoch, event, verbosity)),
        }
    }
}

/// Bytes of an envelope beside its data, names included, in all but odd cases.
const ENVELOPE_BYTES: usize = 384;

fn capacity(event: &Event, verbosity: Verbosity) -> usize {
    event.fact.body.at(verbosity).len() + ENVELOPE_BYTES
}

fn web_socket_frame(event: &Event, verbosity: Verbosity) -> Bytes {
    const HEADER_MAX: usize = 10;
    let mut out = Vec::with_capacity(HEADER_MAX + capacity(event, verbosity));
    out.extend_from_slice(&[0; HEADER_MAX]);
    event.write_envelope(verbosity, &mut out);
    let (header, len) = text_frame_header(out.len() - HEADER_MAX);
    let start = HEADER_MAX - len;
    out[start..HEADER_MAX].copy_from_slice(&header[..len]);
    Bytes::from(out).slice(start..)
}

/// The header of an unmasked, final text frame (RFC 6455, section 5.2), and how many bytes of it count.
fn text_frame_header(payload: usize) -> ([u8; 10], usize) {
    const FINAL_TEXT: u8 = 0x81;
    let mut header = [0; 10];
    header[0] = FINAL_TEXT;
    match payload {
        0..=125 => {
            header[1] = payload as u8;
            (header, 2)
        }
        126..=0xFFFF => {
            header[1] = 126;
            header[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
            (header, 4)
        }
        _ => {
            header[1] = 127;
            header[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
            (header, 10)
        }
    }
}

/// Where the payload of a whole frame of ours begins.
pub(crate) fn payload_start(frame: &[u8]) -> usize {
    match frame[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

fn sse_record(epoch: &Epoch, event: &Event, verbosity: Verbosity) -> Vec<u8> {
    let mut out = Vec::with_capacity(capacity(event, verbosity));
    write!(out, "id: {epoch}:{}\nevent: {}\ndata: ", event.seq, event.fact.event_type)
        .expect("a Vec takes every write");
    event.write_envelope(verbosity, &mut out);
    out.extend_from_slice(b"\n\n");
    out
}

fn chunk(record: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(record.len() + 16);
    write!(out, "{:x}\r\n", record.len()).expect("a Vec takes every write");
    out.extend_from_slice(record);
    out.extend_from_slice(b"\r\n");
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::event_of_size;

    fn frame(transport: Transport, event: &Event) -> Bytes {
        let epoch = Epoch::parse("abcd2345").expect("valid");
        Encoding { transport, verbosity: Verbosity::Minimal }.encode(&epoch, event)
    }

    #[test]
    fn a_web_socket_header_tells_the_length_in_the_fewest_bytes() {
        let header = |n| {
            let (bytes, len) = text_frame_header(n);
            bytes[..len].to_vec()
        };
        assert_eq!(header(0), [0x81, 0]);
        assert_eq!(header(125), [0x81, 125]);
        assert_eq!(header(126), [0x81, 126, 0, 126]);
        assert_eq!(header(65_535), [0x81, 126, 0xFF, 0xFF]);
        assert_eq!(header(65_536), [0x81, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_web_socket_frame_is_header_and_envelope_at_every_length() {
        // An envelope is never under 126 bytes, so the shortest header has its own test above.
        for size in [200, 65_535, 65_536, 70_000] {
            let event = event_of_size(7, size);
            let envelope = event.envelope(Verbosity::Minimal);
            assert_eq!(envelope.len(), size);
            let frame = frame(Transport::WebSocket, &event);
            let (header, len) = text_frame_header(size);
            assert_eq!(&frame[..len], &header[..len]);
            assert_eq!(payload_start(&frame), len);
            assert_eq!(&frame[len..], envelope);
        }
    }

    #[test]
    fn an_sse_record_names_its_cursor_and_type() {
        let event = event_of_size(7, 300);
        let envelope = String::from_utf8(event.envelope(Verbosity::Minimal)).expect("text");
        let expected = format!("id: abcd2345:7\nevent: note.created\ndata: {envelope}\n\n");
        assert_eq!(frame(Transport::Sse, &event), expected);
        let chunked = format!("{:x}\r\n{expected}\r\n", expected.len());
        assert_eq!(frame(Transport::ChunkedSse, &event), chunked);
    }
}
