//! Receives Tidings' webhooks: verifies them, handles each event once and in order, and reads what is missing from the log.
//!
//! | variable | |
//! |---|---|
//! | `WEBHOOK_SECRETS` | what to verify with: `whsec_…` or `whpk_…`, several during a rotation, parted by spaces |
//! | `TIDINGS_URL`, `TIDINGS_TOKEN` | where the log is read, and a credential that may read what the endpoint is sent |
//! | `FILTER` | the endpoint's filter as query parameters, such as `types=order.*` |
//! | `STATE` | the file of what was handled (`handled.jsonl`) |
//! | `PORT` | 8080; 0: any free one, which is printed |

mod inbox;
mod log;
mod verifier;

use std::{env, net::Ipv4Addr, sync::Arc};

use anyhow::Context as _;
use axum::{Router, body::Bytes, extract::State, routing::post};
use http::{HeaderMap, StatusCode};
use tokio::net::TcpListener;

use inbox::{Inbox, seq_of};
use log::Log;
use verifier::Verifier;

struct Receiver {
    verifier: Verifier,
    inbox: Inbox,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let needed = |name: &str| env::var(name).with_context(|| format!("set {name}"));
    let optional = |name: &str, default: &str| env::var(name).unwrap_or_else(|_| default.to_owned());
    let verifier = Verifier::new(&needed("WEBHOOK_SECRETS")?)?;
    let log = Log::new(&needed("TIDINGS_URL")?, &needed("TIDINGS_TOKEN")?, &optional("FILTER", ""))?;
    let inbox = Inbox::open(&optional("STATE", "handled.jsonl"))?;
    let receiver = Arc::new(Receiver { verifier, inbox });

    let port = optional("PORT", "8080").parse().context("PORT is a number")?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    println!("listening on {}", listener.local_addr()?.port());
    let catching_up = Arc::clone(&receiver);
    tokio::spawn(async move { catching_up.inbox.catch_up(&log).await });
    // Without a body limit of its own, axum takes up to 2 MiB.
    axum::serve(listener, Router::new().fallback(post(receive)).with_state(receiver)).await?;
    Ok(())
}

/// `body` is the very bytes: JSON that is read and written again is not what was signed.
async fn receive(State(receiver): State<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    if !receiver.verifier.accepts(&headers, &body) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(event) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST };
    // `tidings webhooks test` sends a sample that is in no log.
    if seq_of(&event) > 0
        && let Err(error) = receiver.inbox.take(&event)
    {
        eprintln!("an event was not handled: {error:#}");
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    StatusCode::NO_CONTENT
}
