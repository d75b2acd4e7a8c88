//! What people see: colours on a terminal only, aligned lines, tables; `--json` for programs.

mod bar;
mod event_line;
mod paint;
mod table;

pub(crate) use bar::{counting, percent};
pub(crate) use event_line::{EventLine, short};
pub(crate) use paint::{Paint, Palette};
pub(crate) use table::table;

use std::io::Write as _;

/// One line on stdout. A closed pipe is an error that ends the program quietly.
pub(crate) fn line(text: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(std::io::stdout(), "{text}")
}
