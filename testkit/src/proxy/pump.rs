//! What a [`super::Proxy`] does with the bytes.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use socket2::SockRef;

use crate::wait;

/// How often a write that its peer does not take looks whether it is still wanted.
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    Pass,
    Cut,
    BlackHole,
    Delay(Duration),
}

/// Springs once, at an answer.
#[derive(Debug)]
pub(super) enum Trap {
    /// After so many bytes more.
    AfterBytes(usize),
    AtMarker(Vec<u8>),
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) accepted: AtomicU64,
    pub(super) cut: AtomicU64,
    pub(super) asked: AtomicU64,
    pub(super) answered: AtomicU64,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) target: SocketAddr,
    pub(super) counters: Counters,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    mode: Mode,
    trap: Option<Trap>,
    connections: Vec<Arc<Connection>>,
}

/// Two sockets. They are shared and never duplicated, so that the last owner's end is the sockets' end.
#[derive(Debug)]
pub(super) struct Connection {
    client: TcpStream,
    target: OnceLock<TcpStream>,
    over: AtomicBool,
}

impl Connection {
    pub(super) fn client_only(client: TcpStream) -> Arc<Self> {
        Arc::new(Self { client, target: OnceLock::new(), over: AtomicBool::new(false) })
    }

    /// Makes the end of both sockets a reset and wakes who reads from them; their last owner then closes.
    pub(super) fn reset(&self) -> bool {
        for socket in [Some(&self.client), self.target.get()].into_iter().flatten() {
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
            let _ = socket.shutdown(Shutdown::Read);
        }
        !self.over.swap(true, Ordering::SeqCst)
    }

    fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

impl Shared {
    pub(super) fn new(target: SocketAddr) -> Self {
        let state = State { mode: Mode::Pass, trap: None, connections: Vec::new() };
        Self { target, counters: Counters::default(), state: Mutex::new(state), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, mode: Mode) {
        self.state().mode = mode;
        self.changed.notify_all();
    }

    pub(super) fn arm(&self, trap: Trap) {
        self.state().trap = Some(trap);
    }

    pub(super) fn is_armed(&self) -> bool {
        self.state().trap.is_some()
    }

    pub(super) fn open(&self) -> usize {
        self.state().connections.len()
    }

    pub(super) fn cut_all(&self) {
        let connections = std::mem::take(&mut self.state().connections);
        for connection in connections {
            self.cut(&connection);
        }
        self.changed.notify_all();
    }

    fn cut(&self, connection: &Connection) {
        if connection.reset() {
            self.counters.cut.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Takes a connection in, and waits for the gate; `false`: it is cut.
    pub(super) fn enter(&self, connection: &Arc<Connection>) -> bool {
        self.state().connections.push(Arc::clone(connection));
        let passed = self.wait_at_gate(connection);
        if !passed {
            self.leave(connection);
        }
        passed
    }

    pub(super) fn leave(&self, connection: &Arc<Connection>) {
        self.state().connections.retain(|other| !Arc::ptr_eq(other, connection));
    }

    /// Waits out a black hole. `false`: the connection is over.
    fn wait_at_gate(&self, connection: &Connection) -> bool {
        let mut state = self.state();
        while !connection.is_over() {
            match state.mode {
                Mode::Pass | Mode::Delay(_) => return true,
                Mode::Cut => self.cut(connection),
                Mode::BlackHole => {
                    state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
        false
    }

    /// How much of an answer's piece goes on, where not all does. `seen` are the last bytes before it.
    fn sprung(&self, seen: &[u8], piece: &[u8]) -> Option<usize> {
        let mut state = self.state();
        let goes_on = match state.trap.as_mut()? {
            Trap::AfterBytes(left) if piece.len() <= *left => {
                *left -= piece.len();
                return None;
            }
            Trap::AfterBytes(left) => *left,
            Trap::AtMarker(marker) => {
                let joined = [seen, piece].concat();
                joined.windows(marker.len()).any(|window| window == marker).then_some(0)?
            }
        };
        state.trap = None;
        Some(goes_on)
    }
}

/// Forwards both ways until both have ended or one is cut.
pub(super) fn run(shared: &Arc<Shared>, connection: &Arc<Connection>, target: TcpStream) {
    let _ = target.set_nodelay(true);
    let _ = connection.client.set_nodelay(true);
    for socket in [&connection.client, &target] {
        let _ = socket.set_write_timeout(Some(BETWEEN_LOOKS));
    }
    let target = connection.target.get_or_init(|| target);
    if connection.is_over() {
        // It was cut while the target was called.
        connection.reset();
    }
    thread::scope(|scope| {
        scope.spawn(|| ask(shared, connection, target));
        answer(shared, connection, target);
    });
}

fn ask(shared: &Shared, connection: &Connection, target: &TcpStream) {
    forward(shared, connection, [&connection.client, target], &shared.counters.asked, |_| None);
}

fn answer(shared: &Shared, connection: &Connection, target: &TcpStream) {
    let mut seen = Vec::new();
    forward(shared, connection, [target, &connection.client], &shared.counters.answered, |piece| {
        let goes_on = shared.sprung(&seen, piece);
        seen.extend_from_slice(piece);
        // A marker is a word, not a page.
        seen.drain(..seen.len().saturating_sub(1024));
        goes_on
    });
}

fn forward(
    shared: &Shared,
    connection: &Connection,
    [from, to]: [&TcpStream; 2],
    counter: &AtomicU64,
    mut sprung: impl FnMut(&[u8]) -> Option<usize>,
) {
    let (mut from, mut buffer) = (from, vec![0; 16 * 1024]);
    loop {
        let read = from.read(&mut buffer);
        if !shared.wait_at_gate(connection) {
            return;
        }
        let piece = match read {
            Ok(0) => break,
            Ok(n) => &buffer[..n],
            Err(_) => return shared.cut(connection),
        };
        if let Mode::Delay(each) = shared.state().mode {
            wait::pause(each);
        }
        let goes_on = sprung(piece);
        let piece = &piece[..goes_on.unwrap_or(piece.len())];
        counter.fetch_add(piece.len() as u64, Ordering::Relaxed);
        if write(connection, to, piece).is_err() || goes_on.is_some() {
            return shared.cut(connection);
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// Writes all, unless the connection is cut meanwhile.
fn write(connection: &Connection, mut to: &TcpStream, mut piece: &[u8]) -> io::Result<()> {
    while !piece.is_empty() {
        match to.write(piece) {
            Ok(n) => piece = &piece[n..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock && !connection.is_over() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}
