pub(crate) mod value;

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand, ValueEnum};
use secrecy::SecretString;
use tidings_core::TenantId;

use crate::{commands, exit};

/// Jobs in, one durable log, events out live.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, after_help = exit::HELP, max_term_width = 100, propagate_version = true)]
pub(crate) struct Args {
    /// When to use colours; NO_COLOR=1 turns them off too.
    #[arg(long, value_enum, default_value_t, global = true)]
    pub(crate) color: ColorChoice,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(crate) enum ColorChoice {
    /// On a terminal.
    #[default]
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the server.
    Serve(commands::serve::Serve),
    /// Print the effective configuration and where each value comes from.
    Config(commands::config::Config),
    /// Ask a server whether it takes requests. Needs no credential.
    Health(commands::health::Health),
    /// Bring the store's schema up to date.
    Migrate(commands::migrate::Migrate),
    /// Sign a token with the server's own key. Needs no running server.
    Token(commands::token::Token),
    /// Make, list and revoke API keys.
    Keys(commands::keys::Keys),
    /// Make, list, suspend and delete tenants (operators only).
    Tenants(commands::tenants::Tenants),
    /// Give histories new names after a restore, before the servers start.
    Epoch(commands::epoch::Epoch),
    /// Write tenants with all that is theirs to an archive. Needs no running server.
    Export(commands::export::Export),
    /// Read an archive of `tidings export` into a store. Needs no running server.
    Import(commands::import::Import),
    /// Enqueue, list, watch, cancel and retry jobs.
    Jobs(commands::jobs::Jobs),
    /// Enqueue jobs again and again, at times that cron expressions say.
    Schedules(commands::schedules::Schedules),
    /// Send events to other systems over signed HTTP requests.
    Webhooks(commands::webhooks::Webhooks),
    /// Be a worker: run a command for each job.
    Work(commands::work::Work),
    /// Run one command as a job, here and now.
    Exec(commands::exec::Exec),
    /// Follow events live.
    Tail(commands::tail::Tail),
    /// Publish events.
    Publish(commands::publish::Publish),
    /// Measure a server.
    Bench(commands::bench::Bench),
    /// Print a completion script for a shell.
    Completions(commands::completions::Completions),
    /// Kills what is left of a worker that was killed.
    #[command(hide = true, name = commands::guard::NAME)]
    Guard,
}

/// Which server, as whom. Every client command takes these.
#[derive(Debug, Clone, ClapArgs)]
#[command(next_help_heading = "Server and credential")]
pub(crate) struct TargetArgs {
    /// The server's URL. Without it: the server of the data folder.
    #[arg(long, env = "TIDINGS_URL", value_name = "URL")]
    pub(crate) url: Option<String>,

    // The environment's credential and tenant are read in `target`: to clap, a variable contradicts a flag as another
    // flag would.
    /// The credential. A file is better: arguments show in process lists. [env: TIDINGS_TOKEN]
    #[arg(long, value_name = "TOKEN", value_parser = secret)]
    pub(crate) token: Option<SecretString>,

    /// A file that holds the credential.
    #[arg(long, value_name = "FILE", conflicts_with = "token")]
    pub(crate) token_file: Option<PathBuf>,

    /// The local server's data folder, for its URL and administrator key.
    #[arg(
        long = "data",
        id = "data_folder",
        env = "TIDINGS_SERVER__DATA",
        value_name = "FOLDER",
        default_value = "data"
    )]
    pub(crate) data: PathBuf,

    /// The tenant that an operator's credential acts for. [env: TIDINGS_TENANT] [default: default]
    #[arg(long, value_name = "TENANT")]
    pub(crate) tenant: Option<TenantId>,
}

#[allow(clippy::unnecessary_wraps, reason = "clap's signature")]
fn secret(text: &str) -> Result<SecretString, std::convert::Infallible> {
    Ok(SecretString::from(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    /// What scripts rely on: each of these lines parses.
    #[test]
    fn documented_lines_parse() {
        for line in [
            "tidings serve --listen 127.0.0.1:3000 --ops-listen 127.0.0.1:9464 --data ./data --set limits.lag=5",
            "tidings config --json",
            "tidings health --live --url http://x",
            "tidings token --data ./data --tenant acme --user ana --scope 'events:read' --ttl 1h",
            "tidings serve --store postgres://db/x --redis redis://r --roles api,scheduler,webhooks --data d",
            "tidings serve --store-file s --redis-file r --config tidings.toml",
            "tidings token --store-file s --tenant acme --scope events:read",
            "tidings keys admin --store-file s",
            "tidings keys rotate-master --config tidings.toml",
            "tidings epoch renew --all",
            "tidings migrate --store-file s",
            "tidings migrate --check",
            "tidings epoch renew --tenant acme --store-file s",
            "tidings keys create worker --scope jobs:work --all-tenants",
            "tidings jobs enqueue index -",
            "tidings jobs enqueue index --priority -5 --in 10m",
            "tidings schedules put nightly @daily report --zone Europe/Berlin --overlap skip --json",
            "tidings schedules trigger nightly",
            "tidings work --type a --type b -n 4 --url http://x --token-file t -- sh -c true",
            "tidings exec --type export -- pg_dump --file x",
            "tidings tail --types job.* --owner me --since abc:7 --count 3 --json",
            "tidings publish note.created -",
            "tidings publish a.b --data ./data",
            "tidings bench fanout --subscribers 10 --seconds 1s --json",
        ] {
            let words = line.split(' ').map(|word| word.trim_matches('\''));
            Args::try_parse_from(words).unwrap_or_else(|e| panic!("{line}: {e}"));
        }
        for line in [
            "tidings work --type a",
            "tidings tail --since x",
            "tidings token --scope nonsense",
            "tidings token --scope= --tenant acme",
            "tidings token --scope events:read --ttl 0s",
            "tidings keys create worker --scope=",
            "tidings keys create worker --scope jobs:work --expires-in 0d",
            "tidings bench --seconds 0s",
            "tidings bench fanout --subscribers 0",
            "tidings jobs list --limit 0",
            "tidings exec -- x",
            "tidings epoch renew",
            "tidings epoch renew --all --tenant acme",
            "tidings schedules put Nightly @daily report",
        ] {
            assert!(Args::try_parse_from(line.split(' ')).is_err(), "{line}");
        }
    }

    /// `docs/cli.md` names every command and every exit status that `--help` does.
    #[test]
    fn the_page_is_in_step() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
        let page = std::fs::read_to_string(path).expect("the page exists");
        for command in Args::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            assert!(
                page.contains(&format!("| `tidings {}` |", command.get_name())),
                "{}",
                command.get_name()
            );
        }
        for line in exit::HELP.lines().skip(1) {
            let (status, meaning) = line.trim().split_once("  ").expect("a status and its meaning");
            assert!(page.contains(&format!("| {status} | {} |", meaning.trim())), "{line}");
        }
    }

    /// A paragraph is one line here, and wrapped as wide as the terminal is.
    #[test]
    fn no_help_breaks_its_own_lines() {
        fn check(command: &clap::Command) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let lines: Vec<_> = help.lines().collect();
            for pair in lines.windows(2) {
                let prose = |line: &str| !line.is_empty() && !line.starts_with(' ');
                let broken = prose(pair[0]) && prose(pair[1]) && !pair[0].ends_with(['.', ':']);
                assert!(!broken, "{}: {:?} goes on in {:?}", command.get_name(), pair[0], pair[1]);
            }
            command.get_subcommands().for_each(check);
        }
        check(&Args::command());
    }

    /// Every command says how it is used.
    #[test]
    fn every_help_has_examples() {
        for command in Args::command().get_subcommands().filter(|c| !c.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Examples:"), "{} has no examples", command.get_name());
        }
    }
}
