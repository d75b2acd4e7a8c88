use bytes::Bytes;
use serde::Deserialize;
use tidings_core::{Cursor, Epoch, Seq, Timestamp};

use crate::{Envelope, Problem};

/// One message of the wire protocol, whatever the transport.
#[derive(Debug, PartialEq)]
pub(super) enum Message {
    Event(Box<Envelope>),
    Open {
        connection_id: String,
        epoch: Epoch,
        head: Seq,
        oldest: Seq,
        heartbeat_s: u64,
    },
    Heartbeat {
        cursor: Cursor,
        head: Seq,
    },
    Stale {
        as_of: Option<Timestamp>,
    },
    Lagged {
        resume_from: Cursor,
    },
    Reset {
        reason: String,
        epoch: Epoch,
        oldest: Seq,
    },
    Closing(Closing),
    Error(Problem),
    /// An answer, or one of a newer release.
    Other,
}

/// Comes before every close by the server.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Closing {
    pub(super) code: u16,
    #[serde(default)]
    pub(super) reason: String,
    pub(super) reconnect_after_ms: Option<u64>,
}

/// Every field of every control message: few and small, so that one pass reads them all.
#[derive(Deserialize)]
struct Control {
    #[serde(rename = "type")]
    kind: String,
    seq: Option<Seq>,
    #[serde(default)]
    connection_id: String,
    epoch: Option<String>,
    head: Option<Seq>,
    oldest: Option<Seq>,
    heartbeat_s: Option<f64>,
    cursor: Option<Cursor>,
    resume_from: Option<Cursor>,
    as_of: Option<Timestamp>,
    code: Option<u16>,
    #[serde(default)]
    reason: String,
    reconnect_after_ms: Option<u64>,
    problem: Option<Problem>,
}

#[derive(Debug, thiserror::Error)]
#[error("a message that does not read: {0}")]
pub(super) struct MessageError(String);

impl Message {
    pub(super) fn parse(text: Bytes) -> Result<Self, MessageError> {
        // Events begin with their seq: no second look at them.
        if text.starts_with(b"{\"seq\":") {
            return Self::event(text);
        }
        let control: Control = serde_json::from_slice(&text).map_err(|e| MessageError(e.to_string()))?;
        if control.seq.is_some() {
            return Self::event(text);
        }
        control.into_message()
    }

    fn event(text: Bytes) -> Result<Self, MessageError> {
        Envelope::parse(text).map(|e| Self::Event(Box::new(e))).map_err(|e| MessageError(e.to_string()))
    }
}

impl Control {
    fn into_message(self) -> Result<Message, MessageError> {
        let kind = self.kind;
        let missing = |field: &str| MessageError(format!("{kind} without {field}"));
        let epoch =
            self.epoch.as_deref().map(Epoch::parse).transpose().map_err(|e| MessageError(e.to_string()))?;
        Ok(match kind.as_str() {
            "stream.open" => Message::Open {
                connection_id: self.connection_id,
                epoch: epoch.ok_or_else(|| missing("epoch"))?,
                head: self.head.ok_or_else(|| missing("head"))?,
                oldest: self.oldest.ok_or_else(|| missing("oldest"))?,
                heartbeat_s: self.heartbeat_s.unwrap_or(15.0).clamp(0.0, 3_600.0).ceil() as u64,
            },
            "stream.heartbeat" => Message::Heartbeat {
                cursor: self.cursor.ok_or_else(|| missing("cursor"))?,
                head: self.head.unwrap_or_default(),
            },
            "stream.stale" => Message::Stale { as_of: self.as_of },
            "stream.lagged" => {
                Message::Lagged { resume_from: self.resume_from.ok_or_else(|| missing("resume_from"))? }
            }
            "stream.reset" => Message::Reset {
                reason: self.reason,
                epoch: epoch.ok_or_else(|| missing("epoch"))?,
                oldest: self.oldest.ok_or_else(|| missing("oldest"))?,
            },
            "stream.closing" => Message::Closing(Closing {
                code: self.code.ok_or_else(|| missing("code"))?,
                reason: self.reason,
                reconnect_after_ms: self.reconnect_after_ms,
            }),
            "stream.error" => Message::Error(self.problem.ok_or_else(|| missing("problem"))?),
            _ => Message::Other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Result<Message, MessageError> {
        Message::parse(Bytes::from_static(text.as_bytes()))
    }

    #[test]
    fn control_messages_read() {
        let heartbeat = parse(r#"{"type":"stream.heartbeat","cursor":"abc:7","head":9}"#).expect("reads");
        assert_eq!(
            heartbeat,
            Message::Heartbeat { cursor: "abc:7".parse().expect("valid"), head: Seq::new(9) }
        );
        assert!(matches!(
            parse(r#"{"type":"stream.closing","code":1012,"reason":"restart","reconnect_after_ms":250}"#),
            Ok(Message::Closing(Closing { code: 1012, reconnect_after_ms: Some(250), .. }))
        ));
        assert_eq!(parse(r#"{"type":"stream.novelty","x":[1]}"#).expect("reads"), Message::Other);
    }

    #[test]
    fn what_lacks_its_point_is_refused() {
        for text in [
            r#"{"type":"stream.heartbeat","head":9}"#,
            r#"{"type":"stream.open"}"#,
            "{}",
            "[]",
            "{\"seq\":1}",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
