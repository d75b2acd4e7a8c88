use crate::CloseCode;

/// How a client broke the WebSocket protocol or its limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("a frame from a client must be masked")]
    Unmasked,
    #[error("reserved bits are set and no extension was agreed on")]
    ReservedBits,
    #[error("the opcode is reserved")]
    ReservedOpcode,
    #[error("a control frame is fragmented or longer than 125 bytes")]
    ControlFrame,
    #[error("a frame's length is not written in the fewest bytes")]
    Length,
    #[error("a continuation without a message to continue")]
    NothingToContinue,
    #[error("a new message before the last one was finished")]
    Interleaved,
    #[error("the close frame's code is not one that may be sent")]
    CloseCode,
    #[error("text that is not UTF-8")]
    Utf8,
    #[error("a message beyond the size limit")]
    TooBig,
    #[error("a message in too many fragments")]
    TooManyFragments,
}

impl Violation {
    /// What the connection is closed with.
    pub const fn code(self) -> CloseCode {
        match self {
            Self::Utf8 => CloseCode::InvalidData,
            Self::TooBig | Self::TooManyFragments => CloseCode::TooBig,
            _ => CloseCode::Protocol,
        }
    }
}
