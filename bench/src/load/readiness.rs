//! What a load generator's thread waits on.

use std::{io, time::Duration};

use mio::{Events, Poll};

/// Polls as [`Poll::poll`] does; nothing is ready where the process was stopped and continued meanwhile,
/// which epoll tells as `EINTR`.
pub(crate) fn await_ready(poll: &mut Poll, events: &mut Events, wait: Option<Duration>) -> io::Result<()> {
    match poll.poll(events, wait) {
        Err(e) if e.kind() == io::ErrorKind::Interrupted => {
            events.clear();
            Ok(())
        }
        polled => polled,
    }
}
