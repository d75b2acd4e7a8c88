//! A TCP proxy that misbehaves when it is told to.

mod pump;

use std::{
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{Arc, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use socket2::SockRef;

use self::pump::{Connection, Mode, Shared, Trap};

/// Forwards connections to one address. It starts in passing; what it is told holds for the connections that
/// are open and for those to come. Dropping it resets them all.
#[derive(Debug)]
pub struct Proxy {
    shared: Arc<Shared>,
    listener: Arc<TcpListener>,
    addr: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

/// What has passed so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Connections that clients opened.
    pub accepted: u64,
    /// Connections that were reset, by [`Proxy::cut`] or a trap.
    pub cut: u64,
    /// Bytes from clients.
    pub asked: u64,
    /// Bytes to clients.
    pub answered: u64,
}

impl Proxy {
    /// On a port of the loopback interface.
    pub fn to(target: SocketAddr) -> Self {
        Self::between(Ipv4Addr::LOCALHOST.into(), target)
    }

    /// On a port of `listen`: the host's end of a [`Netns`](crate::Netns).
    pub fn between(listen: IpAddr, target: SocketAddr) -> Self {
        let listener = Arc::new(TcpListener::bind((listen, 0)).expect("a port is free"));
        let addr = listener.local_addr().expect("a listener has an address");
        let shared = Arc::new(Shared::new(target));
        let (accepting, behind) = (Arc::clone(&listener), Arc::clone(&shared));
        let acceptor = thread::spawn(move || accept(&accepting, &behind));
        Self { shared, listener, addr, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Forwards everything, what a black hole held back first.
    pub fn pass(&self) {
        self.shared.set(Mode::Pass);
    }

    /// Resets every connection, and each new one.
    pub fn cut(&self) {
        self.shared.set(Mode::Cut);
        self.shared.cut_all();
    }

    /// Resets every connection; new ones pass as before.
    pub fn cut_once(&self) {
        self.shared.cut_all();
    }

    /// Accepts, and forwards nothing, not even an end: a partition. [`Proxy::pass`] heals it, and what was
    /// sent meanwhile arrives, as after a retransmission.
    pub fn black_hole(&self) {
        self.shared.set(Mode::BlackHole);
    }

    /// Holds every piece (16 KiB at most) this long in each direction, one after another.
    pub fn delay(&self, each: Duration) {
        self.shared.set(Mode::Delay(each));
    }

    /// Once, resets the connection whose answer carries the bytes sent to clients from now beyond `bytes`;
    /// those up to there are forwarded.
    pub fn cut_after_answered(&self, bytes: usize) {
        self.shared.arm(Trap::AfterBytes(bytes));
    }

    /// Once, resets the connection whose answer holds `marker`, instead of forwarding the piece that
    /// completes it: whoever asked does not learn what the target has done.
    ///
    /// # Panics
    /// When the marker is empty.
    pub fn cut_at_answer(&self, marker: &[u8]) {
        assert!(!marker.is_empty(), "an empty marker is everywhere");
        self.shared.arm(Trap::AtMarker(marker.to_vec()));
    }

    /// Whether the last trap has not been sprung yet.
    pub fn is_armed(&self) -> bool {
        self.shared.is_armed()
    }

    /// Connections that are open now.
    pub fn open(&self) -> usize {
        self.shared.open()
    }

    pub fn counts(&self) -> Counts {
        let counters = &self.shared.counters;
        Counts {
            accepted: counters.accepted.load(Ordering::Relaxed),
            cut: counters.cut.load(Ordering::Relaxed),
            asked: counters.asked.load(Ordering::Relaxed),
            answered: counters.answered.load(Ordering::Relaxed),
        }
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut();
        // Wakes the acceptor, for good.
        let _ = SockRef::from(&*self.listener).shutdown(Shutdown::Both);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        self.shared.cut_all();
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    while let Ok((client, _)) = listener.accept() {
        shared.counters.accepted.fetch_add(1, Ordering::Relaxed);
        let shared = Arc::clone(shared);
        thread::spawn(move || serve(client, &shared));
    }
}

/// The target is called once the gate is open: to it, what comes in a partition does not exist yet.
fn serve(client: TcpStream, shared: &Arc<Shared>) {
    let client = Connection::client_only(client);
    if !shared.enter(&client) {
        return;
    }
    match TcpStream::connect(shared.target) {
        Ok(target) => pump::run(shared, &client, target),
        Err(_) => {
            client.reset();
        }
    }
    shared.leave(&client);
}
