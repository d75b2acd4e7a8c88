//! Shapes of webhooks, whose JSON is written elsewhere.
#![allow(dead_code, reason = "these types describe JSON; none is ever made")]

use std::collections::BTreeMap;

use utoipa::ToSchema;

/// What an endpoint is told to do. Only `url` is needed.
#[derive(ToSchema)]
pub(crate) struct NewWebhook {
    #[schema(example = "https://example.com/hook", max_length = 2048)]
    url: String,
    /// Without control characters.
    #[schema(max_length = 1024)]
    description: Option<String>,
    /// `{"types":["job.*"],"subject":["note/*"],"job_type":[…],"job_id":[…],"owner":["me"]}`, as of a stream.
    filter: Option<serde_json::Value>,
    /// minimal (where absent) or detail.
    verbosity: Option<String>,
    /// standard (where absent), cloudevents or cloudevents-binary.
    format: Option<String>,
    /// Strictly in the order of the log: an event that fails holds back those after it.
    ordered: Option<bool>,
    /// Up to 16 headers of its own.
    headers: Option<BTreeMap<String, String>>,
    /// Up to 16 notes of the tenant's own.
    metadata: Option<BTreeMap<String, String>>,
    /// How many requests may be under way at once; 8 where absent.
    #[schema(minimum = 1, maximum = 256)]
    concurrency: Option<u16>,
    /// Such as `10/s` or `100/m`.
    rate: Option<String>,
    /// For a whole attempt: 1s to 30s.
    timeout: Option<String>,
    /// "default", "standard" (over 28 hours) or a list of durations.
    retries: Option<serde_json::Value>,
    /// Percent by which a delay may grow.
    #[schema(maximum = 100)]
    jitter: Option<u8>,
    /// Whether a disabled endpoint is tried now and then, so that it heals by itself.
    probe: Option<bool>,
    /// v1 (where absent): a shared secret; v1a: a key pair.
    secret_kind: Option<String>,
    /// A seq up to the head: what happened after it is sent as well. From now where absent.
    since: Option<u64>,
}

/// What is to change; null sets a field back to its default.
#[derive(ToSchema)]
pub(crate) struct WebhookPatch {
    url: Option<String>,
    description: Option<String>,
    filter: Option<serde_json::Value>,
    verbosity: Option<String>,
    format: Option<String>,
    ordered: Option<bool>,
    /// Name by name: null takes one away.
    headers: Option<serde_json::Value>,
    /// Name by name: null takes one away.
    metadata: Option<serde_json::Value>,
    concurrency: Option<u16>,
    rate: Option<String>,
    timeout: Option<String>,
    retries: Option<serde_json::Value>,
    jitter: Option<u8>,
    probe: Option<bool>,
}

/// An endpoint and where it stands.
#[derive(ToSchema)]
pub(crate) struct Webhook {
    #[schema(format = "uuid")]
    id: String,
    tenant_id: String,
    url: String,
    description: Option<String>,
    filter: serde_json::Value,
    verbosity: String,
    format: String,
    ordered: bool,
    headers: Option<BTreeMap<String, String>>,
    metadata: Option<BTreeMap<String, String>>,
    concurrency: u16,
    rate: Option<String>,
    timeout: Option<String>,
    retries: serde_json::Value,
    jitter: u8,
    probe: bool,
    /// active, paused or disabled
    state: String,
    /// failing or gone, where it is disabled
    reason: Option<String>,
    #[schema(format = "date-time")]
    state_since: Option<String>,
    #[schema(format = "date-time")]
    failing_since: Option<String>,
    /// Every event up to here was delivered, is retried or dead, or does not match.
    cursor: u64,
    /// What it may be sent at most: its creator's grant.
    grant: serde_json::Value,
    secrets: Vec<WebhookSecret>,
    #[schema(format = "date-time")]
    created_at: String,
    /// The secret that was made just now: the only time that it is shown. `whsec_…` is for the receiver too; `whsk_…` is a private
    /// key, and the receiver gets `public_key` of `secrets` instead.
    secret: Option<String>,
    /// Where one endpoint is shown.
    backlog: Option<WebhookBacklog>,
    /// Ranges that it is being sent again, where one endpoint is shown.
    replays: Option<Vec<WebhookReplaying>>,
}

/// A secret without what is secret of it.
#[derive(ToSchema)]
pub(crate) struct WebhookSecret {
    #[schema(format = "uuid")]
    id: String,
    kind: String,
    /// `whpk_…`, of a key pair.
    public_key: Option<String>,
    #[schema(format = "date-time")]
    created_at: String,
    #[schema(format = "date-time")]
    expires_at: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct WebhookBacklog {
    head: u64,
    /// When the oldest event happened that is not done with.
    #[schema(format = "date-time")]
    oldest: Option<String>,
    retrying: u64,
    dead: u64,
}

#[derive(ToSchema)]
pub(crate) struct WebhookReplaying {
    #[schema(format = "uuid")]
    id: String,
    from: u64,
    to: u64,
    position: u64,
    #[schema(format = "date-time")]
    created_at: String,
}

#[derive(ToSchema)]
pub(crate) struct WebhookPage {
    webhooks: Vec<Webhook>,
    next: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct WebhookEnable {
    /// cursor (where absent): nothing is lost; now: what lies after the cursor is passed over. What waits to be tried again is
    /// tried, dead letters stay and replays go on, either way.
    from: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct WebhookRotate {
    /// How long its predecessors sign beside it: 24h where absent, at most 7d.
    overlap: Option<String>,
    /// v1 or v1a; as before where absent.
    secret_kind: Option<String>,
}

/// One of: `seq`; `from` (and `to`); `since` (and `until`); `failures`.
#[derive(ToSchema)]
pub(crate) struct WebhookReplay {
    seq: Option<u64>,
    from: Option<u64>,
    to: Option<u64>,
    #[schema(format = "date-time")]
    since: Option<String>,
    /// Not included itself.
    #[schema(format = "date-time")]
    until: Option<String>,
    failures: Option<bool>,
}

#[derive(ToSchema)]
pub(crate) struct Replaying {
    /// Events in the range as far as the log is kept, or dead letters: those that the filter and the grant let through are
    /// delivered.
    deliveries: u64,
}

#[derive(ToSchema)]
pub(crate) struct PausedWebhooks {
    paused: u64,
}

/// An attempt; or, with `state`, an event that is retried or dead.
#[derive(ToSchema)]
pub(crate) struct Delivery {
    seq: u64,
    #[schema(format = "uuid")]
    event_id: String,
    #[schema(format = "uuid")]
    endpoint_id: Option<String>,
    event_type: Option<String>,
    attempt: Option<u32>,
    attempts: Option<u32>,
    state: Option<String>,
    #[schema(format = "date-time")]
    at: Option<String>,
    latency_ms: Option<u64>,
    status: Option<u16>,
    request_bytes: Option<u32>,
    answer_bytes: Option<u32>,
    /// How the answer began, at most 4 KiB.
    answer: Option<String>,
    /// refused, resolve, connect, tls, timeout, closed, protocol, redirect, status, throttled, gone or internal
    failure: Option<String>,
    #[schema(format = "date-time")]
    next_at: Option<String>,
    /// What was sent, of a dead letter.
    body: Option<serde_json::Value>,
}

#[derive(ToSchema)]
pub(crate) struct DeliveryPage {
    deliveries: Vec<Delivery>,
    next: Option<String>,
}

/// What came of a sample event.
#[derive(ToSchema)]
pub(crate) struct WebhookTest {
    delivered: bool,
    latency_ms: u64,
    status: Option<u16>,
    /// How the answer began, at most 4 KiB.
    answer: Option<String>,
    /// As of an attempt.
    failure: Option<String>,
}
