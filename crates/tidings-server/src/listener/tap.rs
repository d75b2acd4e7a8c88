use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Sleep,
};

use super::{answering::Answering, framing::Framing, handoff::Handoff, unfit};

/// The socket as hyper sees it: tells what has been written, shows what is read to the scanner, keeps back
/// what hyper answers by itself, and ends the connection of a client that takes nothing of an answer for too long.
#[derive(Debug)]
pub(super) struct Tap {
    pub(super) stream: TcpStream,
    handoff: Arc<Handoff>,
    answering: Arc<Answering>,
    framing: Arc<Framing>,
    /// How long the socket may take nothing. Hyper has no such limit: an answer that nobody reads would keep its place.
    stall: Duration,
    /// There while the socket takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl Tap {
    pub(super) fn new(
        stream: TcpStream,
        handoff: &Arc<Handoff>,
        answering: &Arc<Answering>,
        framing: &Arc<Framing>,
        stall: Duration,
    ) -> Self {
        let (handoff, answering, framing) = (handoff.clone(), answering.clone(), framing.clone());
        Self { stream, handoff, answering, framing, stall, stalled: None }
    }

    fn seen(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_pending() {
            let stall = self.stall;
            let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(stall)));
            return stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()));
        }
        self.stalled = None;
        if matches!(written, Poll::Ready(Ok(n)) if n > 0) {
            self.handoff.wrote();
        }
        written
    }

    /// Whether these are the bytes of an answer that hyper gives by itself to what it could not read: no request
    /// is being answered, and nothing else is written then.
    fn is_hypers_own(&self, bytes: &[u8]) -> bool {
        self.answering.is_over()
            && unfit::status_of(bytes).is_some_and(|status| self.answering.kept_back(status))
    }
}

impl AsyncRead for Tap {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        if let Some(new) = buf.filled().get(before..).filter(|new| !new.is_empty()) {
            self.framing.see(new);
        }
        read
    }
}

impl AsyncWrite for Tap {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_hypers_own(buf) {
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.seen(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if bufs.first().is_some_and(|head| self.is_hypers_own(head)) {
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.seen(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.handoff.flushed();
            self.answering.flushed();
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
