//! Finds requests in the bytes of a connection, as strictly as RFC 9112 lets: what one reader takes for the end of
//! a request and another for its middle is how requests are smuggled past a proxy.
//!
//! Hyper ends lines with a bare LF too, drops a Content-Length beside a Transfer-Encoding and one that repeats another, and a parsed request shows
//! nothing of it. The scanner changes no byte and takes each once; after the first doubt it looks no further.

/// How much is kept of a line that has not yet come whole: more than any field that is looked at may have.
const LINE_KEPT: usize = 256;

/// Some readers take what is longer for a number below zero.
const LENGTH_MAX: u64 = i64::MAX as u64;

#[derive(Debug, Default)]
pub(super) struct Scanner {
    part: Part,
    /// The beginning of a line whose end is still to come.
    line: Vec<u8>,
    fields: Fields,
    /// Requests whose heads are unambiguous.
    passed: u64,
    doubt: Option<&'static str>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Start,
    Head,
    /// So many bytes of a body, or of a chunk.
    Sized(u64, After),
    ChunkSize,
    ChunkEnd,
    Trailers,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Body,
    Chunk,
}

/// The fields of one head: those that say where its body ends, and how many there are.
#[derive(Debug, Default)]
struct Fields {
    count: usize,
    length: Option<u64>,
    chunked: bool,
}

impl Scanner {
    pub(super) const fn passed(&self) -> u64 {
        self.passed
    }

    /// Why the request after those that passed did not.
    pub(super) const fn why(&self) -> &'static str {
        match self.doubt {
            Some(why) => why,
            None => "its head has no certain end",
        }
    }

    pub(super) const fn doubt(&self) -> Option<&'static str> {
        self.doubt
    }

    /// How many fields the head has so far, with one that has begun.
    pub(super) fn fields(&self) -> usize {
        self.fields.count + usize::from(self.part == Part::Head && !self.line.is_empty())
    }

    /// Takes the next bytes.
    pub(super) fn see(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() && self.doubt.is_none() {
            if let Part::Sized(left, after) = self.part {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                bytes = &bytes[taken..];
                self.part = match (left - taken as u64, after) {
                    (0, After::Body) => Part::Start,
                    (0, After::Chunk) => Part::ChunkEnd,
                    (left, after) => Part::Sized(left, after),
                };
                continue;
            }
            let Some(at) = bytes.iter().position(|b| *b == b'\n') else {
                return self.keep(bytes);
            };
            let (line, rest) = bytes.split_at(at + 1);
            bytes = rest;
            if let Err(why) = self.whole_line(line) {
                self.doubt = Some(why);
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = LINE_KEPT.saturating_sub(self.line.len());
        self.line.extend_from_slice(&bytes[..room.min(bytes.len())]);
        // Its last byte says how the line ends, also where its middle is not kept.
        if bytes.len() > room
            && let (Some(last), Some(kept)) = (bytes.last(), self.line.last_mut())
        {
            *kept = *last;
        }
    }

    fn whole_line(&mut self, end: &[u8]) -> Result<(), &'static str> {
        let kept = std::mem::take(&mut self.line);
        let crlf = end.ends_with(b"\r\n") || (end == b"\n" && kept.ends_with(b"\r"));
        if !crlf {
            return Err("a line ends with LF alone");
        }
        if kept.is_empty() {
            return self.line(&end[..end.len() - 2]);
        }
        let mut whole = kept;
        whole.extend_from_slice(end);
        whole.truncate(whole.len() - 2);
        self.line(&whole)
    }

    /// A line without its end.
    fn line(&mut self, line: &[u8]) -> Result<(), &'static str> {
        self.part = match self.part {
            // Empty lines before a request are skipped, as RFC 9112 (2.2) asks.
            Part::Start | Part::Trailers if line.is_empty() => Part::Start,
            Part::Start => {
                self.fields = Fields::default();
                Part::Head
            }
            Part::Head if line.is_empty() => {
                self.passed += 1;
                match (self.fields.chunked, self.fields.length) {
                    (true, _) => Part::ChunkSize,
                    (false, None | Some(0)) => Part::Start,
                    (false, Some(length)) => Part::Sized(length, After::Body),
                }
            }
            Part::Head => {
                self.fields.take(line)?;
                Part::Head
            }
            Part::ChunkSize => match chunk_size(line)? {
                0 => Part::Trailers,
                size => Part::Sized(size, After::Chunk),
            },
            Part::ChunkEnd if line.is_empty() => Part::ChunkSize,
            Part::ChunkEnd => return Err("a chunk before it was longer than it said"),
            Part::Trailers => Part::Trailers,
            Part::Sized(..) => unreachable!("a body is not read by lines"),
        };
        Ok(())
    }
}

impl Fields {
    fn take(&mut self, line: &[u8]) -> Result<(), &'static str> {
        self.count += 1;
        let colon = line.iter().position(|b| *b == b':').unwrap_or(line.len());
        let (name, value) = (&line[..colon], line[colon..].get(1..).unwrap_or_default().trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            if self.length.is_some() {
                return Err("it has more than one Content-Length");
            }
            let length = number(value, 10).filter(|length| *length <= LENGTH_MAX);
            self.length = Some(length.ok_or("its Content-Length is no length")?);
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                return Err("its Transfer-Encoding is not just \"chunked\"");
            }
            self.chunked = true;
        }
        if self.chunked && self.length.is_some() {
            return Err("it has both Content-Length and Transfer-Encoding");
        }
        Ok(())
    }
}

/// Of `<hex>[;extension]`.
fn chunk_size(line: &[u8]) -> Result<u64, &'static str> {
    let digits = line.split(|b| *b == b';').next().unwrap_or_default().trim_ascii_end();
    number(digits, 16).ok_or("a chunk before it has no size")
}

/// Digits and nothing else: the standard parsers take a sign.
fn number(digits: &[u8], radix: u32) -> Option<u64> {
    let text = std::str::from_utf8(digits).ok()?;
    if text.bytes().all(|b| char::from(b).is_digit(radix)) {
        u64::from_str_radix(text, radix).ok()
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scanned(bytes: &[u8]) -> (u64, Option<&'static str>) {
        let mut scanner = Scanner::default();
        scanner.see(bytes);
        (scanner.passed, scanner.doubt)
    }

    const GOOD: &str = "\r\nGET /a HTTP/1.1\r\nHost: x\r\n\r\n\
        POST /b HTTP/1.1\r\nHost: x\r\ncontent-length:  7\r\n\r\na\nb\nc\nd\
        POST /c HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\n3;x=y\r\n\n\n\n\r\n0a \r\n0123456789\r\n0\r\nT: t\r\n\r\n\
        POST /d HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n\
        GET /e HTTP/1.1\r\nHost: x\r\n\r\n";

    #[test]
    fn requests_with_bodies_of_every_kind_pass() {
        assert_eq!(scanned(GOOD.as_bytes()), (5, None));
    }

    #[test]
    fn what_two_readers_may_read_in_two_ways_is_doubted() {
        let post = |fields: &str| format!("GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\n{fields}");
        for (fields, why) in [
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "both"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", "both"),
            ("Content-Length: 5\r\nContent-Length: 5\r\n\r\n", "more than one Content-Length"),
            ("Content-Length: +5\r\n\r\n", "no length"),
            ("Content-Length: 5, 5\r\n\r\n", "no length"),
            ("Content-Length:\r\n\r\n", "no length"),
            ("Content-Length: 99999999999999999999\r\n\r\n", "no length"),
            ("Content-Length: 9223372036854775808\r\n\r\n", "no length"),
            ("Transfer-Encoding: gzip, chunked\r\n\r\n", "not just"),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", "not just"),
            ("Host: x\n\n", "LF alone"),
            ("Host: x\r\n\n", "LF alone"),
        ] {
            let (passed, doubt) = scanned(post(fields).as_bytes());
            assert_eq!(passed, 1, "{fields:?}");
            assert!(doubt.is_some_and(|doubt| doubt.contains(why)), "{fields:?}: {doubt:?}");
        }
        for (chunks, why) in [
            ("5;\nhello\r\n", "LF alone"),
            ("+5\r\n", "no size"),
            ("\r\n", "no size"),
            ("1\r\nab\r\n", "longer"),
        ] {
            let text = format!("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}");
            let (passed, doubt) = scanned(text.as_bytes());
            assert_eq!(passed, 1, "{chunks:?}");
            assert!(doubt.is_some_and(|doubt| doubt.contains(why)), "{chunks:?}: {doubt:?}");
        }
    }

    #[test]
    fn a_long_line_that_comes_in_pieces_is_read_to_its_end() {
        let long = "x".repeat(LINE_KEPT);
        let text = format!("GET /{long} HTTP/1.1\r\nX-Long: {long}\r\n\r\nGET / HTTP/1.1\nHost: x\n\n");
        let mut scanner = Scanner::default();
        for byte in text.as_bytes() {
            scanner.see(&[*byte]);
            assert!(scanner.line.len() <= LINE_KEPT);
        }
        assert_eq!((scanner.passed, scanner.doubt), (1, Some("a line ends with LF alone")));
    }

    proptest! {
        #[test]
        fn where_the_bytes_are_cut_makes_no_difference(
            text in prop_oneof![
                Just(GOOD.to_owned()),
                "(POST / HTTP/1.1|content-length: [0-9]{1,2}|transfer-encoding: chunked|[0-3]|[a-z:]{0,300}|\r\n|\n|\r){0,20}",
            ],
            cuts in proptest::collection::vec(1_usize..40, 1..60),
        ) {
            let mut scanner = Scanner::default();
            let (mut rest, mut cuts) = (text.as_bytes(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, tail) = rest.split_at((*cuts.next().expect("a cycle")).min(rest.len()));
                scanner.see(piece);
                rest = tail;
            }
            prop_assert_eq!((scanner.passed, scanner.doubt), scanned(text.as_bytes()));
        }
    }
}
