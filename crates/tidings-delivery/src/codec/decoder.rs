use super::{CloseFrame, Message, Violation};

/// How many frames may make up one message: with the size limit this bounds what empty fragments cost.
const FRAGMENTS_MAX: u32 = 16_384;
/// Two bytes, an eight-byte length, a four-byte mask.
const HEADER_MAX: usize = 14;

/// Takes a client's bytes in pieces of any size. It holds memory only while a frame or message is
/// incomplete: at most the size limit, and only for bytes that have arrived.
#[derive(Debug)]
pub(crate) struct Decoder {
    size_max: usize,
    header: [u8; HEADER_MAX],
    header_len: u8,
    frame: Option<Frame>,
    message: Option<Partial>,
    control: Vec<u8>,
}

/// The frame whose payload is being read.
#[derive(Debug, Clone, Copy)]
struct Frame {
    fin: bool,
    control: Option<Control>,
    mask: [u8; 4],
    length: usize,
    read: usize,
}

#[derive(Debug, Clone, Copy)]
enum Control {
    Close,
    Ping,
    Pong,
}

/// The data message that is being put together.
#[derive(Debug)]
struct Partial {
    text: bool,
    bytes: Vec<u8>,
    /// Up to here the text is known to be UTF-8.
    valid_to: usize,
    fragments: u32,
}

impl Decoder {
    /// `size_max` bounds a frame and a message in bytes.
    pub(crate) fn new(size_max: usize) -> Self {
        Self {
            size_max,
            header: [0; HEADER_MAX],
            header_len: 0,
            frame: None,
            message: None,
            control: Vec::new(),
        }
    }

    /// Bounds the frames that begin from now on, and their messages.
    pub(crate) const fn set_size_max(&mut self, size_max: usize) {
        self.size_max = size_max;
    }

    /// A message or a frame has begun, and its end has not come.
    pub(crate) const fn is_unfinished(&self) -> bool {
        self.header_len > 0 || self.frame.is_some() || self.message.is_some()
    }

    /// Takes bytes off the front of `input` until a message is whole (`Some`) or `input` is empty. After
    /// an error the decoder is of no further use.
    pub(crate) fn next(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Violation> {
        loop {
            let Some(frame) = &mut self.frame else {
                match self.read_header(input)? {
                    Some(frame) => self.frame = Some(self.admit(frame)?),
                    None => return Ok(None),
                }
                continue;
            };
            let n = (frame.length - frame.read).min(input.len());
            let (chunk, rest) = input.split_at(n);
            *input = rest;
            let start = frame.read;
            frame.read += n;
            let (frame, whole) = (*frame, frame.read == frame.length);
            self.take_payload(&frame, chunk, start)?;
            if !whole {
                return Ok(None);
            }
            self.frame = None;
            if let Some(message) = self.finish(&frame)? {
                return Ok(Some(message));
            }
        }
    }

    /// Reads the header of the next frame and judges what it says by itself.
    fn read_header(&mut self, input: &mut &[u8]) -> Result<Option<Header>, Violation> {
        loop {
            let have = usize::from(self.header_len);
            let need = match have {
                0 | 1 => 2,
                _ => 2 + 4 + length_bytes(self.header[1] & 0x7F),
            };
            if have >= 2 && have == need {
                self.header_len = 0;
                return Header::parse(&self.header).map(Some);
            }
            let n = (need - have).min(input.len());
            if n == 0 {
                return Ok(None);
            }
            self.header[have..have + n].copy_from_slice(&input[..n]);
            *input = &input[n..];
            self.header_len += n as u8;
            // Judged before the length and the mask are waited for: they may never come.
            if have < 2 && self.header_len >= 2 {
                Header::check(self.header[0], self.header[1])?;
            }
        }
    }

    /// Judges the header by what came before, and opens its message.
    fn admit(&mut self, header: Header) -> Result<Frame, Violation> {
        let Header { fin, opcode, mask, length } = header;
        let control = match opcode {
            0x8 => Some(Control::Close),
            0x9 => Some(Control::Ping),
            0xA => Some(Control::Pong),
            _ => None,
        };
        if control.is_none() {
            let partial = match (opcode, &mut self.message) {
                (0x0, None) => return Err(Violation::NothingToContinue),
                (0x0, Some(partial)) => partial,
                (_, Some(_)) => return Err(Violation::Interleaved),
                (_, none) => {
                    none.insert(Partial { text: opcode == 0x1, bytes: Vec::new(), valid_to: 0, fragments: 0 })
                }
            };
            partial.fragments += 1;
            if length > self.size_max.saturating_sub(partial.bytes.len()) as u64 {
                return Err(Violation::TooBig);
            }
            if partial.fragments > FRAGMENTS_MAX {
                return Err(Violation::TooManyFragments);
            }
        }
        Ok(Frame { fin, control, mask, length: length as usize, read: 0 })
    }

    fn take_payload(&mut self, frame: &Frame, chunk: &[u8], start: usize) -> Result<(), Violation> {
        if frame.control.is_some() {
            unmask(chunk, frame.mask, start, &mut self.control);
            return Ok(());
        }
        let partial = self.message.as_mut().expect("a data frame has opened its message");
        unmask(chunk, frame.mask, start, &mut partial.bytes);
        partial.check_text()
    }

    fn finish(&mut self, frame: &Frame) -> Result<Option<Message>, Violation> {
        if let Some(control) = frame.control {
            let payload = std::mem::take(&mut self.control);
            return match control {
                Control::Close => CloseFrame::parse(&payload).map(|close| Some(Message::Close(close))),
                Control::Ping => Ok(Some(Message::Ping(payload))),
                Control::Pong => Ok(Some(Message::Pong)),
            };
        }
        if !frame.fin {
            return Ok(None);
        }
        let partial = self.message.take().expect("a data frame has opened its message");
        if !partial.text {
            return Ok(Some(Message::Binary(partial.bytes)));
        }
        String::from_utf8(partial.bytes).map(|text| Some(Message::Text(text))).map_err(|_| Violation::Utf8)
    }
}

impl Partial {
    /// A letter may be split between two pieces; anything else that is wrong is wrong at once.
    fn check_text(&mut self) -> Result<(), Violation> {
        if !self.text {
            return Ok(());
        }
        match std::str::from_utf8(&self.bytes[self.valid_to..]) {
            Ok(_) => self.valid_to = self.bytes.len(),
            Err(e) if e.error_len().is_none() => self.valid_to += e.valid_up_to(),
            Err(_) => return Err(Violation::Utf8),
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
struct Header {
    fin: bool,
    opcode: u8,
    mask: [u8; 4],
    length: u64,
}

impl Header {
    /// What the first two bytes alone decide.
    fn check(first: u8, second: u8) -> Result<(), Violation> {
        let opcode = first & 0x0F;
        if first & 0x70 != 0 {
            return Err(Violation::ReservedBits);
        }
        if matches!(opcode, 0x3..=0x7 | 0xB..=0xF) {
            return Err(Violation::ReservedOpcode);
        }
        if opcode >= 0x8 && (first & 0x80 == 0 || second & 0x7F > 125) {
            return Err(Violation::ControlFrame);
        }
        if second & 0x80 == 0 { Err(Violation::Unmasked) } else { Ok(()) }
    }

    fn parse(bytes: &[u8; HEADER_MAX]) -> Result<Self, Violation> {
        let short = bytes[1] & 0x7F;
        let extra = length_bytes(short);
        let length = bytes[2..2 + extra].iter().fold(0, |n, b| n << 8 | u64::from(*b));
        let (length, fewest) = match short {
            126 => (length, length > 125),
            127 => (length, length > 0xFFFF && length >> 63 == 0),
            _ => (u64::from(short), true),
        };
        if !fewest {
            return Err(Violation::Length);
        }
        let mask = bytes[2 + extra..6 + extra].try_into().expect("a mask is four bytes");
        Ok(Self { fin: bytes[0] & 0x80 != 0, opcode: bytes[0] & 0x0F, mask, length })
    }
}

const fn length_bytes(short: u8) -> usize {
    match short {
        126 => 2,
        127 => 8,
        _ => 0,
    }
}

/// Appends `chunk`, which starts at byte `start` of its frame's payload.
fn unmask(chunk: &[u8], mask: [u8; 4], start: usize, out: &mut Vec<u8>) {
    let mut mask = mask;
    mask.rotate_left(start % 4);
    let from = out.len();
    out.extend_from_slice(chunk);
    let mut words = out[from..].chunks_exact_mut(4);
    for word in &mut words {
        for (byte, key) in word.iter_mut().zip(mask) {
            *byte ^= key;
        }
    }
    for (byte, key) in words.into_remainder().iter_mut().zip(mask) {
        *byte ^= key;
    }
}

#[cfg(test)]
#[path = "decoder_tests.rs"]
mod tests;
