use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tidings_live::{FeedId, Page, Watcher};
use tidings_store::ReadError;

use crate::{CloseReason, ConnectionInfo, DeliveryConfig, NewConnection, drain::Plan, session::Verdict};

/// How the rest of the program talks to whoever drives connections: a shard, or one connection's task.
///
/// Posting wakes the driver at most once until it looks again, and never waits. What is posted is bounded by
/// the connections (a page and a verdict for each), by the feeds, and by what operators ask.
pub(crate) struct Mailbox {
    inbox: Mutex<Inbox>,
    /// The driver is awake or has been woken, and will look.
    awake: AtomicBool,
    wake: Wake,
}

#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) orders: Vec<Order>,
    /// Feeds that have moved, by the driver's own number.
    pub(crate) moved: Vec<usize>,
}

pub(crate) enum Wake {
    Thread(mio::Waker),
    Task(AtomicWaker),
}

/// Which connection of a driver.
pub(crate) type Target = usize;

pub(crate) enum Order {
    Attach(Box<(std::net::TcpStream, NewConnection)>),
    Page(Target, Result<Arc<Page>, ReadError>),
    Judged(Target, Verdict),
    CloseWhere(Which, CloseReason),
    /// Other bounds and timers.
    Configure(Arc<DeliveryConfig>),
    /// Close every connection, each at its moment.
    Drain(Plan),
    /// Cut every connection.
    Cut,
    /// End, and cut every connection.
    Stop,
}

/// Decides which connections are meant.
pub(crate) type Which = Arc<dyn Fn(&ConnectionInfo) -> bool + Send + Sync>;

impl Mailbox {
    pub(crate) fn new(wake: Wake) -> Arc<Self> {
        Arc::new(Self { inbox: Mutex::default(), awake: AtomicBool::new(false), wake })
    }

    pub(crate) fn post(&self, order: Order) {
        self.inbox.lock().orders.push(order);
        self.rouse();
    }

    fn moved(&self, number: usize) {
        self.inbox.lock().moved.push(number);
        self.rouse();
    }

    fn rouse(&self) {
        if self.awake.swap(true, Ordering::AcqRel) {
            return;
        }
        match &self.wake {
            // It fails where the descriptor is gone, and then nobody listens any more.
            Wake::Thread(waker) => drop(waker.wake()),
            Wake::Task(waker) => waker.wake(),
        }
    }

    /// Takes what has come. The driver stays awake.
    pub(crate) fn take(&self, into: &mut Inbox) {
        let mut inbox = self.inbox.lock();
        into.orders.append(&mut inbox.orders);
        into.moved.append(&mut inbox.moved);
    }

    /// The driver is about to wait: from here on posting wakes it. `false`: something has come, look
    /// again instead.
    pub(crate) fn rest(&self) -> bool {
        self.awake.store(false, Ordering::SeqCst);
        let inbox = self.inbox.lock();
        inbox.orders.is_empty() && inbox.moved.is_empty()
    }

    pub(crate) const fn task_waker(&self) -> Option<&AtomicWaker> {
        match &self.wake {
            Wake::Task(waker) => Some(waker),
            Wake::Thread(_) => None,
        }
    }
}

/// Marks one feed of one driver as moved: once until the driver looks, however many events come.
pub(crate) struct Flag {
    mailbox: Arc<Mailbox>,
    number: usize,
    raised: AtomicBool,
}

impl Flag {
    pub(crate) fn new(mailbox: Arc<Mailbox>, number: usize) -> Arc<Self> {
        Arc::new(Self { mailbox, number, raised: AtomicBool::new(false) })
    }

    /// To be called before the feed is looked at, so that what comes during the look is told again.
    pub(crate) fn lower(&self) {
        self.raised.store(false, Ordering::SeqCst);
    }
}

impl Watcher for Flag {
    fn advanced(&self, _: FeedId) {
        if !self.raised.swap(true, Ordering::SeqCst) {
            self.mailbox.moved(self.number);
        }
    }
}
