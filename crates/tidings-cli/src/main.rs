//! The `tidings` binary: the server, and everything one does with it from a terminal.
//!
//! - `args` is the command line's shape; `commands` has one file per command.
//! - `target` finds the server and the credential: flags, environment, the local data folder.
//! - `child` runs the commands behind `work` and `exec`.
//! - `output` is colours, tables and event lines; `exit` is what the exit status says.

mod args;
mod child;
mod commands;
mod exit;
mod output;
mod server_file;
mod target;

use std::process::ExitCode;

use clap::Parser as _;

/// Many small, long-lived allocations on many threads: what it is good at.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let paint = output::Paint::choose(args.color);
    match commands::run(args.command, paint) {
        Ok(code) => code,
        Err(error) => exit::report(&error, paint),
    }
}
