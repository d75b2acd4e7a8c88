use http::{HeaderMap, header::RETRY_AFTER};
use tidings_core::webhook::Attempt;

use super::RetryAfter;

/// An answer, as far as anybody wants it.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) retry_after: Option<RetryAfter>,
    pub(super) start: Vec<u8>,
    /// Of the body, as far as it was read.
    pub(super) bytes: u32,
}

impl Answer {
    pub(super) fn new(status: http::StatusCode, headers: &HeaderMap) -> Self {
        let retry_after = headers.get(RETRY_AFTER).and_then(|value| RetryAfter::parse(value.to_str().ok()?));
        Self { status: status.as_u16(), retry_after, start: Vec::new(), bytes: 0 }
    }

    /// Takes what there is room for.
    pub(super) fn push(&mut self, data: &[u8]) {
        let room = Attempt::ANSWER_MAX - self.start.len();
        self.start.extend_from_slice(&data[..data.len().min(room)]);
        self.bytes = self.bytes.saturating_add(u32::try_from(data.len()).unwrap_or(u32::MAX));
    }

    pub(super) const fn is_full(&self) -> bool {
        self.start.len() >= Attempt::ANSWER_MAX
    }
}
