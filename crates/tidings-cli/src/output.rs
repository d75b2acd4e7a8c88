//! What people see: colours on a terminal only, aligned lines, tables; `--json` for programs.

mod bar;
mod event_line;
mod paint;
mod table;

pub(crate) use bar::{counting, percent};
pub(crate) use event_line::{EventLine, short};
pub(crate) use paint::{Paint, Palette};
pub(crate) use table::{printable, table};

use std::io::Write as _;

use tokio::io::{Interest, unix::AsyncFd};

/// One line on stdout. A closed pipe is an error that ends the program quietly.
pub(crate) fn line(text: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{text}")
}

/// Returns when stdout is a pipe or a terminal that nobody reads any more; never where it is a file. A
/// command that waits would find out by its next line alone.
#[allow(deprecated, reason = "stdout is never closed, so that its descriptor cannot become another's")]
pub(crate) async fn unread() {
    match AsyncFd::with_interest(std::io::stdout(), Interest::ERROR) {
        Ok(stdout) => drop(stdout.ready(Interest::ERROR).await),
        Err(_) => std::future::pending().await,
    }
}
