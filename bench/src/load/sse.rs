//! Server-sent events as a byte stream, with HTTP/1.1 chunks around them or without.

use memchr::{memchr, memmem};

/// Takes chunk framing out of a body that arrives in pieces.
#[derive(Debug, Default)]
pub(crate) struct Dechunker {
    /// Body bytes of the current chunk that are still to come.
    left: usize,
    /// A chunk's head (and the line end before it) that has come in part.
    head: Vec<u8>,
    pub(crate) ended: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadChunk;

impl Dechunker {
    /// Moves the body bytes within `bytes` to its front and returns how many there are.
    pub(crate) fn compact(&mut self, bytes: &mut [u8]) -> Result<usize, BadChunk> {
        let (mut from, mut to) = (0, 0);
        while from < bytes.len() && !self.ended {
            if self.left == 0 {
                from += self.take_head(&bytes[from..])?;
                continue;
            }
            let size = self.left.min(bytes.len() - from);
            bytes.copy_within(from..from + size, to);
            (from, to, self.left) = (from + size, to + size, self.left - size);
        }
        Ok(to)
    }

    /// Reads on in a chunk's head; returns how many bytes of `bytes` belong to it.
    fn take_head(&mut self, bytes: &[u8]) -> Result<usize, BadChunk> {
        let mut used = 0;
        loop {
            let Some(end) = memchr(b'\n', &bytes[used..]) else {
                self.head.extend_from_slice(&bytes[used..]);
                return if self.head.len() > 64 { Err(BadChunk) } else { Ok(bytes.len()) };
            };
            self.head.extend_from_slice(&bytes[used..used + end]);
            used += end + 1;
            let line = std::mem::take(&mut self.head);
            let line = line.trim_ascii();
            if !line.is_empty() {
                let size = std::str::from_utf8(line).map_err(|_| BadChunk)?;
                self.left = usize::from_str_radix(size, 16).map_err(|_| BadChunk)?;
                self.ended = self.left == 0;
                return Ok(used);
            }
        }
    }
}

/// The first whole record of `bytes`: its `data` and the bytes of all of it. A record of several data
/// lines does not occur: the servers send JSON in one.
#[inline]
pub(crate) fn record(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let end = memmem::find(bytes, b"\n\n")?;
    let (mut at, mut data) = (0, &bytes[..0]);
    while at < end {
        let line_end = memchr(b'\n', &bytes[at..end]).map_or(end, |n| at + n);
        if let Some(text) = bytes[at..line_end].strip_prefix(b"data:") {
            data = text.strip_prefix(b" ").unwrap_or(text);
        }
        at = line_end + 1;
    }
    Some((data, end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cut_anywhere_yield_the_same_body() {
        let wire = b"5\r\nhello\r\n10\r\n, this is a text\r\n1\r\n.\r\n";
        for cut in 0..wire.len() {
            let (mut one, mut two) = (wire[..cut].to_vec(), wire[cut..].to_vec());
            let mut dechunker = Dechunker::default();
            let mut body = Vec::new();
            for piece in [&mut one, &mut two] {
                let size = dechunker.compact(piece).expect("valid");
                body.extend_from_slice(&piece[..size]);
            }
            assert_eq!(body, b"hello, this is a text.", "cut at {cut}");
            assert!(!dechunker.ended);
        }
        let mut end = b"0\r\n\r\n".to_vec();
        let mut dechunker = Dechunker::default();
        assert_eq!(dechunker.compact(&mut end), Ok(0));
        assert!(dechunker.ended);
        assert_eq!(Dechunker::default().compact(&mut b"zz\r\n".to_vec()), Err(BadChunk));
    }

    #[test]
    fn a_record_is_whole_or_not_there() {
        let text = b"id: a:1\nevent: x.y\ndata: {\"seq\":1}\n\n: comment\n\n";
        assert_eq!(record(text), Some((br#"{"seq":1}"#.as_slice(), 36)));
        assert_eq!(record(&text[..35]), None);
        assert_eq!(record(&text[36..]), Some((b"".as_slice(), 11)));
    }
}
