//! HTTP/2: one connection for many requests at a time, with a task that drives it.

use std::{
    future::poll_fn,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use h2::{
    RecvStream, SendStream,
    client::{Builder, SendRequest},
};
use http::Method;
use parking_lot::Mutex;
use tidings_core::webhook::AttemptFailure;
use tokio::{
    task::AbortHandle,
    time::{Instant, timeout_at},
};

use super::{Request, answer::Answer, failed::Failed, permit::Permit};

/// Requests at a time on one connection, where the peer does not permit fewer.
const STREAMS_MAX: usize = 100;
/// Bytes of an answer's headers.
const HEADERS_MAX: u32 = 16 * 1024;
/// Bytes of an answer's body that may come before somebody reads.
const WINDOW: u32 = 16 * 1024;

pub(super) struct Http2 {
    requests: SendRequest<Bytes>,
    streams: AtomicUsize,
    /// When the last stream ended.
    used: Mutex<Instant>,
    broken: AtomicBool,
    peer: SocketAddr,
    born: Instant,
    driver: AbortHandle,
    _permit: Permit,
}

/// A request's place on a connection.
pub(super) struct Stream(Arc<Http2>);

impl Http2 {
    pub(super) async fn new(stream: tidings_guard::Stream, permit: Permit) -> Result<Self, h2::Error> {
        let (peer, born) = (stream.peer(), Instant::now());
        let (requests, connection) = Builder::new()
            .enable_push(false)
            .initial_window_size(WINDOW)
            .max_header_list_size(HEADERS_MAX)
            .handshake(stream)
            .await?;
        // It ends with the connection, or with this value.
        let driver = tokio::spawn(async { drop(connection.await) }).abort_handle();
        let (streams, broken) = (AtomicUsize::new(0), AtomicBool::new(false));
        Ok(Self { requests, streams, used: Mutex::new(born), broken, peer, born, driver, _permit: permit })
    }

    pub(super) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) const fn born(&self) -> Instant {
        self.born
    }

    /// Whether new requests may go this way.
    pub(super) fn is_sound(&self) -> bool {
        !self.broken.load(Ordering::Relaxed) && !self.driver.is_finished()
    }

    /// `None` while it has requests.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        (self.streams.load(Ordering::Relaxed) == 0).then(|| *self.used.lock())
    }

    pub(super) fn stream(self: &Arc<Self>) -> Option<Stream> {
        let max = self.requests.current_max_send_streams().min(STREAMS_MAX);
        let room = |streams| (streams < max).then_some(streams + 1);
        self.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, room).ok()?;
        Some(Stream(Arc::clone(self)))
    }
}

impl Drop for Http2 {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        *self.0.used.lock() = Instant::now();
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Stream {
    /// Sends the request and reads the answer. After a failure nothing more goes this way: a connection that has fallen
    /// silent must not fail one request after the other.
    pub(super) async fn exchange(
        self,
        request: &Request<'_>,
        head: Instant,
        whole: Instant,
    ) -> Result<Answer, Failed> {
        let answered = timeout_at(head, self.ask(request)).await.unwrap_or(Err(Failed::TIMEOUT));
        let answered = answered.inspect_err(|failed| {
            let broken = failed.failure != AttemptFailure::Internal;
            self.0.broken.fetch_or(broken, Ordering::Relaxed);
        })?;
        let (parts, body) = answered.into_parts();
        let mut answer = Answer::new(parts.status, &parts.headers);
        // Whether the body ended or is left where it is: the stream goes, the connection stays.
        let _ = timeout_at(whole, read(body, &mut answer)).await;
        Ok(answer)
    }

    async fn ask(&self, request: &Request<'_>) -> Result<http::Response<RecvStream>, Failed> {
        let failed = |error: h2::Error| Failed::http2(&error);
        let mut requests = self.0.requests.clone().ready().await.map_err(failed)?;
        let message = message(request)?;
        let (mut answering, body) =
            requests.send_request(message, request.body.is_empty()).map_err(failed)?;
        tokio::select! {
            biased;
            answered = &mut answering => answered,
            // A receiver that has seen enough may say so before the end: its answer counts.
            _ = send(body, request.body.clone()) => answering.await,
        }
        .map_err(failed)
    }
}

async fn send(mut stream: SendStream<Bytes>, mut body: Bytes) -> Result<(), h2::Error> {
    while !body.is_empty() {
        stream.reserve_capacity(body.len());
        let Some(room) = poll_fn(|cx| stream.poll_capacity(cx)).await.transpose()? else { return Ok(()) };
        let part = body.split_to(room.min(body.len()));
        stream.send_data(part, body.is_empty())?;
    }
    Ok(())
}

async fn read(mut body: RecvStream, answer: &mut Answer) {
    while !answer.is_full()
        && let Some(Ok(data)) = body.data().await
    {
        answer.push(&data);
        let _ = body.flow_control().release_capacity(data.len());
    }
}

fn message(request: &Request<'_>) -> Result<http::Request<()>, Failed> {
    let message = http::Request::builder().method(Method::POST).uri(request.destination.whole().clone());
    let mut message = message.body(()).map_err(|_| Failed::new(AttemptFailure::Internal))?;
    *message.headers_mut() = request.headers.clone();
    message.headers_mut().insert(http::header::CONTENT_LENGTH, request.body.len().into());
    Ok(message)
}
