use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::value::RawValue;
use tidings_core::{Cursor, EventId, RawJson, Seq, Subject, Timestamp, UserId};

use crate::{Client, ClientError, Envelope, Selection, request::Call};

/// An event to be published.
#[derive(Debug, Clone, Serialize)]
pub struct PublishRequest {
    /// Any dotted lower-case name outside the families `job`, `webhook` and `stream`.
    #[serde(rename = "type")]
    pub event_type: String,
    pub data: RawJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<Subject>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<UserId>,
}

/// The number that an event got.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub id: EventId,
    pub seq: Seq,
    pub time: Timestamp,
}

/// What to read of the log.
#[derive(Debug, Clone, Default)]
pub struct ReplayRequest {
    /// From the oldest kept where absent.
    pub since: Option<Cursor>,
    /// 1 to 1,000.
    pub limit: Option<u32>,
    /// How long the server may wait for an event where there is none; up to 60 s.
    pub wait: Option<Duration>,
    pub selection: Selection,
}

/// A piece of the log.
#[derive(Debug, Clone, Deserialize)]
pub struct EventsPage {
    #[serde(deserialize_with = "envelopes")]
    pub events: Vec<Envelope>,
    /// Where the next page starts, also where the filter let nothing through.
    pub next: Cursor,
    pub head: Seq,
    pub oldest: Seq,
}

fn envelopes<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Envelope>, D::Error> {
    Vec::<Box<RawValue>>::deserialize(d)?
        .into_iter()
        .map(|raw| {
            Envelope::parse(Bytes::from(String::from(Box::<str>::from(raw)))).map_err(D::Error::custom)
        })
        .collect()
}

#[derive(Deserialize)]
struct PublishedMany {
    events: Vec<Published>,
}

impl Client {
    /// When it returns, the event is on stable storage.
    pub async fn publish(
        &self,
        event: &PublishRequest,
        idempotency_key: Option<&str>,
    ) -> Result<Published, ClientError> {
        self.call(Call::post("api/v1/events").json(event).idempotency_key(idempotency_key)).await
    }

    /// All of them with consecutive seqs, or none; at most 1,000.
    pub async fn publish_many(
        &self,
        events: &[PublishRequest],
        idempotency_key: Option<&str>,
    ) -> Result<Vec<Published>, ClientError> {
        let call = Call::post("api/v1/events").json(&events).idempotency_key(idempotency_key);
        Ok(self.call::<PublishedMany>(call).await?.events)
    }

    /// One page of the log. A cursor that has no place in it is refused with 410.
    pub async fn replay(&self, request: &ReplayRequest) -> Result<EventsPage, ClientError> {
        let wait = request.wait.unwrap_or_default();
        let call = Call::get("api/v1/events")
            .query("since", request.since.as_ref())
            .query("limit", request.limit)
            .query("wait", request.wait.map(|w| w.as_secs()))
            .pairs(request.selection.pairs())
            .waiting(wait);
        self.call(call).await
    }
}
