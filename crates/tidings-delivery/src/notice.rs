//! The control messages of a stream and their bytes on each transport.

use std::io::Write as _;

use serde::Serialize;
use tidings_core::{Cursor, Epoch, Filter, Seq, Timestamp};
use tidings_live::Transport;

use crate::{
    ConnectionId,
    codec::{Opcode, frame},
    problem::Problem,
};

#[derive(Debug, Serialize)]
#[serde(tag = "type")]
pub(crate) enum Notice<'a> {
    #[serde(rename = "stream.open")]
    Open {
        connection_id: ConnectionId,
        epoch: &'a Epoch,
        head: Seq,
        oldest: Seq,
        heartbeat_s: serde_json::Number,
    },
    #[serde(rename = "stream.heartbeat")]
    Heartbeat { cursor: &'a Cursor, head: Seq },
    #[serde(rename = "stream.stale")]
    Stale { as_of: Timestamp },
    #[serde(rename = "stream.reset")]
    Reset { reason: &'a str, epoch: &'a Epoch, oldest: Seq },
    #[serde(rename = "stream.lagged")]
    Lagged { resume_from: &'a Cursor },
    #[serde(rename = "stream.closing")]
    Closing {
        code: u16,
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        reconnect_after_ms: Option<u64>,
    },
    #[serde(rename = "stream.filter")]
    Filter { filter: &'a Filter, cursor: &'a Cursor },
    #[serde(rename = "stream.auth")]
    Auth {
        #[serde(skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    #[serde(rename = "stream.pong")]
    Pong,
    #[serde(rename = "stream.error")]
    Error { problem: &'a Problem },
}

/// What an SSE record has beside its event and data.
#[derive(Debug, Default)]
pub(crate) struct Fields<'a> {
    /// The cursor that the browser comes back with.
    pub(crate) id: Option<&'a Cursor>,
    /// How long it waits before it does.
    pub(crate) retry_ms: Option<u64>,
}

impl Notice<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::Open { .. } => "stream.open",
            Self::Heartbeat { .. } => "stream.heartbeat",
            Self::Stale { .. } => "stream.stale",
            Self::Reset { .. } => "stream.reset",
            Self::Lagged { .. } => "stream.lagged",
            Self::Closing { .. } => "stream.closing",
            Self::Filter { .. } => "stream.filter",
            Self::Auth { .. } => "stream.auth",
            Self::Pong => "stream.pong",
            Self::Error { .. } => "stream.error",
        }
    }

    /// Appends the whole frame or record.
    pub(crate) fn write(&self, transport: Transport, fields: &Fields<'_>, out: &mut Vec<u8>) {
        let json = serde_json::to_vec(self).expect("a notice has string keys and plain values");
        match transport {
            Transport::WebSocket => frame(Opcode::Text, &json, out),
            Transport::Sse => record(self.name(), &json, fields, out),
            Transport::ChunkedSse => {
                let mut bytes = Vec::with_capacity(json.len() + 128);
                record(self.name(), &json, fields, &mut bytes);
                write!(out, "{:x}\r\n", bytes.len()).expect("a Vec takes every write");
                out.extend_from_slice(&bytes);
                out.extend_from_slice(b"\r\n");
            }
        }
    }
}

fn record(name: &str, json: &[u8], fields: &Fields<'_>, out: &mut Vec<u8>) {
    let written = (|| {
        if let Some(retry_ms) = fields.retry_ms {
            writeln!(out, "retry: {retry_ms}")?;
        }
        if let Some(id) = fields.id {
            writeln!(out, "id: {id}")?;
        }
        write!(out, "event: {name}\ndata: ")?;
        out.write_all(json)?;
        out.write_all(b"\n\n")
    })();
    written.expect("a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(notice: &Notice<'_>, transport: Transport, fields: &Fields<'_>) -> String {
        let mut out = Vec::new();
        notice.write(transport, fields, &mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_notice_is_a_text_frame_a_record_or_a_chunk() {
        let cursor: Cursor = "ab:7".parse().expect("valid");
        let beat = Notice::Heartbeat { cursor: &cursor, head: Seq::new(9) };
        let json = r#"{"type":"stream.heartbeat","cursor":"ab:7","head":9}"#;
        assert_eq!(
            text(&beat, Transport::WebSocket, &Fields::default()),
            format!("\u{FFFD}{}{json}", json.len() as u8 as char)
        );
        let fields = Fields { id: Some(&cursor), retry_ms: Some(10) };
        let record = format!("retry: 10\nid: ab:7\nevent: stream.heartbeat\ndata: {json}\n\n");
        assert_eq!(text(&beat, Transport::Sse, &fields), record);
        assert_eq!(
            text(&beat, Transport::ChunkedSse, &fields),
            format!("{:x}\r\n{record}\r\n", record.len())
        );
    }

    #[test]
    fn what_is_absent_is_left_out() {
        let closing = Notice::Closing { code: 4401, reason: "expired", reconnect_after_ms: None };
        let json = serde_json::to_string(&closing).expect("serialises");
        assert_eq!(json, r#"{"type":"stream.closing","code":4401,"reason":"expired"}"#);
    }
}
