//! Catching up: pages of the log, each read once for everybody who needs it.

mod cache;
mod page;
mod queue;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tidings_core::Seq;
use tidings_store::{PageLimit, ReadError, Store};
use tokio::{runtime::Handle, sync::oneshot};

use crate::{Ended, FeedHandle, FeedId, LiveConfig, feed::Feed, gauge::Gauge};
use cache::Cache;
pub use page::Page;
use queue::Queue;

/// How long a failed read keeps its asker waiting, who will ask again at once.
const ERROR_PAUSE: Duration = Duration::from_millis(250);

/// Reads pages of the log. Pages begin at multiples of their size and are cached within a budget; one
/// that many ask for is read once; a few are read at a time, in turn between tenants and, since each
/// subscription asks for one page at a time, between subscriptions.
#[derive(Clone)]
pub struct Pager(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    runtime: Handle,
    page_events: u64,
    page_bytes: usize,
    cache_bytes: usize,
    readers_max: usize,
    gauge: Arc<Gauge>,
    state: Mutex<State>,
    read: AtomicU64,
    /// Requests that another's read or the cache answered.
    answered: AtomicU64,
}

#[derive(Default)]
struct State {
    cache: Cache,
    queue: Queue,
    /// Reader tasks that run.
    readers: usize,
}

/// What [`Subscription::next`](crate::Subscription::next) needs before it can go on.
#[derive(Debug, Clone)]
pub struct PageRequest {
    pub(crate) feed: FeedHandle,
    pub(crate) want: Want,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Want {
    /// The page that begins after `start`, in the hope that it goes on past `cursor`.
    Events { start: Seq, cursor: Seq },
    /// Only where the log stands now: `cursor` is ahead of what this node knows.
    Head { cursor: Seq },
}

/// A page's name: its feed and the seq before its first event.
type Key = (FeedId, Seq);

type Answer = Result<Arc<Page>, ReadError>;

pub(crate) struct PagerStats {
    pub(crate) bytes: usize,
    pub(crate) read: u64,
    pub(crate) shared: u64,
}

impl PageRequest {
    pub fn feed(&self) -> &FeedHandle {
        &self.feed
    }
}

impl Pager {
    pub(crate) fn new(store: Arc<dyn Store>, config: &LiveConfig, runtime: Handle) -> Self {
        Self(Arc::new(Shared {
            store,
            runtime,
            page_events: config.page_events.max(1) as u64,
            page_bytes: config.page_bytes,
            cache_bytes: config.page_cache_bytes,
            readers_max: config.page_readers.max(1),
            gauge: Arc::default(),
            state: Mutex::default(),
            read: AtomicU64::new(0),
            answered: AtomicU64::new(0),
        }))
    }

    /// The answer to [`Next::Page`](crate::Next::Page), to be given to
    /// [`Subscription::supply`](crate::Subscription::supply) as it is. May be dropped at any time. An
    /// error comes after a pause, so that asking again at once does no harm.
    pub async fn read(&self, request: PageRequest) -> Result<Arc<Page>, ReadError> {
        let feed = request.feed.feed();
        let answer = match request.want {
            Want::Head { cursor } => self.0.read_head(feed, cursor).await,
            Want::Events { start, cursor } => self.shared_read(feed, start, cursor).await,
        };
        if answer.is_err() && feed.ended().is_none() {
            tokio::time::sleep(ERROR_PAUSE).await;
        }
        answer
    }

    async fn shared_read(&self, feed: &Arc<Feed>, start: Seq, cursor: Seq) -> Answer {
        if let Some(page) = self.cached(feed.id, cursor) {
            return Ok(page);
        }
        let (answer, answered) = oneshot::channel();
        let spawn = {
            let mut state = self.0.state.lock();
            let joined = state.queue.ask(feed, start, answer);
            self.0.answered.fetch_add(u64::from(joined), Relaxed);
            let spawn = state.readers < self.0.readers_max;
            state.readers += usize::from(spawn);
            spawn
        };
        if spawn {
            self.0.runtime.spawn(self.0.clone().run());
        }
        answered.await.unwrap_or_else(|_| Err(ReadError::Unavailable("the server is stopping".into())))
    }

    /// The cached page that goes on after `cursor`.
    pub(crate) fn cached(&self, feed: FeedId, cursor: Seq) -> Option<Arc<Page>> {
        let page = self.0.state.lock().cache.get(feed, cursor)?;
        self.0.answered.fetch_add(1, Relaxed);
        Some(page)
    }

    /// Where the page begins that holds the event after `cursor`.
    pub(crate) fn page_start(&self, cursor: Seq) -> Seq {
        Seq::new(cursor.get() / self.0.page_events * self.0.page_events)
    }

    /// The feed has ended: its pages are of no use any more.
    pub(crate) fn forget(&self, feed: FeedId) {
        let gone = self.0.state.lock().cache.forget(feed);
        drop(gone);
    }

    pub(crate) fn stats(&self) -> PagerStats {
        PagerStats {
            bytes: self.0.gauge.get(),
            read: self.0.read.load(Relaxed),
            shared: self.0.answered.load(Relaxed),
        }
    }
}

impl Shared {
    /// A reader: takes what is asked for until nothing is.
    async fn run(self: Arc<Self>) {
        loop {
            let next = {
                let mut state = self.state.lock();
                let next = state.queue.take();
                if next.is_none() {
                    state.readers -= 1;
                }
                next
            };
            let Some((feed, start)) = next else { return };
            let answer = self.read_page(&feed, start).await;
            self.answer(&feed, start, &answer);
        }
    }

    async fn read_page(&self, feed: &Arc<Feed>, start: Seq) -> Answer {
        self.read.fetch_add(1, Relaxed);
        // Up to the next multiple, so that a page that was cut short by its bytes is followed by its rest.
        let events = (self.page_events - start.get() % self.page_events) as usize;
        let limit = PageLimit { events, bytes: self.page_bytes };
        let Some(page) = self.store.events(&feed.tenant, start, limit).await? else {
            feed.end(Ended::Gone);
            return Err(ended());
        };
        feed.note(&page.log);
        if feed.ended().is_some() {
            return Err(ended());
        }
        Page::new(feed, start, page, &self.gauge).map(Arc::new)
    }

    async fn read_head(&self, feed: &Arc<Feed>, cursor: Seq) -> Answer {
        let Some(log) = self.store.log_state(&feed.tenant).await? else {
            feed.end(Ended::Gone);
            return Err(ended());
        };
        feed.note(&log);
        if feed.ended().is_some() { Err(ended()) } else { Ok(Arc::new(Page::empty(feed.id, cursor, log))) }
    }

    fn answer(&self, feed: &Arc<Feed>, start: Seq, answer: &Answer) {
        let (waiting, gone) = {
            let mut state = self.state.lock();
            let gone = match answer {
                Ok(page) if !page.is_empty() && feed.ended().is_none() => {
                    state.cache.insert((feed.id, start), page.clone(), &self.gauge, self.cache_bytes)
                }
                _ => Vec::new(),
            };
            (state.queue.done((feed.id, start)), gone)
        };
        drop(gone);
        for asker in waiting {
            // It may have gone away.
            let _ = asker.send(answer.clone());
        }
    }
}

fn ended() -> ReadError {
    ReadError::Unavailable("the feed has ended".into())
}

impl fmt::Debug for Pager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pager").finish_non_exhaustive()
    }
}
