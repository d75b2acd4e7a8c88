use std::ops::Deref;

use reqwest::Method;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::{Map, Value, value::RawValue};
use tidings_core::{EndpointId, EndpointSpec, Seq, Timestamp, UserId, webhook::Resume};

use crate::{Client, ClientError, request::Call};

/// An endpoint to be made.
#[derive(Debug, Clone, Serialize)]
pub struct NewWebhook {
    #[serde(flatten)]
    pub spec: EndpointSpec,
    /// What happened after it is sent as well; `None`: what happens from now on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Seq>,
    /// `v1`, or `v1a` for a key pair.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret_kind: Option<String>,
}

/// An endpoint as the server shows it: fields, and the very text that they were read from.
#[derive(Debug, Clone)]
pub struct WebhookView {
    fields: WebhookFields,
    text: Box<RawValue>,
}

#[derive(Debug, Clone, Deserialize)]
pub struct WebhookFields {
    pub id: EndpointId,
    pub url: String,
    #[serde(default)]
    pub description: String,
    /// active, paused or disabled.
    pub state: String,
    /// Why it is disabled.
    pub reason: Option<String>,
    pub failing_since: Option<Timestamp>,
    pub cursor: Seq,
    pub created_at: Timestamp,
    /// The secret that was made just now: nobody shows it again.
    pub secret: Option<String>,
    /// Where one endpoint is shown.
    pub backlog: Option<WebhookBacklog>,
    /// Those that sign, the newest last.
    #[serde(default)]
    pub secrets: Vec<WebhookSecret>,
}

/// A secret without what is secret of it.
#[derive(Debug, Clone, Deserialize)]
pub struct WebhookSecret {
    /// `v1`, or `v1a` of a key pair.
    pub kind: String,
    /// `whpk_…`, of a key pair: what a receiver verifies with.
    pub public_key: Option<String>,
    pub created_at: Timestamp,
    /// Until when it signs beside its successor.
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub struct WebhookBacklog {
    pub head: Seq,
    /// When the oldest event happened that is not done with.
    pub oldest: Option<Timestamp>,
    pub retrying: u64,
    pub dead: u64,
}

impl WebhookView {
    /// The endpoint's JSON, byte for byte as the server gave it.
    pub fn text(&self) -> &str {
        self.text.get()
    }

    /// The public key of its newest secret, where that is a key pair.
    pub fn public_key(&self) -> Option<&str> {
        self.secrets.last()?.public_key.as_deref()
    }
}

impl Deref for WebhookView {
    type Target = WebhookFields;
    fn deref(&self) -> &WebhookFields {
        &self.fields
    }
}

impl<'de> Deserialize<'de> for WebhookView {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(d)?;
        let fields = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        Ok(Self { fields, text })
    }
}

#[derive(Debug, Clone, Deserialize)]
pub struct WebhookPage {
    pub webhooks: Vec<WebhookView>,
    #[serde(default)]
    pub next: Option<String>,
}

/// Which deliveries are asked for: every attempt, newest first, where nothing is named.
#[derive(Debug, Clone, Default)]
pub struct DeliveriesRequest {
    /// `retrying` or `dead`: events, by seq.
    pub state: Option<String>,
    /// Attempts of this event alone.
    pub seq: Option<Seq>,
    pub limit: Option<u32>,
    pub cursor: Option<String>,
}

/// Attempts, or events that are retried or dead, each as the server's JSON.
#[derive(Debug, Clone, Deserialize)]
pub struct DeliveriesPage {
    pub deliveries: Vec<Box<RawValue>>,
    #[serde(default)]
    pub next: Option<String>,
}

/// What came of a sample event.
#[derive(Debug, Clone, Deserialize)]
pub struct WebhookTest {
    pub delivered: bool,
    /// `None`: no answer came.
    pub status: Option<u16>,
    /// What kind of failure it was.
    pub failure: Option<String>,
    pub latency_ms: u64,
    /// How the answer began, at most 4 KiB.
    pub answer: Option<String>,
}

/// What an endpoint is sent again.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum WebhookReplay {
    Event {
        seq: Seq,
    },
    Range {
        from: Seq,
        #[serde(skip_serializing_if = "Option::is_none")]
        to: Option<Seq>,
    },
    Time {
        since: Timestamp,
        #[serde(skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// Every dead letter, where it is true.
    Failures {
        failures: bool,
    },
}

#[derive(Deserialize)]
struct Replaying {
    deliveries: u64,
}

#[derive(Deserialize)]
struct Paused {
    paused: u64,
}

impl Client {
    /// The answer alone has the secret.
    pub async fn create_webhook(&self, webhook: &NewWebhook) -> Result<WebhookView, ClientError> {
        self.call(Call::post("api/v1/webhooks").json(webhook)).await
    }

    /// In the order in which they were made.
    pub async fn webhooks(&self, cursor: Option<&str>) -> Result<WebhookPage, ClientError> {
        self.call(Call::get("api/v1/webhooks").query("cursor", cursor)).await
    }

    pub async fn webhook(&self, id: EndpointId) -> Result<WebhookView, ClientError> {
        self.call(Call::get(path(id))).await
    }

    /// A JSON merge patch of what it was made with; null sets a field back to its default.
    pub async fn update_webhook(
        &self,
        id: EndpointId,
        patch: &Map<String, Value>,
    ) -> Result<WebhookView, ClientError> {
        self.call(Call::new(Method::PATCH, path(id)).json(patch)).await
    }

    pub async fn delete_webhook(&self, id: EndpointId) -> Result<(), ClientError> {
        self.exchange(Call::delete(path(id))).await.map(drop)
    }

    /// What happens meanwhile is kept for it.
    pub async fn pause_webhook(&self, id: EndpointId) -> Result<WebhookView, ClientError> {
        self.call(Call::post(format!("{}/pause", path(id)))).await
    }

    pub async fn enable_webhook(&self, id: EndpointId, from: Resume) -> Result<WebhookView, ClientError> {
        let from = match from {
            Resume::Cursor => "cursor",
            Resume::Now => "now",
        };
        self.call(Call::post(format!("{}/enable", path(id))).json(&serde_json::json!({ "from": from }))).await
    }

    /// `overlap` is how long its predecessors sign beside the new secret; the answer alone has it.
    pub async fn rotate_webhook_secret(
        &self,
        id: EndpointId,
        secret_kind: Option<&str>,
        overlap: Option<&str>,
    ) -> Result<WebhookView, ClientError> {
        let mut body = Map::new();
        for (name, value) in [("secret_kind", secret_kind), ("overlap", overlap)] {
            body.extend(value.map(|value| (name.to_owned(), Value::from(value))));
        }
        self.call(Call::post(format!("{}/rotate-secret", path(id))).json(&body)).await
    }

    /// Sends it a sample event now, in whatever state it is; that it was not delivered is no error.
    pub async fn test_webhook(&self, id: EndpointId) -> Result<WebhookTest, ClientError> {
        self.call(Call::post(format!("{}/test", path(id)))).await
    }

    pub async fn webhook_deliveries(
        &self,
        id: EndpointId,
        request: &DeliveriesRequest,
    ) -> Result<DeliveriesPage, ClientError> {
        let call = Call::get(format!("{}/deliveries", path(id)))
            .query("state", request.state.as_deref())
            .query("seq", request.seq)
            .query("limit", request.limit)
            .query("cursor", request.cursor.as_deref());
        self.call(call).await
    }

    /// How many events of the log, or dead letters, are gone through.
    pub async fn replay_webhook(&self, id: EndpointId, what: &WebhookReplay) -> Result<u64, ClientError> {
        let answer: Replaying = self.call(Call::post(format!("{}/replay", path(id))).json(what)).await?;
        Ok(answer.deliveries)
    }

    /// Pauses every active endpoint that carries this user's grant; how many.
    pub async fn pause_webhooks_of(&self, user: &UserId) -> Result<u64, ClientError> {
        let body = serde_json::json!({ "user": user });
        let answer: Paused = self.call(Call::post("api/v1/webhooks/pause").json(&body)).await?;
        Ok(answer.paused)
    }
}

fn path(id: EndpointId) -> String {
    format!("api/v1/webhooks/{id}")
}
