use std::{
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::claim::Undelivered;

/// A body with leases in it. Taken by the connection, they are the worker's; dropped before, because
/// the client has gone or the server stops, they go back.
#[derive(Debug)]
pub(crate) struct Handover {
    text: Bytes,
    leases: Option<Undelivered>,
}

impl Handover {
    pub(crate) fn new(text: Vec<u8>, leases: Undelivered) -> Self {
        Self { text: text.into(), leases: Some(leases) }
    }
}

impl Body for Handover {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.leases.take().map(|leases| {
            leases.delivered();
            Ok(Frame::data(std::mem::take(&mut self.text)))
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.leases.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.text.len() as u64)
    }
}
