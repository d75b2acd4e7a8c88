mod cursor_file;

use std::{
    io::{BufWriter, Write},
    path::PathBuf,
    process::ExitCode,
};

use clap::Args;
use futures_util::FutureExt as _;
use tidings_client::{EventStream, Item, Selection, Start, StreamRequest, Transport};
use tidings_core::{Cursor, Verbosity};

use super::signals;
use crate::{
    args::TargetArgs,
    output::{self, EventLine, Paint},
};
use cursor_file::CursorFile;

/// Follow events live.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings tail                                   everything from now on
  tidings tail --since 0                         everything that is kept, then live
  tidings tail --types 'job.*' --owner me        my jobs
  tidings tail --types job.failed --verbosity detail --json | jq .data
  tidings tail --cursor-file /var/lib/app/cursor --json      goes on where it stopped

It reconnects by itself and misses nothing: what it says on stderr is about the connection, what it says on \
stdout are events, each once and in order.")]
pub(crate) struct Tail {
    /// Event types: literals or prefixes such as 'job.*'. May be repeated or joined by commas.
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    types: Vec<String>,
    /// Only these jobs.
    #[arg(long, value_delimiter = ',', value_name = "ID")]
    job: Vec<String>,
    /// Only jobs of these types.
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    job_type: Vec<String>,
    /// Subjects: literals or prefixes such as 'note/*'.
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    subject: Vec<String>,
    /// Owners, or me.
    #[arg(long, value_delimiter = ',', value_name = "USER")]
    owner: Vec<String>,
    /// Start after this cursor (0: everything that is kept) instead of now.
    #[arg(long, value_name = "CURSOR")]
    since: Option<Cursor>,
    /// Remember how far it came in this file, and go on from there; --since counts only while it is empty.
    #[arg(long, value_name = "FILE")]
    cursor_file: Option<PathBuf>,
    /// minimal, detail (progress messages, payloads, results) or debug (raw errors).
    #[arg(long, value_name = "LEVEL")]
    verbosity: Option<Verbosity>,
    /// Use SSE instead of WebSocket.
    #[arg(long)]
    sse: bool,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print each event's JSON, byte for byte, one per line.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl Tail {
    pub(crate) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        let client = self.target.connect().await?;
        let shutdown = signals::shutdown()?;
        let mut file = self.cursor_file.clone().map(CursorFile::open).transpose()?;
        let kept = file.as_ref().and_then(|f| f.cursor().cloned());
        let mut events = client.stream(&self.request(kept));
        let mut printer = Printer { tail: &self, paint, out: BufWriter::new(std::io::stdout()), printed: 0 };
        let ended = tokio::select! {
            ended = printer.follow(&mut events, file.as_mut()) => ended,
            () = output::unread() => Ok(()),
            () = shutdown.cancelled() => Ok(()),
        };
        printer.out.flush()?;
        if let (Some(file), Some(cursor)) = (&mut file, events.cursor()) {
            // Only what was printed counts, and the stream's cursor is that of what was taken.
            file.set(cursor);
            file.write()?;
        }
        ended.map(|()| ExitCode::SUCCESS)
    }

    fn request(&self, kept: Option<Cursor>) -> StreamRequest {
        let selection = [
            ("types", &self.types),
            ("job_id", &self.job),
            ("job_type", &self.job_type),
            ("subject", &self.subject),
            ("owner", &self.owner),
        ]
        .into_iter()
        .fold(Selection::default(), |selection, (field, values)| selection.with(field, values))
        .at(self.verbosity);
        StreamRequest {
            selection,
            start: kept.or_else(|| self.since.clone()).map_or(Start::Now, Start::After),
            transport: if self.sse { Transport::Sse } else { Transport::WebSocket },
            ..StreamRequest::default()
        }
    }
}

/// Characters of a line on this terminal; wide where there is none, for whatever reads it.
pub(super) fn width() -> usize {
    console::Term::stdout().size_checked().map_or(200, |(_, columns)| usize::from(columns))
}

struct Printer<'a> {
    tail: &'a Tail,
    paint: Paint,
    out: BufWriter<std::io::Stdout>,
    printed: u64,
}

impl Printer<'_> {
    async fn follow(
        &mut self,
        events: &mut EventStream,
        mut file: Option<&mut CursorFile>,
    ) -> anyhow::Result<()> {
        loop {
            // What is ready is written in one go; before waiting, everything is out.
            let ready = events.next().now_or_never();
            if ready.is_none() {
                self.out.flush()?;
                if let Some(file) = &mut file {
                    file.write()?;
                }
            }
            let next = match ready {
                Some(next) => next,
                None => events.next().await,
            };
            let Some(item) = next else { return Ok(()) };
            self.item(item?)?;
            if let (Some(file), Some(cursor)) = (&mut file, events.cursor()) {
                file.set(cursor);
            }
            if self.tail.count.is_some_and(|count| self.printed >= count) {
                return Ok(());
            }
        }
    }

    fn item(&mut self, item: Item) -> std::io::Result<()> {
        match item {
            Item::Event(event) => {
                self.printed += 1;
                if self.tail.json {
                    return writeln!(self.out, "{}", event.text());
                }
                let line = EventLine { event: &event, palette: self.paint.out(), width: width() };
                writeln!(self.out, "{line}")
            }
            Item::Heartbeat { .. } => Ok(()),
            other => {
                self.out.flush()?;
                self.aside(&other);
                Ok(())
            }
        }
    }

    /// About the connection: never on stdout.
    fn aside(&self, item: &Item) {
        let err = self.paint.err();
        match item {
            Item::Open { head, oldest, .. } if oldest > head => {
                eprintln!("{}", err.dim("-- connected; the log is empty"));
            }
            Item::Open { head, oldest, .. } => {
                eprintln!("{}", err.dim(format_args!("-- connected; the log holds {oldest} to {head}")));
            }
            Item::Reset { reason, oldest, .. } => {
                let why = match reason.as_str() {
                    "expired" => "older events have been removed",
                    "epoch" => "this is another history of the tenant",
                    "ahead" => "the cursor is ahead of the log",
                    other => other,
                };
                eprintln!("{}", err.yellow(format_args!("-- reset: {why}; going on from {oldest}")));
            }
            Item::Lagged { .. } => eprintln!("{}", err.yellow("-- too far behind; catching up")),
            Item::Stale { .. } => {
                eprintln!("{}", err.yellow("-- the server cannot confirm that this is the newest"));
            }
            Item::Problem(problem) => eprintln!("{}", err.yellow(format_args!("-- {problem}"))),
            Item::Reconnecting { delay, cause, .. } => {
                let wait = delay.as_secs_f64();
                eprintln!("{}", err.yellow(format_args!("-- {cause}; connecting again in {wait:.1} s")));
            }
            Item::Event(_) | Item::Heartbeat { .. } => {}
        }
    }
}
