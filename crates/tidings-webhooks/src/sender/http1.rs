//! HTTP/1.1, without a task: whoever exchanges a message drives the connection.

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::{Pin, pin},
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Method, header::HOST};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Incoming,
    client::conn::http1::{Builder, Connection, SendRequest},
};
use hyper_util::rt::TokioIo;
use tidings_guard::Stream;
use tokio::time::{Instant, timeout_at};

use super::{Request, answer::Answer, failed::Failed, permit::Permit};

/// Bytes of an answer's head, and of what is read ahead.
const READ_MAX: usize = 16 * 1024;

pub(super) struct Http1 {
    requests: SendRequest<Full<Bytes>>,
    driver: Driver,
    peer: SocketAddr,
    born: Instant,
    _permit: Permit,
}

struct Driver {
    connection: Connection<TokioIo<Stream>, Full<Bytes>>,
    ended: bool,
}

impl Http1 {
    pub(super) async fn new(stream: Stream, permit: Permit) -> hyper::Result<Self> {
        let peer = stream.peer();
        let (requests, connection) =
            Builder::new().max_buf_size(READ_MAX).handshake(TokioIo::new(stream)).await?;
        let driver = Driver { connection, ended: false };
        Ok(Self { requests, driver, peer, born: Instant::now(), _permit: permit })
    }

    pub(super) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(super) const fn born(&self) -> Instant {
        self.born
    }

    /// Whether the next request can go, as far as is known here: looks whether the peer has closed.
    pub(super) async fn is_ready(&mut self) -> bool {
        poll_fn(|cx| Poll::Ready(!self.driver.poll(cx) && self.requests.is_ready())).await
    }

    /// Sends the request and reads the answer: its head until `head`, its body until `whole`. The connection comes back where
    /// it can be used again.
    pub(super) async fn exchange(
        mut self: Box<Self>,
        request: &Request<'_>,
        head: Instant,
        whole: Instant,
    ) -> (Result<Answer, Failed>, Option<Box<Self>>) {
        let answering = self.requests.send_request(message(request));
        let answered = match timeout_at(head, self.driver.drive(answering)).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(error)) => return (Err(Failed::http1(&error)), None),
            Err(_) => return (Err(Failed::TIMEOUT), None),
        };
        let (parts, body) = answered.into_parts();
        let mut answer = Answer::new(parts.status, &parts.headers);
        let ended = timeout_at(whole, self.driver.read(body, &mut answer)).await.unwrap_or(false);
        let kept = if ended && self.is_ready().await { Some(self) } else { None };
        (Ok(answer), kept)
    }
}

impl Driver {
    /// Whether the connection has ended.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        self.ended = self.ended || Pin::new(&mut self.connection).poll(cx).is_ready();
        self.ended
    }

    async fn drive<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = pin!(future);
        poll_fn(|cx| {
            self.poll(cx);
            future.as_mut().poll(cx)
        })
        .await
    }

    /// Whether the body has ended. One that is longer than anybody wants is left where it is, and the connection with it.
    async fn read(&mut self, mut body: Incoming, answer: &mut Answer) -> bool {
        while !body.is_end_stream() {
            if answer.is_full() {
                return false;
            }
            match self.drive(body.frame()).await {
                Some(Ok(frame)) => frame.data_ref().into_iter().for_each(|data| answer.push(data)),
                Some(Err(_)) => return false,
                None => return true,
            }
        }
        true
    }
}

fn message(request: &Request<'_>) -> http::Request<Full<Bytes>> {
    let mut message = http::Request::new(Full::new(request.body.clone()));
    *message.method_mut() = Method::POST;
    *message.uri_mut() = request.destination.path().clone();
    let mut headers = request.headers.clone();
    headers.insert(HOST, request.destination.authority().clone());
    *message.headers_mut() = headers;
    message
}
