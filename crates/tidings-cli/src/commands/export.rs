use std::{
    fs::{File, OpenOptions},
    io::{self, BufWriter, Write},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Args;
use tidings_server::offline;

use super::config::StoreSettings;
use crate::{
    exit::Usage,
    output::{self, Paint},
};

/// Write tenants with all that is theirs to an archive.
#[derive(Debug, Args)]
#[command(after_help = "\
The archive holds each tenant's events with their numbers, jobs, schedules, webhook endpoints with their secrets, and API keys (as hashes): keep it as safe as the \
data folder, since payloads and raw errors are in it. Stop the server first; `tidings import` reads it into any store. \
What the servers keep for themselves (signing keys, redeemed tickets, idempotency keys) is not in it.

Examples:
  tidings export --data /var/lib/tidings archive.ndjson
  tidings export --data ./data - | zstd > archive.ndjson.zst")]
pub(crate) struct Export {
    /// The file to write, which must not exist; - for stdout.
    #[arg(value_name = "FILE")]
    archive: PathBuf,
    #[command(flatten)]
    settings: StoreSettings,
}

impl Export {
    pub(crate) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        let config = self.settings.load()?.config;
        let mut out = open(&self.archive)?;
        let bar = output::counting(Some(0), "events");
        let mut tell = |done: u64, total: u64| {
            bar.set_length(total);
            bar.set_position(done);
        };
        let exported = offline::export(&config, &mut out, &mut tell).await;
        bar.finish_and_clear();
        let written = match exported {
            Ok(exported) => out.sync().context("writing the archive").map(|()| exported),
            Err(error) => Err(error.into()),
        };
        if written.is_err() && self.archive != Path::new("-") {
            // It was made just now, and half of an archive is none: the next try may have its name.
            let _ = std::fs::remove_file(&self.archive);
        }
        let exported = written?;
        let what = [
            (exported.tenants, "tenant"),
            (exported.events, "event"),
            (exported.jobs, "job"),
            (exported.schedules, "schedule"),
            (exported.endpoints, "webhook endpoint"),
            (exported.keys, "key"),
        ]
        .map(|(count, what)| format!("{count} {what}{}", if count == 1 { "" } else { "s" }));
        eprintln!("{} {}", paint.err().bold("exported"), what.join(", "));
        Ok(ExitCode::SUCCESS)
    }
}

/// Where an archive goes.
enum Out {
    Stdout(BufWriter<io::Stdout>),
    File(BufWriter<File>),
}

/// For this user's eyes, and never over another file.
fn open(path: &Path) -> anyhow::Result<Out> {
    if path == Path::new("-") {
        return Ok(Out::Stdout(BufWriter::new(io::stdout())));
    }
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(file) => Ok(Out::File(BufWriter::new(file))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Usage(format!("{} exists; name another file or remove it", path.display())).into())
        }
        Err(error) => Err(error).with_context(|| format!("making {}", path.display())),
    }
}

impl Out {
    /// On stable storage, where it is a file.
    fn sync(self) -> io::Result<()> {
        match self {
            Self::Stdout(mut out) => out.flush(),
            Self::File(out) => out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all(),
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stdout(out) => out.write(bytes),
            Self::File(out) => out.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stdout(out) => out.flush(),
            Self::File(out) => out.flush(),
        }
    }
}
