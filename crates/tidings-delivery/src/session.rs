//! One connection as a state machine without I/O: bytes, events and moments in; bytes and wishes out.
//! A shard or a task drives it, so that both behave alike.

mod inbound;
mod outbox;
mod refresh;
mod stale;
mod timers;
mod times;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidings_core::{Cursor, Timestamp};
use tidings_live::{Batcher, Encoding, Next, Page, PageRequest, Reset, Start, Subscription, Transport};
use tidings_store::ReadError;

use crate::{
    CloseCode, CloseReason, ConnectionInfo, ConnectionKind, DeliveryConfig, Ending, NewConnection, Protocol,
    Stream, Written,
    active::Place,
    budget::Budget,
    codec::{Decoder, close_frame},
    context::Context,
    notice::{Fields, Notice},
};

pub(crate) use outbox::Outbox;
pub(crate) use refresh::Verdict;
use times::Times;

/// How many bytes a subscription hands out at once.
const BATCH_BYTES: usize = 64 << 10;
/// What an SSE client is told to wait before it comes back on its own.
const RETRY_MS: u64 = 2_000;

pub(crate) struct Session {
    context: Arc<Context>,
    config: Arc<DeliveryConfig>,
    info: ConnectionInfo,
    content: Content,
    /// WebSocket only.
    decoder: Option<Decoder>,
    budget: Option<Budget>,
    outbox: Outbox,
    times: Times,
    phase: Phase,
    /// Messages that were not understood.
    errors: u8,
    /// The client was told that the head is unconfirmed, and it is still.
    stale: bool,
    refresh: refresh::Refresh,
    gone: Option<(Ending, Instant)>,
    _slot: Box<dyn Send>,
    _place: Place,
}

enum Content {
    /// `reading`: a page has been asked for.
    Stream {
        subscription: Box<Subscription>,
        encoding: Encoding,
        reading: bool,
    },
    Echo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    /// The last frame is queued; nothing follows it.
    Closing(Ending),
    /// All is written and the writing half shut: what comes is read and thrown away.
    Draining(Ending),
}

/// What the driver does next.
#[derive(Debug)]
pub(crate) enum Step {
    /// Write what [`Session::outbox`] offers, then say [`Session::wrote`].
    Write,
    /// Read this page for [`Session::supply`], and go on meanwhile.
    Read(PageRequest),
    /// Shut the writing half down, then read until the client closes.
    Shut,
    /// Nothing until something happens.
    Wait,
}

impl Session {
    pub(crate) fn new(context: Arc<Context>, new: NewConnection, now: Instant) -> Self {
        let NewConnection { id, principal, judged_at, protocol, received: _, slot } = new;
        let config = context.config();
        let (stream, transport) = match protocol {
            Protocol::WebSocket(stream) => (Some(stream), Transport::WebSocket),
            Protocol::Sse(stream) => (Some(stream), Transport::Sse),
            Protocol::ChunkedSse(stream) => (Some(stream), Transport::ChunkedSse),
            Protocol::Echo => (None, Transport::WebSocket),
        };
        let web_socket = transport == Transport::WebSocket;
        let kind = if web_socket { ConnectionKind::WebSocket } else { ConnectionKind::Sse };
        let tenant = stream.as_ref().map(|s| s.feed.tenant().clone());
        let info = ConnectionInfo { id, kind, principal, tenant, since: now };
        let place = context.active.take();
        context.observer.opened(kind);
        let mut session = Self {
            decoder: web_socket.then(|| Decoder::new(config.frame_bytes)),
            budget: config.messages.filter(|_| stream.is_some()).map(|limit| Budget::new(limit, now)),
            outbox: Outbox::default(),
            times: Times::new(&config, stream.is_some(), web_socket, now),
            phase: Phase::Open,
            errors: 0,
            stale: false,
            refresh: refresh::Refresh::default(),
            gone: None,
            content: Content::Echo,
            info,
            _slot: slot,
            _place: place,
            config,
            context,
        };
        session.watch_expiry(now);
        if let Some(stream) = stream {
            session.open(stream, transport);
        }
        if let Some(why) = session.context.closed_since(judged_at, &session.info) {
            session.close(&why, now);
        }
        session
    }

    fn open(&mut self, stream: Stream, transport: Transport) {
        let Stream { feed, mut spec } = stream;
        spec.encoding.transport = transport;
        let encoding = spec.encoding;
        let from_now = matches!(spec.start, Start::Now);
        let (subscription, reset) = Subscription::new(feed, spec);
        let cursor = subscription.cursor();
        let feed = subscription.feed().clone();
        // A client that has no event yet resumes from this head: it must not lie past where it began.
        let subscription_head = subscription.head();
        let head = if from_now { cursor.seq } else { subscription_head };
        self.content = Content::Stream { subscription: Box::new(subscription), encoding, reading: false };
        let open = Notice::Open {
            connection_id: self.info.id,
            epoch: feed.epoch(),
            head,
            oldest: feed.oldest(),
            heartbeat_s: seconds(self.times.heartbeat),
        };
        // One that lies ahead is perhaps none of this log's: the client keeps it until that is known.
        let fits = reset.is_none() && cursor.seq <= subscription_head;
        self.tell(&open, &Fields { id: fits.then_some(&cursor), retry_ms: Some(RETRY_MS) });
        if let Some(reset) = reset {
            self.tell_reset(&reset, &cursor);
        }
    }

    pub(crate) const fn info(&self) -> &ConnectionInfo {
        &self.info
    }

    pub(crate) const fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// What is to be done, `batcher` being the driver's. Goes on until it is [`Step::Wait`] or a write
    /// blocks.
    pub(crate) fn step(&mut self, batcher: &mut Batcher, now: Instant) -> Step {
        self.look_at_freshness();
        while self.phase == Phase::Open {
            let Content::Stream { subscription, reading, .. } = &mut self.content else { break };
            if *reading {
                break;
            }
            match subscription.next(batcher, BATCH_BYTES) {
                Next::Batch(batch) => self.outbox.offer(batch),
                Next::Page(request) => {
                    *reading = true;
                    return Step::Read(request);
                }
                Next::Idle => {}
                Next::Lagged { resume_from } => self.close_lagged(&resume_from, now),
                Next::Reset(reset) => {
                    let cursor = subscription.cursor();
                    self.tell_reset(&reset, &cursor);
                    continue;
                }
                Next::Ended(ended) => {
                    let why = self.why_ended(ended);
                    self.close(&why, now);
                }
            }
            break;
        }
        match self.phase {
            _ if !self.outbox.is_empty() => Step::Write,
            Phase::Closing(ending) => {
                self.phase = Phase::Draining(ending);
                Step::Shut
            }
            Phase::Open | Phase::Draining(_) => Step::Wait,
        }
    }

    /// The socket took `n` bytes of the outbox. `blocked`: it takes no more for now.
    pub(crate) fn wrote(&mut self, n: usize, blocked: bool, now: Instant, written: &mut Written) {
        let batch_time = self.outbox.batch().map(|batch| batch.oldest_time);
        let sent = self.outbox.took(n);
        if let Content::Stream { subscription, .. } = &mut self.content {
            if let Some(sent) = sent {
                let live = subscription.is_live();
                let latency = batch_time.filter(|_| live).map(|time| self.context.clock.now().since(time));
                written.count(sent.messages, sent.bytes, latency);
            }
            match sent.and_then(|sent| sent.rewind) {
                Some(to) => subscription.rewind(to),
                None if blocked => subscription.refused(),
                None => {}
            }
        }
        if n > 0 {
            written.writes += 1;
        }
        self.times.blocked_at = match (blocked, self.times.blocked_at) {
            (false, _) => None,
            (true, Some(since)) if n == 0 => Some(since),
            (true, _) => Some(now),
        };
    }

    /// Whether a write has blocked since the socket was last known to take something.
    pub(crate) const fn is_blocked(&self) -> bool {
        self.times.blocked_at.is_some()
    }

    /// The feed has moved while the socket takes nothing: how far behind it is may be too far now.
    pub(crate) fn moved_while_blocked(&mut self, now: Instant) {
        if let (Phase::Open, Content::Stream { subscription, .. }) = (self.phase, &self.content)
            && let Some(resume_from) = subscription.lagged()
        {
            self.close_lagged(&resume_from, now);
        }
    }

    fn close_lagged(&mut self, resume_from: &Cursor, now: Instant) {
        self.context.observer.lagged(self.info.kind);
        self.tell(&Notice::Lagged { resume_from }, &Fields::default());
        self.close(&CloseReason::new(CloseCode::Lagged, "too far behind"), now);
    }

    /// The answer to [`Step::Read`].
    pub(crate) fn supply(&mut self, page: Result<Arc<Page>, ReadError>) {
        if let Content::Stream { subscription, reading, .. } = &mut self.content {
            *reading = false;
            subscription.supply(page);
        }
    }

    /// Queues the last message; afterwards nothing else is written. A second close changes nothing.
    pub(crate) fn close(&mut self, why: &CloseReason, now: Instant) {
        self.close_as(why, Ending::Closed(why.code), now);
    }

    fn close_as(&mut self, why: &CloseReason, ending: Ending, now: Instant) {
        if self.phase != Phase::Open {
            return;
        }
        let after = why.reconnect_after.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX));
        let notice =
            Notice::Closing { code: why.code.number(), reason: why.reason, reconnect_after_ms: after };
        self.tell(&notice, &Fields { id: None, retry_ms: after });
        match self.transport() {
            Transport::WebSocket => close_frame(Some(why.code.number()), why.reason, self.outbox.control()),
            Transport::ChunkedSse => self.outbox.control().extend_from_slice(b"0\r\n\r\n"),
            Transport::Sse => {}
        }
        self.end(ending, now);
    }

    fn end(&mut self, ending: Ending, now: Instant) {
        self.phase = Phase::Closing(ending);
        self.times.closing(now + self.config.close_drain);
    }

    /// Goes on under other bounds and timers.
    pub(crate) fn configure(&mut self, config: Arc<DeliveryConfig>, now: Instant) {
        if let Some(decoder) = &mut self.decoder {
            decoder.set_size_max(config.frame_bytes);
        }
        let streams = matches!(self.content, Content::Stream { .. });
        self.budget = config
            .messages
            .filter(|_| streams)
            .map(|limit| self.budget.take().unwrap_or_else(|| Budget::new(limit, now)));
        if self.phase == Phase::Open {
            self.times.configure(&config, now);
        }
        self.config = config;
    }

    /// Ends it at once: the next look at the time cuts it.
    pub(crate) fn cut(&mut self, now: Instant) {
        if self.phase == Phase::Open {
            self.phase = Phase::Closing(Ending::Cut);
        }
        self.times.closing(now);
    }

    /// Closes it later, at a moment within the drain.
    pub(crate) fn close_later(&mut self, at: Instant, why: CloseReason) {
        if self.phase == Phase::Open {
            self.times.close_at = Some(Box::new((at, why)));
        }
    }

    /// How it ended, where the client is gone.
    pub(crate) const fn ending(&self) -> Ending {
        match self.phase {
            Phase::Open => Ending::Client,
            Phase::Closing(ending) | Phase::Draining(ending) => ending,
        }
    }

    /// How it ended, where the socket has failed.
    pub(crate) const fn ending_by_error(&self) -> Ending {
        match self.phase {
            Phase::Open => Ending::Broken,
            Phase::Closing(ending) | Phase::Draining(ending) => ending,
        }
    }

    /// Remembers how it ended, for the observer.
    pub(crate) const fn gone(&mut self, ending: Ending, now: Instant) {
        self.gone = Some((ending, now));
    }

    const fn transport(&self) -> Transport {
        match &self.content {
            Content::Stream { encoding, .. } => encoding.transport,
            Content::Echo => Transport::WebSocket,
        }
    }

    /// Queues a control message; an echo has none.
    fn tell(&mut self, notice: &Notice<'_>, fields: &Fields<'_>) {
        if let Content::Stream { encoding, .. } = &self.content {
            notice.write(encoding.transport, fields, self.outbox.control());
        }
    }

    fn tell_reset(&mut self, reset: &Reset, cursor: &Cursor) {
        let notice =
            Notice::Reset { reason: reset.reason.as_str(), epoch: &reset.epoch, oldest: reset.oldest };
        self.tell(&notice, &Fields { id: Some(cursor), retry_ms: None });
    }

    fn expires_at(&self) -> Option<Timestamp> {
        self.info.principal.expires_at
    }
}

impl Drop for Session {
    /// The observer hears of every end, also where a task was dropped or has panicked.
    fn drop(&mut self) {
        let unforeseen = if std::thread::panicking() { Ending::Panicked } else { Ending::Cut };
        let (ending, at) = self.gone.unwrap_or_else(|| (unforeseen, Instant::now()));
        self.context.observer.closed(self.info.kind, ending, at.saturating_duration_since(self.info.since));
    }
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.info.id)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

fn seconds(duration: Duration) -> serde_json::Number {
    if duration.subsec_nanos() == 0 {
        return duration.as_secs().into();
    }
    serde_json::Number::from_f64(duration.as_secs_f64()).expect("a duration is a finite number of seconds")
}
