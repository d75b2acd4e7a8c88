//! `tidings-bench`: the benchmarks behind every published figure.

use std::{path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use tidings_bench::{Benchmark, Options, Outcome, Writes, bare, check_server, post};

/// The server's: the journal is measured in this process.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Measures Tidings against references in the same run.
///
/// Exits with 1 where a target was missed or a run proved nothing.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Hidden>,

    /// What to measure.
    #[arg(value_enum, default_value = "all")]
    benchmark: Benchmark,

    /// The `tidings` program to measure.
    #[arg(long, default_value = "target/release/tidings")]
    server: PathBuf,

    /// Writes every run's report and the tables' figures to a file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,

    /// The `node_modules` that `graphile-worker` is installed in.
    #[arg(long, value_name = "FOLDER", default_value = "target/graphile/node_modules")]
    graphile: PathBuf,

    /// How often each contender runs; figures are medians.
    #[arg(long, default_value_t = 3)]
    rounds: usize,

    /// How many seconds a run waits for a quiet machine before it starts all the same.
    #[arg(long, default_value_t = 180, value_name = "SECONDS")]
    patience: u64,

    /// How many deliveries wait in `webhook-backlog`. Default: a million, or 20,000 with `--quick`.
    #[arg(long, value_name = "DELIVERIES")]
    backlog: Option<u64>,

    /// Where data folders are made; it decides the disk. Default: the system's temporary folder.
    #[arg(long, value_name = "FOLDER")]
    data: Option<PathBuf>,

    /// One short round, to see that everything works; targets are shown and not enforced.
    #[arg(long)]
    quick: bool,
}

#[derive(Debug, Subcommand)]
enum Hidden {
    /// Serves as the bare reference (the benchmarks start this themselves).
    #[command(hide = true)]
    Bare {
        #[arg(value_enum)]
        writes: Writes,
    },
    /// Posts as the bare reference (the benchmarks start this themselves).
    #[command(hide = true)]
    Post { addr: std::net::SocketAddr, bytes: usize, connections: usize },
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    match arguments.command {
        Some(Hidden::Bare { writes }) => return bare::serve(writes).map(|()| ExitCode::SUCCESS),
        Some(Hidden::Post { addr, bytes, connections }) => {
            return post::run(addr, bytes, connections).map(|()| ExitCode::SUCCESS);
        }
        None => {}
    }
    let options = Options {
        server: arguments.server,
        folder: arguments.data.unwrap_or_else(std::env::temp_dir),
        graphile: arguments.graphile,
        rounds: if arguments.quick { 1 } else { arguments.rounds.max(1) },
        patience: std::time::Duration::from_secs(arguments.patience),
        backlog: arguments.backlog.unwrap_or(if arguments.quick { 20_000 } else { 1_000_000 }),
        quick: arguments.quick,
    };
    let benchmarks = arguments.benchmark.each();
    if benchmarks != [Benchmark::Commit] {
        check_server(&options.server)?;
    }
    let mut outcomes = Vec::new();
    for benchmark in benchmarks {
        for outcome in benchmark.run(&options)? {
            println!("{}", outcome.render());
            outcomes.push(outcome);
        }
    }
    if let Some(path) = &arguments.json {
        let text = serde_json::to_vec_pretty(&outcomes)?;
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
    }
    let passed = outcomes.iter().all(|outcome| {
        if arguments.quick { outcome.objections.is_empty() } else { Outcome::passed(outcome) }
    });
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
