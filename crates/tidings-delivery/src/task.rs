//! The generic path: one connection driven by one task over any stream, where there is no socket to
//! give to a shard.

use std::{
    future::{Future as _, poll_fn},
    io,
    pin::Pin,
    sync::Arc,
    task::{Context as TaskContext, Poll},
    time::{Duration, Instant},
};

use futures_util::task::AtomicWaker;
use tidings_live::{Batcher, Watch};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use crate::{
    CloseReason, Ending, NewConnection, Protocol,
    context::Context,
    drain::comeback_within,
    mailbox::{Flag, Inbox, Mailbox, Order, Wake},
    session::{Session, Step},
    shard::Tallies,
};

/// Bytes that one poll writes at most before others get a turn.
const WRITE_BUDGET: usize = 256 << 10;
const READ_BUFFER: usize = 4 << 10;

pub(crate) struct Task<IO> {
    io: IO,
    context: Arc<Context>,
    session: Session,
    mailbox: Arc<Mailbox>,
    inbox: Inbox,
    flag: Option<(Arc<Flag>, Watch)>,
    batcher: Batcher,
    buffer: Box<[u8]>,
    tallies: Tallies,
    sleep: Pin<Box<Sleep>>,
    /// The writing half is being shut down.
    shutting: bool,
}

/// A mailbox for one connection's task.
pub(crate) fn mailbox() -> Arc<Mailbox> {
    Mailbox::new(Wake::Task(AtomicWaker::new()))
}

impl<IO: AsyncRead + AsyncWrite + Unpin> Task<IO> {
    pub(crate) fn new(context: Arc<Context>, mailbox: Arc<Mailbox>, io: IO, mut new: NewConnection) -> Self {
        let now = Instant::now();
        let received = std::mem::take(&mut new.received);
        let flag = match &new.protocol {
            // Watched first, looked at afterwards: nothing is missed.
            Protocol::WebSocket(s) | Protocol::Sse(s) | Protocol::ChunkedSse(s) => {
                let flag = Flag::new(mailbox.clone(), 0);
                let watch = s.feed.watch(flag.clone());
                Some((flag, watch))
            }
            Protocol::Echo => None,
        };
        let mut session = Session::new(context.clone(), new, now);
        session.receive(&received, now);
        if context.is_draining() {
            session
                .close(&CloseReason::restart(comeback_within(Duration::default(), &*context.entropy)), now);
        }
        Self {
            io,
            context,
            session,
            mailbox,
            inbox: Inbox::default(),
            flag,
            batcher: Batcher::new(),
            buffer: vec![0; READ_BUFFER].into(),
            tallies: Tallies::default(),
            sleep: Box::pin(tokio::time::sleep_until(now.into())),
            shutting: false,
        }
    }

    /// Until the connection is gone. Dropping the future cuts it.
    pub(crate) async fn run(mut self) {
        let ending = poll_fn(|cx| self.poll(cx)).await;
        self.session.gone(ending, Instant::now());
    }

    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Ending> {
        if let Some(waker) = self.mailbox.task_waker() {
            waker.register(cx.waker());
        }
        let turn = loop {
            let now = Instant::now();
            self.obey(now);
            // Time comes last: a heartbeat must not carry the cursor of a reset that is not told yet.
            let done =
                self.read(cx, now).and_then(|()| self.write(cx, now)).and_then(|()| self.on_time(cx, now));
            if let Err(ending) = done {
                break Poll::Ready(ending);
            }
            self.context.refresh(&mut self.session, &self.mailbox, 0);
            if self.fall_asleep(cx) && self.mailbox.rest() {
                break Poll::Pending;
            }
        };
        self.batcher.clear();
        self.tallies.tell(&self.context);
        turn
    }

    fn obey(&mut self, now: Instant) {
        self.mailbox.take(&mut self.inbox);
        if !self.inbox.moved.is_empty() {
            self.inbox.moved.clear();
            if let Some((flag, _)) = &self.flag {
                flag.lower();
            }
            if self.session.is_blocked() {
                self.session.moved_while_blocked(now);
            }
        }
        for order in self.inbox.orders.drain(..) {
            match order {
                Order::Page(_, page) => self.session.supply(page),
                Order::Judged(_, verdict) => self.session.refreshed(verdict, now),
                Order::CloseWhere(which, why) => {
                    if which(self.session.info()) {
                        self.session.close(&why, now);
                    }
                }
                Order::Configure(config) => self.session.configure(config, now),
                Order::Drain(plan) => {
                    let (after, hint) = plan.departure(&*self.context.entropy);
                    self.session.close_later(now + after, CloseReason::restart(hint));
                }
                // Shards alone are attached to; a task that is to end loses its socket first.
                Order::Attach(_) => {}
                Order::Cut | Order::Stop => self.session.cut(now),
            }
        }
    }

    fn read(&mut self, cx: &mut TaskContext<'_>, now: Instant) -> Result<(), Ending> {
        while self.session.wants_input() {
            let mut buffer = ReadBuf::new(&mut self.buffer);
            match Pin::new(&mut self.io).poll_read(cx, &mut buffer) {
                Poll::Pending => break,
                Poll::Ready(Ok(())) if buffer.filled().is_empty() => return Err(self.session.ending()),
                Poll::Ready(Ok(())) => {
                    let messages = self.session.receive(buffer.filled(), now);
                    self.tallies.received(self.session.info().kind, messages);
                }
                Poll::Ready(Err(_)) => return Err(self.session.ending_by_error()),
            }
        }
        Ok(())
    }

    fn write(&mut self, cx: &mut TaskContext<'_>, now: Instant) -> Result<(), Ending> {
        let mut budget = WRITE_BUDGET;
        loop {
            if self.shutting {
                match Pin::new(&mut self.io).poll_shutdown(cx) {
                    Poll::Ready(_) => self.shutting = false,
                    Poll::Pending => return Ok(()),
                }
            }
            match self.session.step(&mut self.batcher, now) {
                Step::Write => {}
                Step::Read(request) => {
                    self.context.read(request, self.mailbox.clone(), 0);
                    continue;
                }
                Step::Shut => {
                    self.shutting = true;
                    continue;
                }
                Step::Wait => break,
            }
            let slices = self.session.outbox().slices();
            let len: usize = slices.iter().map(|s| s.len()).sum();
            let (n, blocked) = match Pin::new(&mut self.io).poll_write_vectored(cx, &slices) {
                Poll::Ready(Ok(0) | Err(_)) => return Err(self.session.ending_by_error()),
                Poll::Ready(Ok(n)) => (n, false),
                Poll::Pending => (0, true),
            };
            let kind = self.session.info().kind;
            self.session.wrote(n, blocked, now, self.tallies.written(kind));
            debug_assert!(n <= len, "a stream takes no more than it is offered");
            if blocked {
                break;
            }
            if n >= budget {
                cx.waker().wake_by_ref();
                break;
            }
            budget -= n;
        }
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(Err(_)) => Err(self.session.ending_by_error()),
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn on_time(&mut self, cx: &mut TaskContext<'_>, now: Instant) -> Result<(), Ending> {
        if self.session.next_time().is_none_or(|at| at > now) {
            return Ok(());
        }
        self.session.on_time(now).map_or(Ok(()), Err)?;
        self.write(cx, now)
    }

    /// Sets the alarm; `false` where it is time already.
    fn fall_asleep(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let Some(at) = self.session.next_time() else { return true };
        if self.sleep.deadline() != at.into() {
            self.sleep.as_mut().reset(at.into());
        }
        self.sleep.as_mut().poll(cx).is_pending()
    }
}

/// The bytes of a stream that somebody else writes to its client.
pub(crate) fn bytes_of(
    reader: impl AsyncRead + Unpin + Send + 'static,
) -> impl futures_util::Stream<Item = Result<bytes::Bytes, std::convert::Infallible>> + Send + 'static {
    use tokio::io::AsyncReadExt as _;
    futures_util::stream::unfold(reader, |mut reader| async move {
        let mut chunk = bytes::BytesMut::with_capacity(READ_BUFFER);
        let read: io::Result<usize> = reader.read_buf(&mut chunk).await;
        match read {
            Ok(n) if n > 0 => Some((Ok(chunk.freeze()), reader)),
            _ => None,
        }
    })
}
