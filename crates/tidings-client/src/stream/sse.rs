use std::{collections::VecDeque, time::Duration};

use bytes::Bytes;
use http::header::ACCEPT;
use tidings_core::Cursor;

use super::{
    Selection,
    dial::{Ended, Incoming},
};
use crate::{Client, ClientError, Token, request::refusal};

/// A record beyond this is no server's of ours.
const RECORD_BYTES_MAX: usize = 16 << 20;

pub(super) struct Records {
    response: reqwest::Response,
    parser: Parser,
    ready: VecDeque<Incoming>,
}

/// Opens an SSE stream that goes on after `from`.
pub(super) async fn open(
    client: &Client,
    selection: &Selection,
    from: Option<Cursor>,
    token: &Token,
) -> Result<Records, ClientError> {
    let url = client.url("api/v1/events")?;
    let pairs: Vec<_> = selection.pairs().collect();
    let mut request = client
        .shared
        .http
        .get(url.clone())
        .headers(client.headers(token)?)
        .header(ACCEPT, "text/event-stream")
        .query(&pairs);
    if let Some(cursor) = from {
        request = request.header("last-event-id", cursor.to_string());
    }
    let response = request
        .send()
        .await
        .map_err(|source| ClientError::Unreachable { url: url.to_string(), source: source.without_url() })?;
    if !response.status().is_success() {
        return Err(refusal(response).await);
    }
    Ok(Records { response, parser: Parser::default(), ready: VecDeque::new() })
}

impl Records {
    pub(super) async fn next(&mut self) -> Result<Incoming, Ended> {
        loop {
            if let Some(incoming) = self.ready.pop_front() {
                return Ok(incoming);
            }
            let cut = |reason: String| Ended { code: None, reason };
            match self.response.chunk().await {
                Ok(Some(chunk)) => self.parser.feed(&chunk, &mut self.ready).map_err(cut)?,
                Ok(None) => return Err(cut("the server ended the stream".into())),
                Err(error) => return Err(cut(error.without_url().to_string())),
            }
        }
    }
}

/// Cuts a byte stream into the `data` of its records (WHATWG HTML, "event stream interpretation"):
/// any split of the same bytes gives the same records. The id and the event name are not needed: a
/// cursor is made of the epoch and the seq in the data itself.
#[derive(Debug, Default)]
struct Parser {
    line: Vec<u8>,
    data: Vec<u8>,
    has_data: bool,
    /// The last byte was a CR: an LF right after it belongs to it.
    after_cr: bool,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8], out: &mut VecDeque<Incoming>) -> Result<(), String> {
        let mut rest = bytes;
        if self.after_cr && rest.first() == Some(&b'\n') {
            rest = &rest[1..];
        }
        self.after_cr = self.after_cr && bytes.is_empty();
        while let Some(end) = rest.iter().position(|b| matches!(b, b'\n' | b'\r')) {
            self.line.extend_from_slice(&rest[..end]);
            self.end_of_line(out);
            let cr_lf = rest[end] == b'\r' && rest.get(end + 1) == Some(&b'\n');
            self.after_cr = rest[end] == b'\r' && end + 1 == rest.len();
            rest = &rest[end + 1 + usize::from(cr_lf)..];
        }
        self.line.extend_from_slice(rest);
        if self.line.len() + self.data.len() > RECORD_BYTES_MAX {
            return Err("a record is larger than any that this server makes".into());
        }
        Ok(())
    }

    fn end_of_line(&mut self, out: &mut VecDeque<Incoming>) {
        let line = std::mem::take(&mut self.line);
        if line.is_empty() {
            if std::mem::take(&mut self.has_data) {
                out.push_back(Incoming::Message(Bytes::from(std::mem::take(&mut self.data))));
            }
            return;
        }
        let (field, value) = match line.iter().position(|b| *b == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (&line[..], &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => {
                if self.has_data {
                    self.data.push(b'\n');
                }
                self.has_data = true;
                self.data.extend_from_slice(value);
            }
            b"retry" => out.extend(retry(value).map(Incoming::Retry)),
            // A comment.
            b"" => out.push_back(Incoming::Alive),
            _ => {}
        }
    }
}

fn retry(value: &[u8]) -> Option<Duration> {
    let millis: u64 = std::str::from_utf8(value).ok()?.parse().ok()?;
    Some(Duration::from_millis(millis.min(3_600_000)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records(pieces: &[&[u8]]) -> Vec<String> {
        let (mut parser, mut out) = (Parser::default(), VecDeque::new());
        for piece in pieces {
            parser.feed(piece, &mut out).expect("small");
        }
        let text = |incoming| match incoming {
            Incoming::Message(bytes) => String::from_utf8(bytes.into()).expect("text"),
            Incoming::Retry(wait) => format!("retry {}", wait.as_millis()),
            Incoming::Alive => "alive".into(),
        };
        out.into_iter().map(text).collect()
    }

    #[test]
    fn every_split_gives_the_same_records() {
        let stream = b":hi\nretry: 2500\r\nid: a:1\revent: x\r\ndata: one\r\n\r\ndata:two\ndata: three\n\ndata\n\nid: a:2\n\ndata: cut";
        let whole = records(&[stream]);
        assert_eq!(whole, ["alive", "retry 2500", "one", "two\nthree", ""]);
        for a in 0..stream.len() {
            for b in a..stream.len() {
                assert_eq!(
                    records(&[&stream[..a], &stream[a..b], &stream[b..]]),
                    whole,
                    "split at {a} and {b}"
                );
            }
        }
    }
}
