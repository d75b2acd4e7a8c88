use std::time::Duration;

use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde_json::Value;

/// The log of the tenant, as far as the endpoint is sent it.
pub(crate) struct Log {
    http: Client,
    events: Url,
    token: String,
}

pub(crate) enum Page {
    Events {
        events: Vec<Value>,
        next: String,
        head: u64,
    },
    /// The cursor is of another history, or too old.
    Gone {
        oldest: u64,
        detail: String,
    },
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    events: Vec<Value>,
    #[serde(default)]
    next: String,
    #[serde(default)]
    head: u64,
    #[serde(default)]
    oldest: u64,
    #[serde(default)]
    detail: String,
}

impl Log {
    pub(crate) fn new(url: &str, token: &str, filter: &str) -> anyhow::Result<Self> {
        let mut events: Url = format!("{}/api/v1/events", url.trim_end_matches('/')).parse()?;
        events.set_query(Some(filter).filter(|filter| !filter.is_empty()));
        let http = Client::builder().timeout(Duration::from_secs(30)).build()?;
        Ok(Self { http, events, token: token.to_owned() })
    }

    pub(crate) async fn after(&self, cursor: &str) -> Result<Page, reqwest::Error> {
        let request = self.http.get(self.events.clone()).query(&[("since", cursor), ("limit", "500")]);
        let answer = request.bearer_auth(&self.token).header("accept", "application/json").send().await?;
        let gone = answer.status() == StatusCode::GONE;
        let answer = if gone { answer } else { answer.error_for_status()? };
        let Answer { events, next, head, oldest, detail } = answer.json().await?;
        Ok(if gone { Page::Gone { oldest, detail } } else { Page::Events { events, next, head } })
    }
}
