//! Shapes of the OpenAPI document whose JSON is written elsewhere, byte by byte.
#![allow(dead_code, reason = "these types describe JSON; none is ever made")]

use utoipa::ToSchema;

/// One item, or an array of at most 1,000.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum OneOrMany<T: ToSchema> {
    One(T),
    Many(Vec<T>),
}

/// A job and where it stands.
#[derive(ToSchema)]
pub(crate) struct Job {
    #[schema(format = "uuid")]
    id: String,
    tenant_id: String,
    r#type: String,
    /// scheduled, queued, running, completed, failed or cancelled
    state: String,
    /// The seq of its newest event.
    seq: u64,
    priority: i16,
    /// How many leases were spent on it.
    attempt: u32,
    max_attempts: u32,
    #[schema(format = "date-time")]
    created_at: String,
    payload: serde_json::Value,
    owner: Option<String>,
    subject: Option<String>,
    unique_key: Option<String>,
    /// The finished job that this one runs again.
    retry_of: Option<String>,
    #[schema(format = "date-time")]
    run_at: Option<String>,
    #[schema(format = "date-time")]
    started_at: Option<String>,
    #[schema(format = "date-time")]
    finished_at: Option<String>,
    worker: Option<String>,
    #[schema(format = "date-time")]
    lease_expires_at: Option<String>,
    cancel_requested: Option<bool>,
    percent: Option<u8>,
    /// For holders of `events:detail`.
    message: Option<String>,
    result: Option<serde_json::Value>,
    error: Option<JobError>,
}

/// Why the newest attempt failed.
#[derive(ToSchema)]
pub(crate) struct JobError {
    /// database, inference, validation, timeout, cancelled, dependency or internal
    category: String,
    /// Scrubbed of SQL, paths, addresses and tokens.
    message: String,
    /// For holders of `events:detail`: as the worker gave it.
    raw: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct JobPage {
    jobs: Vec<Job>,
    /// The cursor of the next page.
    next: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct Leases {
    leases: Vec<Lease>,
}

#[derive(ToSchema)]
#[allow(clippy::struct_field_names, reason = "the field's name is the API's")]
pub(crate) struct Lease {
    /// What every report about this lease names.
    lease: String,
    attempt: u32,
    /// When it is lost without a heartbeat.
    #[schema(format = "date-time")]
    expires_at: String,
    job: Job,
}

/// A committed fact: the same bytes on every transport.
#[derive(ToSchema)]
pub(crate) struct Event {
    seq: u64,
    #[schema(format = "uuid")]
    id: String,
    r#type: String,
    #[schema(format = "date-time")]
    time: String,
    tenant_id: String,
    job_id: Option<String>,
    job_type: Option<String>,
    owner: Option<String>,
    subject: Option<String>,
    data: serde_json::Value,
}

#[derive(ToSchema)]
pub(crate) struct EventPage {
    events: Vec<Event>,
    /// The cursor of the next page, also where the filter let nothing through.
    next: String,
    head: u64,
    oldest: u64,
}

/// The number that an event got.
#[derive(ToSchema)]
pub(crate) struct Published {
    #[schema(format = "uuid")]
    id: String,
    seq: u64,
    #[schema(format = "date-time")]
    time: String,
}

/// What is left out is the minter's own.
#[derive(ToSchema)]
pub(crate) struct TicketRequest {
    user: Option<String>,
    scopes: Option<Vec<String>>,
    subjects: Option<Vec<String>>,
    tenant: Option<String>,
    /// The page's origin, which alone may use it then.
    origin: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct Ticket {
    ticket: String,
    #[schema(format = "date-time")]
    expires_at: String,
}

/// Tenant ids, or `"all"`.
#[derive(ToSchema)]
#[serde(untagged)]
pub(crate) enum Reach {
    Set(Vec<String>),
    All(EveryTenant),
}

#[derive(ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EveryTenant {
    All,
}

/// An API key without its secret.
#[derive(ToSchema)]
pub(crate) struct Key {
    #[schema(format = "uuid")]
    id: String,
    name: String,
    /// `{"one":"<tenant>"}`, `{"set":[…]}` or `"all"`.
    tenants: serde_json::Value,
    user: Option<String>,
    scopes: Vec<String>,
    subjects: Option<Vec<String>>,
    #[schema(format = "date-time")]
    created_at: Option<String>,
    #[schema(format = "date-time")]
    expires_at: Option<String>,
    #[schema(format = "date-time")]
    revoked_at: Option<String>,
}

/// A key just made: the only time that its secret is shown.
#[derive(ToSchema)]
pub(crate) struct NewKey {
    #[schema(format = "uuid")]
    id: String,
    /// The whole credential.
    key: String,
    name: String,
    tenants: serde_json::Value,
    user: Option<String>,
    scopes: Vec<String>,
    subjects: Option<Vec<String>>,
    #[schema(format = "date-time")]
    expires_at: Option<String>,
}

#[derive(ToSchema)]
pub(crate) struct KeyPage {
    keys: Vec<Key>,
    next: Option<String>,
}

/// RFC 9457.
#[derive(ToSchema)]
pub(crate) struct Problem {
    /// `urn:tidings:problem:<name>`: stable, programs decide by it.
    r#type: String,
    title: String,
    status: u16,
    /// For people.
    detail: String,
    request_id: Option<String>,
    /// Where in the body (`invalid-body`).
    path: Option<String>,
    /// epoch, ahead or expired (`cursor-gone`).
    reason: Option<String>,
    epoch: Option<String>,
    oldest: Option<u64>,
    head: Option<u64>,
}
