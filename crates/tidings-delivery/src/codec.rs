//! The WebSocket framing of RFC 6455, server side, without I/O: bytes in, messages out.

mod decoder;
mod encode;
mod message;
mod violation;

pub(crate) use decoder::Decoder;
pub(crate) use encode::{Opcode, close_frame, frame};
pub(crate) use message::{CloseFrame, Message};
pub use violation::Violation;
