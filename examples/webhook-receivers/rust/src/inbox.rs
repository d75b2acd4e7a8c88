use std::{
    collections::{HashSet, VecDeque},
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Write as _},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

use crate::log::{Log, Page};

const IDS_MAX: usize = 10_000;

/// Handles each event once, in the order of seq.
///
/// What comes next is handled at once; where something lies between, it is read from the log first. What was answered with
/// 2xx and not handled is so never lost: the log has it.
pub(crate) struct Inbox {
    state: Mutex<State>,
    behind: Notify,
}

struct State {
    file: File,
    /// How far the log has been handled, in which history.
    epoch: String,
    seq: u64,
    /// Of the newest events that were handled.
    ids: HashSet<String>,
    order: VecDeque<String>,
}

#[derive(Serialize, Deserialize)]
struct Entry {
    cursor: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<Value>,
}

pub(crate) fn seq_of(event: &Value) -> u64 {
    event["seq"].as_u64().unwrap_or(0)
}

fn id_of(event: &Value) -> &str {
    event["id"].as_str().unwrap_or_default()
}

/// `<epoch>:<seq>`, or a seq alone.
fn split(cursor: &str) -> anyhow::Result<(&str, u64)> {
    let (epoch, seq) = cursor.rsplit_once(':').unwrap_or(("", cursor));
    Ok((epoch, seq.parse().context("a cursor ends with a seq")?))
}

fn join(epoch: &str, seq: u64) -> String {
    if epoch.is_empty() { seq.to_string() } else { format!("{epoch}:{seq}") }
}

impl Inbox {
    pub(crate) fn open(path: &str) -> anyhow::Result<Self> {
        let before = match fs::read_to_string(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            read => read?,
        };
        let mut file = OpenOptions::new().create(true).append(true).open(path)?;
        if !before.is_empty() {
            // So that nothing is appended to a line that a crash has cut off.
            file.write_all(b"\n")?;
        }
        let (ids, order) = (HashSet::new(), VecDeque::new());
        let mut state = State { file, epoch: String::new(), seq: 0, ids, order };
        for line in before.lines() {
            // What a line that was cut off stood for is done again.
            if let Ok(entry) = serde_json::from_str(line) {
                state.note(&entry)?;
            }
        }
        let behind = Notify::new();
        // It was away: what came meanwhile is in the log.
        behind.notify_one();
        Ok(Self { state: Mutex::new(state), behind })
    }

    /// An event that was delivered. Returns when it is safe to answer 2xx.
    pub(crate) fn take(&self, event: &Value) -> anyhow::Result<()> {
        let mut state = self.state();
        if state.ids.contains(id_of(event)) {
            return Ok(());
        }
        if seq_of(event) == state.seq + 1 {
            let epoch = state.epoch.clone();
            return state.handle(event.clone(), &epoch);
        }
        self.behind.notify_one();
        Ok(())
    }

    /// Reads what is missing, whenever something is. Never returns.
    pub(crate) async fn catch_up(&self, log: &Log) {
        loop {
            self.behind.notified().await;
            while let Err(error) = self.pages(log).await {
                eprintln!("the log was not read: {error:#}");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }

    async fn pages(&self, log: &Log) -> anyhow::Result<()> {
        loop {
            let cursor = {
                let state = self.state();
                join(&state.epoch, state.seq)
            };
            match log.after(&cursor).await? {
                Page::Events { events, next, head } => {
                    self.state().page(events, &next)?;
                    if split(&next)?.1 >= head {
                        return Ok(());
                    }
                }
                Page::Gone { oldest, detail } => {
                    eprintln!("events before {oldest} are lost: {detail}");
                    let cursor = oldest.saturating_sub(1).to_string();
                    self.state().write(&Entry { cursor, event: None })?;
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while it holds this")
    }
}

impl State {
    fn page(&mut self, events: Vec<Value>, next: &str) -> anyhow::Result<()> {
        let (epoch, seq) = split(next)?;
        for event in events {
            if seq_of(&event) > self.seq && !self.ids.contains(id_of(&event)) {
                self.handle(event, epoch)?;
            }
        }
        if seq > self.seq || epoch != self.epoch {
            self.write(&Entry { cursor: next.to_owned(), event: None })?;
        }
        Ok(())
    }

    /// What the event is for. Here it is a line in a file: the effect and the record of it are one write. With a database
    /// they belong in one transaction.
    fn handle(&mut self, event: Value, epoch: &str) -> anyhow::Result<()> {
        println!("handled {} {}", event["seq"], event["type"].as_str().unwrap_or_default());
        self.write(&Entry { cursor: join(epoch, seq_of(&event)), event: Some(event) })
    }

    fn write(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        self.file.write_all(&line)?;
        self.file.sync_data()?;
        self.note(entry)
    }

    fn note(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let (epoch, seq) = split(&entry.cursor)?;
        (self.epoch, self.seq) = (epoch.to_owned(), seq);
        let Some(event) = &entry.event else { return Ok(()) };
        let id = id_of(event).to_owned();
        self.order.push_back(id.clone());
        self.ids.insert(id);
        if self.order.len() > IDS_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
        Ok(())
    }
}
