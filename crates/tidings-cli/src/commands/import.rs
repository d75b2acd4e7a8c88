use std::{
    fs::File,
    io::{self, BufRead, BufReader},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use tidings_server::offline;

use super::config::StoreSettings;
use crate::output::{self, Paint};

/// Read an archive of `tidings export` into a store.
#[derive(Debug, Args)]
#[command(after_help = "\
Numbers, epochs, ids, fences and API keys stay what they were: cursors of the old store go on in the new one. Each tenant is \
read back and compared before it is put to use; until then it is suspended. Stop the servers of the store first. An import \
that was cut off is run again: it goes on where it ended. A tenant that is in use already with the same history is passed \
over, one with another history is refused and nothing of it is changed.

Examples:
  tidings import --store-file /etc/tidings/store archive.ndjson
  zstd -dc archive.ndjson.zst | tidings import --store-file /etc/tidings/store -")]
pub(crate) struct Import {
    /// The archive; - for stdin.
    #[arg(value_name = "FILE")]
    archive: PathBuf,
    #[command(flatten)]
    settings: StoreSettings,
}

impl Import {
    pub(crate) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        let config = self.settings.load()?.config;
        let mut archive = open(&self.archive)?;
        let bar = output::counting(None, "events");
        let mut tell = |seen: u64| bar.set_position(seen);
        let imported = offline::import(&config, &mut *archive, &mut tell).await;
        bar.finish_and_clear();
        let imported = imported?;
        let what = format_args!(
            "{} tenants, {} events ({} were there already), {} jobs, {} schedules, {} webhook endpoints, {} keys; all read back as they were",
            imported.tenants,
            imported.events,
            imported.events_found,
            imported.jobs,
            imported.schedules,
            imported.endpoints,
            imported.keys
        );
        eprintln!("{} {what}", paint.err().bold("imported"));
        Ok(ExitCode::SUCCESS)
    }
}

fn open(path: &Path) -> anyhow::Result<Box<dyn BufRead + Send>> {
    if path == Path::new("-") {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
    Ok(Box::new(BufReader::with_capacity(1 << 20, file)))
}
