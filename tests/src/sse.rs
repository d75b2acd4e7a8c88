//! A server-sent-events client.

use std::{io, time::Duration};

use crate::{
    Api, Reply,
    http::{read_chunk, read_head},
    wait::LONG,
    wire::Wire,
    ws::ended,
};

/// One dispatched record, fields as they were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Record {
    pub id: Option<String>,
    pub event: Option<String>,
    /// Lines joined by newlines, as the standard says.
    pub data: Option<String>,
    pub retry: Option<u64>,
}

#[derive(Debug)]
pub struct SseClient {
    wire: Wire,
    pub head: Reply,
    chunked: bool,
    pending: Vec<u8>,
    over: bool,
}

impl SseClient {
    /// Opens the stream; an answer other than 200 is the error's content.
    pub fn connect(api: &Api, path: &str, headers: &[(&str, &str)]) -> io::Result<Result<Self, Reply>> {
        Self::over(Wire::connect(api.addr, LONG)?, api, path, headers)
    }

    pub fn over(
        mut wire: Wire,
        api: &Api,
        path: &str,
        headers: &[(&str, &str)],
    ) -> io::Result<Result<Self, Reply>> {
        let mut request = format!("GET {path} HTTP/1.1\r\n{}Accept: text/event-stream\r\n", api.headers());
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        wire.write(request.as_bytes())?;
        let mut head = read_head(&mut wire)?;
        if head.status != 200 {
            let length = head.header("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
            head.body = wire.take(length)?;
            return Ok(Err(head));
        }
        let media = head.header("content-type").unwrap_or_default();
        if !media.starts_with("text/event-stream") {
            return Err(io::Error::new(io::ErrorKind::InvalidData, format!("no event stream: {head:?}")));
        }
        let chunked = head.header("transfer-encoding") == Some("chunked");
        Ok(Ok(Self { wire, head, chunked, pending: Vec::new(), over: false }))
    }

    /// The next record; `None` when the stream has ended, however it did.
    pub fn next(&mut self, within: Duration) -> io::Result<Option<Record>> {
        self.wire.allow(within);
        loop {
            if let Some(end) = self.pending.windows(2).position(|w| w == b"\n\n") {
                let text = String::from_utf8(self.pending[..end].to_vec())
                    .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a record that is not UTF-8"))?;
                self.pending.drain(..end + 2);
                let record = parse(&text)?;
                if record == Record::default() {
                    continue;
                }
                return Ok(Some(record));
            }
            if self.over || !self.more()? {
                self.over = true;
                return Ok(None);
            }
        }
    }

    fn more(&mut self) -> io::Result<bool> {
        let part = if self.chunked {
            match read_chunk(&mut self.wire) {
                Ok(chunk) => chunk,
                Err(e) if ended(&e) => None,
                Err(e) => return Err(e),
            }
        } else {
            match self.wire.fill() {
                Ok(true) => Some(self.wire.take(self.wire.buffered().len())?),
                Ok(false) => None,
                Err(e) if ended(&e) => None,
                Err(e) => return Err(e),
            }
        };
        let more = part.is_some();
        self.pending.extend(part.unwrap_or_default());
        Ok(more)
    }

    pub const fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }
}

fn parse(text: &str) -> io::Result<Record> {
    let mut record = Record::default();
    for line in text.split('\n').filter(|l| !l.starts_with(':')) {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => record.id = Some(value.to_owned()),
            "event" => record.event = Some(value.to_owned()),
            "retry" => record.retry = value.parse().ok(),
            "data" => match &mut record.data {
                Some(data) => *data = format!("{data}\n{value}"),
                None => record.data = Some(value.to_owned()),
            },
            "" if value.is_empty() => {}
            other => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a field {other:?} in {text:?}"),
                ));
            }
        }
    }
    Ok(record)
}
