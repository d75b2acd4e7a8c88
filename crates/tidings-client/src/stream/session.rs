//! The task behind an [`EventStream`](super::EventStream).

use std::time::Duration;

use tidings_core::{Cursor, Epoch, Seq};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    Item, StreamError, StreamRequest, Yielded,
    control::{Closing, Message},
    dial::{Dial, Ended, Incoming, Wire},
    position::{Position, Verdict},
};
use crate::{Backoff, ClientError, Envelope, Token, error::chain};

/// How long a source of credentials may take before the old one is used on.
const RENEWAL_MAX: Duration = Duration::from_secs(30);

pub(super) struct Session<D> {
    dial: D,
    position: Position,
    backoff: Backoff,
    /// Tries in a row that brought neither an event nor a heartbeat.
    failures: u32,
    items: mpsc::Sender<Yielded>,
}

/// Why a connection is over.
enum Over {
    /// Another one may go on where it stopped.
    Cut { cause: String, wait_at_least: Option<Duration> },
    /// No other would do better.
    Ended(StreamError),
    /// Nobody listens any more.
    Dropped,
}

impl Over {
    fn cut(cause: impl Into<String>) -> Self {
        Self::Cut { cause: cause.into(), wait_at_least: None }
    }
}

impl From<ClientError> for Over {
    fn from(error: ClientError) -> Self {
        if error.is_temporary() || matches!(error, ClientError::Credential(_)) {
            Self::Cut { cause: chain(&error), wait_at_least: error.retry_after() }
        } else {
            Self::Ended(StreamError::Refused(error))
        }
    }
}

/// What one connection has told of itself.
struct Connection {
    token: Token,
    opened: Option<(Epoch, Seq)>,
    closing: Option<Closing>,
    /// SSE's `retry:`.
    retry: Option<Duration>,
    /// Longer silence than this means that the connection is dead.
    silence_max: Duration,
    renew_at: Option<Instant>,
}

impl<D: Dial> Session<D> {
    pub(super) fn new(dial: D, request: &StreamRequest, items: mpsc::Sender<Yielded>) -> Self {
        let position = Position::new(&request.start, request.selection.is_unfiltered());
        Self { dial, position, backoff: request.backoff, failures: 0, items }
    }

    pub(super) async fn run(mut self) {
        loop {
            let over = self.connection().await;
            let error = match over {
                Over::Dropped => return,
                Over::Ended(error) => error,
                Over::Cut { cause, wait_at_least } => match self.wait(cause, wait_at_least).await {
                    Ok(()) => continue,
                    Err(Over::Ended(error)) => error,
                    Err(_) => return,
                },
            };
            // Nobody may listen any more; then nobody minds.
            let _ = self.items.send(Yielded { item: Err(error), cursor: self.position.cursor() }).await;
            return;
        }
    }

    async fn wait(&mut self, cause: String, wait_at_least: Option<Duration>) -> Result<(), Over> {
        self.failures += 1;
        let Some(delay) = self.backoff.delay(self.failures, wait_at_least, self.dial.entropy()) else {
            return Err(Over::Ended(StreamError::GaveUp { tries: self.failures, last: cause }));
        };
        self.give(Item::Reconnecting { attempt: self.failures, delay, cause }).await?;
        tokio::select! {
            () = sleep(delay) => Ok(()),
            () = self.items.closed() => Err(Over::Dropped),
        }
    }

    /// One connection, from dialling to its end.
    async fn connection(&mut self) -> Over {
        let (mut wire, token) = match self.connect().await {
            Ok(connected) => connected,
            Err(error) => return error.into(),
        };
        let renew_at = token.renew_in(self.dial.now()).map(|wait| Instant::now() + wait);
        let mut connection = Connection {
            token,
            opened: None,
            closing: None,
            retry: None,
            silence_max: Duration::from_secs(35),
            renew_at,
        };
        match self.read(&mut wire, &mut connection).await {
            Ok(ended) => connection.over(ended),
            Err(over) => over,
        }
    }

    /// A refused credential is renewed once, where there is a source of others.
    async fn connect(&self) -> Result<(D::Wire, Token), ClientError> {
        let token = self.dial.credential().current(self.dial.now()).await?;
        match self.dial.dial(self.position.cursor(), &token).await {
            Ok(wire) => Ok((wire, token)),
            Err(error) if error.status() == Some(401) => match self.dial.credential().renew(&token).await? {
                Some(fresh) => Ok((self.dial.dial(self.position.cursor(), &fresh).await?, fresh)),
                None => Err(error),
            },
            Err(error) => Err(error),
        }
    }

    async fn read(&mut self, wire: &mut D::Wire, connection: &mut Connection) -> Result<Ended, Over> {
        let mut heard = Instant::now();
        loop {
            let renew_at = connection.renew_at;
            let incoming = tokio::select! {
                biased;
                () = self.items.closed() => return Err(Over::Dropped),
                incoming = wire.next() => incoming,
                () = sleep_until(renew_at.unwrap_or(heard)), if renew_at.is_some() => {
                    self.renew(wire, connection).await;
                    continue;
                }
                () = sleep_until(heard + connection.silence_max) => {
                    return Err(Over::cut("the connection fell silent"));
                }
            };
            heard = Instant::now();
            match incoming {
                Ok(Incoming::Alive) => {}
                Ok(Incoming::Retry(wait)) => connection.retry = Some(wait),
                Ok(Incoming::Message(text)) => {
                    let message = Message::parse(text).map_err(|e| Over::cut(e.to_string()))?;
                    self.take(message, connection).await?;
                }
                Err(ended) => return Ok(ended),
            }
        }
    }

    /// Fetches a fresh token before the old one ends, and hands it over in-band where the transport can;
    /// where it cannot, the next connection carries it.
    async fn renew(&self, wire: &mut D::Wire, connection: &mut Connection) {
        let renewal = timeout(RENEWAL_MAX, self.dial.credential().renew(&connection.token)).await;
        connection.renew_at = match renewal {
            Ok(Ok(Some(fresh))) => {
                let next = wire.authenticate(&fresh).await.then(|| {
                    fresh
                        .renew_in(self.dial.now())
                        .map(|wait| Instant::now() + wait.max(Duration::from_secs(1)))
                });
                connection.token = fresh;
                next.flatten()
            }
            Ok(Ok(None)) => None,
            Ok(Err(error)) => {
                tracing::warn!(error = %chain(&error), "no fresh credential; trying again in 5 s");
                Some(Instant::now() + Duration::from_secs(5))
            }
            Err(_) => Some(Instant::now() + Duration::from_secs(5)),
        };
    }

    async fn take(&mut self, message: Message, connection: &mut Connection) -> Result<(), Over> {
        if matches!(message, Message::Event(_) | Message::Heartbeat { .. }) && self.position.awaits_reset() {
            let (epoch, oldest) = connection.opened.clone().expect("set before a reset is awaited");
            self.reset("epoch".into(), epoch, oldest).await?;
        }
        match message {
            Message::Event(envelope) => self.event(*envelope).await,
            Message::Heartbeat { cursor, head } => self.heartbeat(&cursor, head).await,
            Message::Open { connection_id, epoch, head, oldest, heartbeat_s } => {
                connection.silence_max = Duration::from_secs(heartbeat_s.max(1) * 2 + 5);
                connection.opened = Some((epoch.clone(), oldest));
                self.position.opened(&epoch, head, oldest);
                self.give(Item::Open { connection_id, epoch, head, oldest }).await
            }
            Message::Reset { reason, epoch, oldest } => self.reset(reason, epoch, oldest).await,
            Message::Lagged { resume_from } => self.give(Item::Lagged { resume_from }).await,
            Message::Stale { as_of } => self.give(Item::Stale { as_of }).await,
            Message::Error(problem) => self.give(Item::Problem(problem)).await,
            Message::Closing(closing) => {
                connection.closing = Some(closing);
                Ok(())
            }
            Message::Other => Ok(()),
        }
    }

    async fn event(&mut self, envelope: Envelope) -> Result<(), Over> {
        match self.position.judge(envelope.seq) {
            Verdict::Duplicate => return Ok(()),
            Verdict::Gap { up_to } => self.fill(up_to).await?,
            Verdict::Next => {}
        }
        self.failures = 0;
        self.yield_event(envelope).await
    }

    async fn heartbeat(&mut self, cursor: &Cursor, head: Seq) -> Result<(), Over> {
        match self.position.heartbeat(cursor) {
            None => return Err(Over::cut("a heartbeat of another epoch")),
            Some(Verdict::Gap { up_to }) => self.fill(up_to).await?,
            Some(_) => {}
        }
        self.failures = 0;
        self.position.advance(cursor.seq);
        self.give(Item::Heartbeat { head }).await
    }

    async fn reset(&mut self, reason: String, epoch: Epoch, oldest: Seq) -> Result<(), Over> {
        self.position.reset(epoch.clone(), oldest);
        self.give(Item::Reset { reason, epoch, oldest }).await
    }

    /// Yields what the log holds after the position up to and with `up_to`. The replay decides: what it
    /// leaves out, this credential may not see.
    async fn fill(&mut self, up_to: Seq) -> Result<(), Over> {
        while let Some(cursor) = self.position.cursor().filter(|c| c.seq < up_to) {
            // Whatever is wrong, the next connection starts at the cursor and is told what holds there.
            let page = self.dial.replay(cursor.clone()).await.map_err(|e| Over::cut(chain(&e)))?;
            let scanned_to = page.next.seq;
            for envelope in page.events.into_iter().filter(|e| e.seq <= up_to) {
                match self.position.judge(envelope.seq) {
                    Verdict::Duplicate => continue,
                    Verdict::Gap { .. } => self.position.holes_are_normal(),
                    Verdict::Next => {}
                }
                self.yield_event(envelope).await?;
            }
            if self.position.cursor().is_some_and(|c| c.seq < scanned_to.min(up_to)) {
                self.position.holes_are_normal();
                self.position.advance(scanned_to.min(up_to));
            }
            if self.position.cursor() == Some(cursor) {
                return Err(Over::cut("the replay does not reach what the stream has shown"));
            }
        }
        Ok(())
    }

    async fn yield_event(&mut self, envelope: Envelope) -> Result<(), Over> {
        self.position.advance(envelope.seq);
        self.give(Item::Event(envelope)).await
    }

    async fn give(&self, item: Item) -> Result<(), Over> {
        let yielded = Yielded { item: Ok(item), cursor: self.position.cursor() };
        self.items.send(yielded).await.map_err(|_| Over::Dropped)
    }
}

impl Connection {
    /// What the end of the connection means.
    fn over(self, ended: Ended) -> Over {
        let (code, reason) = match (ended.code, self.closing.as_ref()) {
            (Some(code), _) => (Some(code), ended.reason),
            (None, Some(closing)) => (Some(closing.code), closing.reason.clone()),
            (None, None) => (None, ended.reason),
        };
        // The protocol's own fault, or a refusal: the same would come of trying again.
        if let Some(code @ (1002 | 1003 | 1007..=1009 | 4403)) = code {
            return Over::Ended(StreamError::Closed { code, reason });
        }
        let asked = self.closing.and_then(|c| c.reconnect_after_ms).map(Duration::from_millis);
        let cause = code.map_or_else(|| reason.clone(), |code| format!("closed with {code} {reason}"));
        Over::Cut { cause, wait_at_least: asked.or(self.retry) }
    }
}

#[cfg(test)]
mod tests;
