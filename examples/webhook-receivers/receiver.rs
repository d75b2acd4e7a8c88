//! Receives webhooks: verifies them, keeps each event once, and catches up with what it missed.
//!
//!     WEBHOOK_SECRET=whsec_… cargo run -p tidings-webhooks --example receiver -- 8080 ./received
//!
//! With TIDINGS_URL and TIDINGS_TOKEN it reads at its start what it missed while it was away. Of Tidings it uses nothing:
//! the crates `axum`, `reqwest`, `serde_json` and `standardwebhooks` are all there is to it.

use std::{
    collections::{HashMap, HashSet},
    env, fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::Value;
use standardwebhooks::Webhook;

type Error = Box<dyn std::error::Error + Send + Sync>;

const BODY_MAX: usize = 1024 * 1024;

/// Every event once, in a file that is synced before anything is acknowledged.
struct Store {
    file: fs::File,
    cursor: PathBuf,
    seen: HashSet<u64>,
    latest: HashMap<String, u64>,
}

impl Store {
    fn open(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder)?;
        let path = folder.join("events.jsonl");
        let known = fs::read_to_string(&path).unwrap_or_default();
        let file = fs::OpenOptions::new().create(true).append(true).open(path)?;
        let mut store =
            Self { file, cursor: folder.join("cursor"), seen: HashSet::new(), latest: HashMap::new() };
        for line in known.lines() {
            store.note(&serde_json::from_str(line)?);
        }
        Ok(store)
    }

    fn take(&mut self, event: &Value) -> io::Result<()> {
        let seq = event["seq"].as_u64().ok_or(io::ErrorKind::InvalidData)?;
        if self.seen.contains(&seq) {
            return Ok(());
        }
        writeln!(self.file, "{event}")?;
        self.file.sync_data()?;
        if self.note(event) {
            println!("applied {seq} {}", event["type"].as_str().unwrap_or_default());
        }
        Ok(())
    }

    /// Whether it is news of its thing: an event that a later one has overtaken changes nothing any more.
    fn note(&mut self, event: &Value) -> bool {
        let seq = event["seq"].as_u64().unwrap_or_default();
        self.seen.insert(seq);
        let Some(thing) = event["job_id"].as_str().or(event["subject"].as_str()) else { return true };
        let latest = self.latest.entry(thing.to_owned()).or_default();
        let news = seq > *latest;
        *latest = seq.max(*latest);
        news
    }

    fn cursor(&self) -> String {
        fs::read_to_string(&self.cursor).unwrap_or_else(|_| "0".to_owned())
    }
}

struct Receiver {
    webhook: Webhook,
    store: Mutex<Store>,
}

async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if receiver.webhook.verify(&body, &headers).is_err() {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(event) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
    let taken = receiver.store.lock().unwrap_or_else(PoisonError::into_inner).take(&event);
    if taken.is_ok() { StatusCode::NO_CONTENT } else { StatusCode::INTERNAL_SERVER_ERROR }
}

/// Reads the log from where the last reading ended. What had come as a webhook is seen already.
async fn catch_up(store: &mut Store, url: &str, token: &str) -> Result<(), Error> {
    let (client, mut cursor) = (reqwest::Client::new(), store.cursor());
    loop {
        let request =
            client.get(format!("{url}/api/v1/events")).query(&[("since", &*cursor), ("limit", "1000")]);
        let answer = request.bearer_auth(token).header("accept", "application/json").send().await?;
        if answer.status() == reqwest::StatusCode::GONE && cursor != "0" {
            // What lay behind it is no longer kept: on with the oldest.
            "0".clone_into(&mut cursor);
            continue;
        }
        let page: Value = answer.error_for_status()?.json().await?;
        for event in page["events"].as_array().into_iter().flatten() {
            store.take(event)?;
        }
        let next = page["next"].as_str().unwrap_or(&cursor).to_owned();
        if next == cursor {
            return Ok(());
        }
        cursor = next;
        fs::write(&store.cursor, &cursor)?;
    }
}

#[tokio::main]
async fn main() -> Result<(), Error> {
    let mut args = env::args().skip(1);
    let (port, folder) = (args.next().ok_or("which port?")?, args.next().ok_or("which folder?")?);
    let mut store = Store::open(folder.as_ref())?;
    if let Ok(url) = env::var("TIDINGS_URL") {
        catch_up(&mut store, &url, &env::var("TIDINGS_TOKEN")?).await?;
    }
    let webhook = Webhook::new(&env::var("WEBHOOK_SECRET")?)?;
    let receiver = Arc::new(Receiver { webhook, store: Mutex::new(store) });
    let routes =
        Router::new().route("/", post(receive)).layer(DefaultBodyLimit::max(BODY_MAX)).with_state(receiver);
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", port.parse()?)).await?;
    println!("listening on {}", listener.local_addr()?.port());
    Ok(axum::serve(listener, routes).await?)
}
