//! Sockets with a timeout, in a process that may be stopped.

use std::io::{self, Read};

/// Reads as [`Read::read`] does, and goes on where the process was stopped and continued meanwhile (by a
/// debugger, by whoever freezes a machine): Linux ends a read that has a timeout with `EINTR` then,
/// whether or not the process handles a signal (signal(7)). The timeout begins again.
pub fn read(mut from: impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(buffer) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            ended => return ended,
        }
    }
}
