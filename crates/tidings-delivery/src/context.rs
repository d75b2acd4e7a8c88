use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tidings_core::{Clock, Entropy};
use tidings_live::{Hub, PageRequest};
use tokio::runtime::Handle;

use crate::{
    CloseCode, CloseReason, ConnectionInfo, Control, DeliveryConfig, Observer,
    active::Active,
    mailbox::{Mailbox, Order, Target, Which},
    session::Session,
};

/// What every connection uses.
pub(crate) struct Context {
    /// What connections that come now start with.
    config: Mutex<Arc<DeliveryConfig>>,
    pub(crate) hub: Hub,
    pub(crate) control: Arc<dyn Control>,
    pub(crate) observer: Arc<dyn Observer>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) entropy: Arc<dyn Entropy>,
    pub(crate) runtime: Handle,
    pub(crate) active: Active,
    draining: AtomicBool,
    closures: Mutex<Closures>,
}

/// What was closed of late, oldest first.
#[derive(Default)]
struct Closures {
    recent: VecDeque<Closure>,
    /// The latest moment of those that are no longer remembered.
    forgotten: Option<Instant>,
}

/// What was closed at one moment.
struct Closure {
    at: Instant,
    which: Which,
    why: CloseReason,
}

/// How long a connection may take from the judgement of its credential to being served.
const OPENING_MAX: Duration = Duration::from_mins(1);
/// How many closures are remembered at most.
const CLOSURES_MAX: usize = 1_024;

impl Context {
    pub(crate) fn new(
        config: DeliveryConfig,
        hub: Hub,
        control: Arc<dyn Control>,
        observer: Arc<dyn Observer>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        let (runtime, active, draining) = (Handle::current(), Active::default(), AtomicBool::new(false));
        let (config, closures) = (Mutex::new(Arc::new(config)), Mutex::default());
        Self { config, hub, control, observer, clock, entropy, runtime, active, draining, closures }
    }

    pub(crate) fn config(&self) -> Arc<DeliveryConfig> {
        self.config.lock().clone()
    }

    /// To be called before the drivers are told.
    pub(crate) fn configure(&self, config: Arc<DeliveryConfig>) {
        *self.config.lock() = config;
    }

    /// Remembers what is closed, for connections that are being opened: to be called before the drivers
    /// are told.
    pub(crate) fn remember(&self, which: Which, why: CloseReason) {
        let now = Instant::now();
        let mut closures = self.closures.lock();
        let Closures { recent, forgotten } = &mut *closures;
        recent.push_back(Closure { at: now, which, why });
        while let Some(oldest) = recent.front()
            && (recent.len() > CLOSURES_MAX || now.saturating_duration_since(oldest.at) >= OPENING_MAX)
        {
            *forgotten = Some(oldest.at);
            recent.pop_front();
        }
    }

    /// Whether the connection was closed after `judged_at`, before it was there. One that took so long that
    /// this is no longer known is to come again.
    pub(crate) fn closed_since(&self, judged_at: Instant, info: &ConnectionInfo) -> Option<CloseReason> {
        let closures = self.closures.lock();
        if let Some(closure) = closures.recent.iter().find(|c| c.at >= judged_at && (c.which)(info)) {
            return Some(closure.why);
        }
        let unsure = closures.forgotten.is_some_and(|at| at >= judged_at);
        unsure.then(|| CloseReason::new(CloseCode::TryLater, "the connection took too long to open"))
    }

    pub(crate) fn start_draining(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Reads a page on the runtime; the answer comes to `mailbox`.
    pub(crate) fn read(&self, request: PageRequest, mailbox: Arc<Mailbox>, target: Target) {
        let hub = self.hub.clone();
        self.runtime.spawn(async move {
            let page = hub.pager().read(request).await;
            mailbox.post(Order::Page(target, page));
        });
    }

    /// Has a new credential judged, if the client sent one; the verdict comes to `mailbox`.
    pub(crate) fn refresh(&self, session: &mut Session, mailbox: &Arc<Mailbox>, target: Target) {
        let Some(judged) = session.take_refresh() else { return };
        let mailbox = mailbox.clone();
        self.runtime.spawn(async move { mailbox.post(Order::Judged(target, judged.await)) });
    }
}
