//! A thread that owns sockets: one epoll loop, no locks on the way to a socket, no task per connection.
//!
//! Sockets are registered once, edge-triggered. A feed that has moved is told by a flag; the shard then
//! takes each of the feed's connections one turn: what is due goes out in as few writes as there can be.
//! A turn is bounded, and so is what goes on in one round beside the feeds, so that a client that catches up
//! delays nobody. A shard never blocks: pages and verdicts come back through its mailbox.

mod connection;
mod feeds;
mod orders;
mod timers;

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token};
use slab::Slab;
use tidings_live::Batcher;

use crate::{
    ConnectionKind, Ending, Written,
    context::Context,
    mailbox::{Inbox, Mailbox, Wake},
};
use connection::{Connection, Turn};
use feeds::Feeds;
use timers::Timers;

const WAKE: Token = Token(usize::MAX);
/// Bytes read from one socket at a time; the buffer is the shard's.
const READ_BUFFER: usize = 64 << 10;
/// Connections with more to do that get a turn in one round, beside those of feeds that moved.
const AGAIN_PER_ROUND: usize = 32;

pub(crate) struct Shard {
    poll: Poll,
    connections: Slab<Connection>,
    feeds: Feeds,
    timers: Timers,
    /// Connections that have more to do than one turn, by target.
    again: VecDeque<usize>,
    tools: Tools,
    inbox: Inbox,
    readers: Vec<usize>,
    /// Distinguishes the connections that use one slab key one after the other.
    generation: u32,
    stopping: bool,
}

/// What a turn needs beside its connection.
pub(crate) struct Tools {
    context: Arc<Context>,
    mailbox: Arc<Mailbox>,
    batcher: Batcher,
    buffer: Box<[u8]>,
    tallies: Tallies,
}

/// What is told to the observer once per round.
#[derive(Default)]
pub(crate) struct Tallies {
    written: [Written; 2],
    received: [u64; 2],
}

impl Tallies {
    pub(crate) const fn written(&mut self, kind: ConnectionKind) -> &mut Written {
        &mut self.written[kind as usize]
    }

    pub(crate) const fn received(&mut self, kind: ConnectionKind, messages: u64) {
        self.received[kind as usize] += messages;
    }

    pub(crate) fn tell(&mut self, context: &Context) {
        for kind in [ConnectionKind::WebSocket, ConnectionKind::Sse] {
            let written = &mut self.written[kind as usize];
            if written.writes > 0 {
                context.observer.written(kind, written);
                *written = Written::default();
            }
            let received = std::mem::take(&mut self.received[kind as usize]);
            if received > 0 {
                context.observer.received(kind, received);
            }
        }
    }
}

impl Shard {
    /// Its mailbox is how the rest of the program reaches it.
    pub(crate) fn new(context: Arc<Context>) -> io::Result<(Self, Arc<Mailbox>)> {
        let poll = Poll::new()?;
        let mailbox = Mailbox::new(Wake::Thread(mio::Waker::new(poll.registry(), WAKE)?));
        // Heartbeats of thousands of connections then cost some tens of wake-ups a second.
        let timers = Timers::new(Instant::now(), context.config().heartbeat / 512);
        let tools = Tools {
            context,
            mailbox: mailbox.clone(),
            batcher: Batcher::new(),
            buffer: vec![0; READ_BUFFER].into(),
            tallies: Tallies::default(),
        };
        let shard = Self {
            poll,
            connections: Slab::new(),
            feeds: Feeds::new(),
            timers,
            again: VecDeque::new(),
            tools,
            inbox: Inbox::default(),
            readers: Vec::new(),
            generation: 0,
            stopping: false,
        };
        Ok((shard, mailbox))
    }

    /// Until it is told to stop.
    pub(crate) fn run(mut self) {
        let mut events = Events::with_capacity(1_024);
        while !self.stopping {
            let now = Instant::now();
            let wait = if self.again.is_empty() && self.tools.mailbox.rest() {
                self.timers.wait(now)
            } else {
                Some(Duration::ZERO)
            };
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                // No descriptor is polled any more: nothing of this shard can go on.
                Err(e) => panic!("epoll failed: {e}"),
            }
            self.round(&events, Instant::now());
        }
        let now = Instant::now();
        for key in self.connections.iter().map(|(key, _)| key).collect::<Vec<_>>() {
            self.remove(key, Ending::Cut, now);
        }
    }

    fn round(&mut self, events: &Events, now: Instant) {
        let mut inbox = std::mem::take(&mut self.inbox);
        self.tools.mailbox.take(&mut inbox);
        for order in inbox.orders.drain(..) {
            self.obey(order, now);
        }
        for event in events {
            let Some(key) = self.key_of(event.token().0) else { continue };
            let connection = &mut self.connections[key];
            connection.notice(
                event.is_readable() || event.is_read_closed() || event.is_error(),
                event.is_writable(),
            );
            self.turn(key, now);
        }
        for number in inbox.moved.drain(..) {
            self.feed_moved(number, now);
        }
        self.inbox = inbox;
        while let Some((tick, target)) = self.timers.fired(now) {
            self.timer_fired(tick, target, now);
        }
        for _ in 0..self.again.len().min(AGAIN_PER_ROUND) {
            let Some(target) = self.again.pop_front() else { break };
            if let Some(key) = self.key_of(target) {
                self.connections[key].queued = false;
                self.turn(key, now);
            }
        }
        self.tools.batcher.clear();
        self.tools.tallies.tell(&self.tools.context);
    }

    fn feed_moved(&mut self, number: usize, now: Instant) {
        let mut readers = std::mem::take(&mut self.readers);
        self.feeds.readers(number, &mut readers);
        for key in readers.drain(..) {
            // One whose turn is to come anyway will see what is new then.
            if self.connections.get(key).is_some_and(|c| !c.queued) {
                self.turn(key, now);
            }
        }
        self.readers = readers;
    }

    fn timer_fired(&mut self, tick: u64, target: usize, now: Instant) {
        let Some(key) = self.key_of(target) else { return };
        let connection = &mut self.connections[key];
        if connection.timer != tick {
            return;
        }
        connection.timer = u64::MAX;
        match connection.session.on_time(now) {
            Some(ending) => self.remove(key, ending, now),
            None => self.turn(key, now),
        }
    }

    /// One connection's turn. A panic in it costs that connection alone.
    fn turn(&mut self, key: usize, now: Instant) {
        let Some(connection) = self.connections.get_mut(key) else { return };
        let tools = &mut self.tools;
        match catch_unwind(AssertUnwindSafe(|| connection.turn(tools, key, now))) {
            Ok(Turn::Done) => {}
            Ok(Turn::Again) => {
                if !std::mem::replace(&mut connection.queued, true) {
                    self.again.push_back(connection.target(key));
                }
            }
            Ok(Turn::Gone(ending)) => return self.remove(key, ending, now),
            Err(_) => {
                tracing::error!(connection_id = %connection.session.info().id, "a connection's turn panicked");
                // What it was assembling may be half done.
                self.tools.batcher = Batcher::new();
                return self.remove(key, Ending::Panicked, now);
            }
        }
        self.set_timer(key);
    }

    /// Makes the connection's timer fire in time; one that would fire too early is left.
    fn set_timer(&mut self, key: usize) {
        let connection = &mut self.connections[key];
        let Some(at) = connection.session.next_time() else { return };
        if connection.timer != u64::MAX && at >= connection.timer_at {
            return;
        }
        let tick = self.timers.tick_of(at);
        connection.timer_at = at;
        if tick < connection.timer {
            connection.timer = tick;
            self.timers.set(tick, connection.target(key));
        }
    }

    fn remove(&mut self, key: usize, ending: Ending, now: Instant) {
        let mut connection = self.connections.remove(key);
        if let Some(left) = connection.membership.take()
            && let Some(successor) = self.feeds.leave(left)
            && let Some(membership) = &mut self.connections[successor].membership
        {
            *membership = left;
        }
        let _ = self.poll.registry().deregister(&mut connection.socket);
        connection.session.gone(ending, now);
    }

    /// The key that a target stands for, unless its connection is gone.
    fn key_of(&self, target: usize) -> Option<usize> {
        let (key, generation) = (target & 0xFFFF_FFFF, (target >> 32) as u32);
        self.connections.get(key).is_some_and(|c| c.generation == generation).then_some(key)
    }
}
