use std::{
    convert::Infallible,
    fmt, io,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::Stream;
use parking_lot::Mutex;
use slab::Slab;
use tidings_core::{Clock, Entropy};
use tidings_live::Hub;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
};

use crate::{
    CloseReason, ConnectionInfo, Control, DeliveryConfig, NewConnection, Observer,
    context::Context,
    drain::{Plan, Return},
    mailbox::{Mailbox, Order},
    shard::Shard,
    task::{self, Task},
};

/// Bytes that a stream without a socket of ours may hold before its client counts as slow.
const PIPE_BYTES: usize = 64 << 10;

/// Serves live connections. Cheap to clone; when the last clone goes, every connection is cut.
#[derive(Clone)]
pub struct Delivery(Arc<Shared>);

struct Shared {
    context: Arc<Context>,
    shards: Vec<Arc<Mailbox>>,
    /// Connections go to the shards in turn.
    turn: AtomicUsize,
    tasks: Arc<Mutex<Slab<Arc<Mailbox>>>>,
    failed: watch::Receiver<bool>,
}

impl Delivery {
    /// Starts the shards. Reads of the log and checks of credentials run on the current tokio runtime.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(
        config: DeliveryConfig,
        hub: Hub,
        control: Arc<dyn Control>,
        observer: Arc<dyn Observer>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> io::Result<Self> {
        let context = Arc::new(Context::new(config, hub, control, observer, clock, entropy));
        let (failed_tx, failed) = watch::channel(false);
        let mut shards = Vec::new();
        for number in 0..context.config().shards.max(1) {
            let (shard, mailbox) = Shard::new(context.clone())?;
            let alarm = Alarm(failed_tx.clone());
            std::thread::Builder::new().name(format!("tidings-shard-{number}")).spawn(move || {
                let alarm = alarm;
                shard.run();
                std::mem::forget(alarm);
            })?;
            shards.push(mailbox);
        }
        let turn = AtomicUsize::new(0);
        Ok(Self(Arc::new(Shared { context, shards, turn, tasks: Arc::default(), failed })))
    }

    /// A shard owns the socket from here on. The head of the response must have been written.
    pub fn attach(&self, socket: TcpStream, new: NewConnection) {
        let turn = self.0.turn.fetch_add(1, Ordering::Relaxed) % self.0.shards.len();
        self.0.shards[turn].post(Order::Attach(Box::new((socket, new))));
    }

    /// Serves a connection on any stream, until it is gone. Dropping the future cuts it.
    pub async fn serve<IO>(&self, io: IO, new: NewConnection)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (task, _registered) = self.task(io, new);
        task.run().await;
    }

    /// Serves SSE as a body that somebody else writes. Dropping it ends the connection.
    pub fn sse_stream(
        &self,
        new: NewConnection,
    ) -> impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static + use<> {
        let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
        let (task, registered) = self.task(ours, new);
        self.0.context.runtime.spawn(async move {
            let _registered = registered;
            task.run().await;
        });
        task::bytes_of(theirs)
    }

    fn task<IO>(&self, io: IO, new: NewConnection) -> (Task<IO>, Registered)
    where
        IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let mailbox = task::mailbox();
        // Registered first: a drain that starts now either reaches it or is seen by it.
        let key = self.0.tasks.lock().insert(mailbox.clone());
        let registered = Registered { tasks: self.0.tasks.clone(), key };
        (Task::new(self.0.context.clone(), mailbox, io, new), registered)
    }

    /// Closes the connections that `which` names, those included whose credential was judged before and
    /// that are still being opened.
    pub fn close_where(
        &self,
        which: impl Fn(&ConnectionInfo) -> bool + Send + Sync + 'static,
        reason: CloseReason,
    ) {
        let which: crate::mailbox::Which = Arc::new(which);
        self.0.context.remember(which.clone(), reason);
        self.tell_all(|| Order::CloseWhere(which.clone(), reason));
    }

    /// Puts other bounds and timers in place, for live connections too: each goes on with them from now
    /// on, but for its heartbeat, which `stream.open` has promised. The number of shards, and what sockets
    /// were given when they came, stay as they are.
    pub fn configure(&self, config: DeliveryConfig) {
        let config = Arc::new(config);
        self.0.context.configure(config.clone());
        self.tell_all(|| Order::Configure(config.clone()));
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.0.context.active.count()
    }

    /// Whether [`refuse`](Self::refuse) or [`drain`](Self::drain) was called: no stream is to be begun any more.
    pub fn is_draining(&self) -> bool {
        self.0.context.is_draining()
    }

    /// From here on no stream is to be begun, and who begins one all the same is sent away.
    pub fn refuse(&self) {
        self.0.context.start_draining();
    }

    /// Closes every connection with 1012 and a hint when to come back, spread over at most two thirds
    /// of `window`, and spread as to when they are back where `to` says. Returns when all are gone; when the window ends, what
    /// is left is cut.
    pub async fn drain(&self, window: Duration, to: Return) {
        let context = &self.0.context;
        self.refuse();
        let plan = Plan::new(window, context.active.count(), to);
        self.tell_all(|| Order::Drain(plan));
        if tokio::time::timeout(window, context.active.none()).await.is_err() {
            tracing::warn!(
                connections = context.active.count(),
                "the drain's window is over: cutting connections"
            );
            self.tell_all(|| Order::Cut);
            context.active.none().await;
        }
    }

    /// Returns when a shard has failed; its connections are lost.
    pub async fn failed(&self) {
        let mut failed = self.0.failed.clone();
        if failed.wait_for(|failed| *failed).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    fn tell_all(&self, order: impl Fn() -> Order) {
        let tasks: Vec<_> = self.0.tasks.lock().iter().map(|(_, mailbox)| mailbox.clone()).collect();
        for mailbox in self.0.shards.iter().chain(&tasks) {
            mailbox.post(order());
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        for shard in &self.shards {
            shard.post(Order::Stop);
        }
        for (_, task) in self.tasks.lock().iter() {
            task.post(Order::Stop);
        }
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").field("connections", &self.connections()).finish_non_exhaustive()
    }
}

/// A task's place in the list, until it is gone.
struct Registered {
    tasks: Arc<Mutex<Slab<Arc<Mailbox>>>>,
    key: usize,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.tasks.lock().remove(self.key);
    }
}

/// Goes off where a shard's thread unwinds.
struct Alarm(watch::Sender<bool>);

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.send_replace(true);
    }
}
