use super::Violation;

/// One whole message or control frame of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(CloseFrame),
}

/// The client's close: its code where it gave one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CloseFrame {
    pub(crate) code: Option<u16>,
}

impl CloseFrame {
    /// Reads a close frame's payload; the reason must be UTF-8 and is of no further use.
    pub(crate) fn parse(payload: &[u8]) -> Result<Self, Violation> {
        let Some((code, reason)) = payload.split_first_chunk::<2>() else {
            return if payload.is_empty() { Ok(Self { code: None }) } else { Err(Violation::CloseCode) };
        };
        let code = u16::from_be_bytes(*code);
        // 1004 to 1006 and 1015 never go over the wire; the rest up to 2999 is not assigned.
        if !matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999) {
            return Err(Violation::CloseCode);
        }
        std::str::from_utf8(reason).map_err(|_| Violation::Utf8)?;
        Ok(Self { code: Some(code) })
    }
}
