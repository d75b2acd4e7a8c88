//! One file per command. Each says in its `--help` what it does, with examples.

pub(crate) mod bench;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod epoch;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod guard;
pub(crate) mod health;
pub(crate) mod import;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod migrate;
pub(crate) mod publish;
pub(crate) mod schedules;
pub(crate) mod serve;
mod signals;
pub(crate) mod tail;
pub(crate) mod tenants;
pub(crate) mod token;
pub(crate) mod webhooks;
pub(crate) mod work;

use std::process::ExitCode;

use crate::{args::Command, output::Paint};

pub(crate) fn run(command: Command, paint: Paint) -> anyhow::Result<ExitCode> {
    let runtime = || tokio::runtime::Builder::new_multi_thread().enable_all().build();
    match command {
        Command::Serve(serve) => serve.run(paint),
        Command::Config(config) => config.run(),
        Command::Health(health) => runtime()?.block_on(health.run()),
        Command::Token(token) => runtime()?.block_on(token.run()),
        Command::Keys(keys) => runtime()?.block_on(keys.run(paint)),
        Command::Epoch(epoch) => runtime()?.block_on(epoch.run(paint)),
        Command::Export(export) => runtime()?.block_on(export.run(paint)),
        Command::Import(import) => runtime()?.block_on(import.run(paint)),
        Command::Migrate(migrate) => runtime()?.block_on(migrate.run()),
        Command::Tenants(tenants) => runtime()?.block_on(tenants.run(paint)),
        Command::Jobs(jobs) => runtime()?.block_on(jobs.run(paint)),
        Command::Schedules(schedules) => runtime()?.block_on(schedules.run(paint)),
        Command::Webhooks(webhooks) => runtime()?.block_on(webhooks.run(paint)),
        Command::Work(work) => runtime()?.block_on(work.run(paint)),
        Command::Exec(exec) => runtime()?.block_on(exec.run(paint)),
        Command::Tail(tail) => runtime()?.block_on(tail.run(paint)),
        Command::Publish(publish) => runtime()?.block_on(publish.run(paint)),
        Command::Bench(bench) => bench.run(paint),
        Command::Completions(completions) => completions.run(),
        Command::Guard => Ok(guard::run()),
    }
}
