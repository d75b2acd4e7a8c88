//! What a shard is told to do.

use std::{
    net::TcpStream,
    time::{Duration, Instant},
};

use mio::{Interest, Token};
use socket2::TcpKeepalive;

use super::{Connection, Shard};
use crate::{
    CloseReason, DeliveryConfig, Ending, NewConnection, Protocol,
    drain::comeback_within,
    mailbox::{Order, Target},
    session::Session,
};

/// What the kernel is told to wait at most: beyond its own bounds it would refuse.
const WAIT_MAX: Duration = Duration::from_hours(1);

impl Shard {
    pub(super) fn obey(&mut self, order: Order, now: Instant) {
        match order {
            Order::Attach(new) => self.attach(new.0, new.1, now),
            Order::Page(target, page) => self.with(target, now, |session| session.supply(page)),
            Order::Judged(target, verdict) => {
                self.with(target, now, |session| session.refreshed(verdict, now));
            }
            Order::CloseWhere(which, why) => {
                self.each(now, |session| {
                    let matched = which(session.info());
                    if matched {
                        session.close(&why, now);
                    }
                    matched
                });
            }
            Order::Configure(config) => self.each(now, |session| {
                session.configure(config.clone(), now);
                true
            }),
            Order::Drain(plan) => {
                let entropy = self.tools.context.entropy.clone();
                self.each(now, |session| {
                    let (after, hint) = plan.departure(&*entropy);
                    session.close_later(now + after, CloseReason::restart(hint));
                    true
                });
            }
            Order::Cut => {
                for key in self.keys() {
                    self.remove(key, Ending::Cut, now);
                }
            }
            Order::Stop => self.stopping = true,
        }
    }

    fn keys(&self) -> Vec<usize> {
        self.connections.iter().map(|(key, _)| key).collect()
    }

    fn with(&mut self, target: Target, now: Instant, act: impl FnOnce(&mut Session)) {
        let Some(key) = self.key_of(target) else { return };
        act(&mut self.connections[key].session);
        self.turn(key, now);
    }

    /// Gives a turn to those for which `act` says that it did something.
    fn each(&mut self, now: Instant, mut act: impl FnMut(&mut Session) -> bool) {
        for key in self.keys() {
            if act(&mut self.connections[key].session) {
                self.turn(key, now);
            }
        }
    }

    fn attach(&mut self, socket: TcpStream, mut new: NewConnection, now: Instant) {
        let received = std::mem::take(&mut new.received);
        let context = self.tools.context.clone();
        self.generation = self.generation.wrapping_add(1);
        let key = self.connections.vacant_key();
        let membership = match &new.protocol {
            Protocol::WebSocket(s) | Protocol::Sse(s) | Protocol::ChunkedSse(s) => {
                Some(self.feeds.join(&s.feed, key, &self.tools.mailbox))
            }
            Protocol::Echo => None,
        };
        let session = Session::new(context.clone(), new, now);
        let mut connection =
            Connection::new(mio::net::TcpStream::from_std(socket), session, self.generation, now);
        connection.membership = membership;
        let token = Token(connection.target(key));
        let registered = configure(&connection.socket, &context.config()).and_then(|()| {
            let interest = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut connection.socket, token, interest)
        });
        self.connections.insert(connection);
        if let Err(error) = registered {
            tracing::debug!(%error, "a socket could not be taken over");
            return self.remove(key, Ending::Broken, now);
        }
        let session = &mut self.connections[key].session;
        session.receive(&received, now);
        if context.is_draining() {
            session
                .close(&CloseReason::restart(comeback_within(Duration::default(), &*context.entropy)), now);
        }
        self.turn(key, now);
    }
}

fn configure(socket: &mio::net::TcpStream, config: &DeliveryConfig) -> std::io::Result<()> {
    let socket = socket2::SockRef::from(socket);
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    // Where the kernel chose, it would hide megabytes of a client's lag.
    socket.set_send_buffer_size(config.send_buffer_bytes)?;
    // A client that is gone without a word acknowledges nothing: the kernel alone would try for a quarter of an hour. Later than
    // what the session itself finds, which knows why it ends a connection.
    socket.set_tcp_user_timeout(Some(config.stall.min(WAIT_MAX) * 2))?;
    // And where nothing is sent, it is asked.
    let quiet = config.stall.clamp(Duration::from_secs(1), WAIT_MAX);
    socket.set_tcp_keepalive(&TcpKeepalive::new().with_time(quiet).with_interval(quiet))
}
