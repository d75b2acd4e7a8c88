use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
    time::Instant,
};

use mio::net::TcpStream;

use super::{Tools, feeds::Membership};
use crate::{
    Ending,
    session::{Session, Step},
};

/// Bytes that one turn writes at most, so that others get theirs.
const WRITE_BUDGET: usize = 256 << 10;
/// Reads of one turn at most.
const READ_BUDGET: usize = 4;

/// One socket and what is spoken on it.
pub(super) struct Connection {
    pub(super) socket: TcpStream,
    pub(super) session: Session,
    pub(super) membership: Option<Membership>,
    pub(super) generation: u32,
    /// The tick at which its timer fires and the moment that it was set for; `u64::MAX`: none is set.
    pub(super) timer: u64,
    pub(super) timer_at: Instant,
    /// It waits for another turn.
    pub(super) queued: bool,
    /// As far as the last event and what came of it tell.
    readable: bool,
    writable: bool,
}

/// What a turn came to.
pub(super) enum Turn {
    Done,
    /// There is more to do right away.
    Again,
    Gone(Ending),
}

impl Connection {
    pub(super) fn new(socket: TcpStream, session: Session, generation: u32, now: Instant) -> Self {
        Self {
            socket,
            session,
            membership: None,
            generation,
            timer: u64::MAX,
            timer_at: now,
            queued: false,
            readable: true,
            writable: true,
        }
    }

    pub(super) const fn target(&self, key: usize) -> usize {
        key | (self.generation as usize) << 32
    }

    /// Takes what epoll tells.
    pub(super) const fn notice(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    pub(super) fn turn(&mut self, tools: &mut Tools, key: usize, now: Instant) -> Turn {
        if let Err(ending) = self.read(tools, now) {
            return Turn::Gone(ending);
        }
        let unfinished = match self.write(tools, key, now) {
            Ok(unfinished) => unfinished,
            Err(ending) => return Turn::Gone(ending),
        };
        let target = self.target(key);
        tools.context.refresh(&mut self.session, &tools.mailbox, target);
        let unread = self.readable && self.session.wants_input();
        if unfinished || unread { Turn::Again } else { Turn::Done }
    }

    /// Reads to the end of what there is: a close behind it makes no event of its own.
    fn read(&mut self, tools: &mut Tools, now: Instant) -> Result<(), Ending> {
        for _ in 0..READ_BUDGET {
            if !self.readable || !self.session.wants_input() {
                break;
            }
            match self.socket.read(&mut tools.buffer) {
                Ok(0) => return Err(self.session.ending()),
                Ok(n) => {
                    let messages = self.session.receive(&tools.buffer[..n], now);
                    tools.tallies.received(self.session.info().kind, messages);
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(self.session.ending_by_error()),
            }
        }
        Ok(())
    }

    /// Writes until nothing is due, the socket takes no more, or the budget is spent (`true`).
    fn write(&mut self, tools: &mut Tools, key: usize, now: Instant) -> Result<bool, Ending> {
        let mut budget = WRITE_BUDGET;
        loop {
            if !self.writable {
                self.session.moved_while_blocked(now);
                return Ok(false);
            }
            match self.session.step(&mut tools.batcher, now) {
                Step::Write => {}
                Step::Read(request) => {
                    tools.context.read(request, tools.mailbox.clone(), self.target(key));
                    continue;
                }
                Step::Shut => {
                    let _ = self.socket.shutdown(Shutdown::Write);
                    // The client may have closed already: look, since no event will tell.
                    self.readable = true;
                    return Ok(true);
                }
                Step::Wait => return Ok(false),
            }
            let (n, all) = self.write_once()?;
            // A short write means a full buffer, and that an event will tell of room in it.
            self.writable = all;
            let kind = self.session.info().kind;
            self.session.wrote(n, !all, now, tools.tallies.written(kind));
            if all && n >= budget {
                return Ok(true);
            }
            budget = budget.saturating_sub(n);
        }
    }

    /// One system call: how much was taken, and whether it was all.
    fn write_once(&mut self) -> Result<(usize, bool), Ending> {
        loop {
            let outbox = self.session.outbox();
            let (result, len) = if let Some(bytes) = outbox.single() {
                (self.socket.write(bytes), bytes.len())
            } else {
                let slices = outbox.slices();
                (self.socket.write_vectored(&slices), slices.iter().map(|s| s.len()).sum())
            };
            match result {
                Ok(n) => return Ok((n, n == len)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok((0, false)),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(self.session.ending_by_error()),
            }
        }
    }
}
