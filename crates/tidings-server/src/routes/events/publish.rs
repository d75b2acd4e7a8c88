use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use tidings_core::{
    EventBody, EventId, EventType, NewEvent, Principal, RawJson, Seq, Subject, Timestamp, UserId,
};
use tidings_store::{Journal, Operation, Outcome, Published};

use crate::{
    access::{self, Access, may},
    body,
    config::Limits,
    idempotency::IdempotencyKey,
    ids::Ids,
    problem::Problem,
    quotas::Metered,
    routes::{batch, submit},
    settings::Settings,
};

use super::cloud_events::EventsText;

/// An event to be published.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PublishRequest)]
pub(crate) struct PublishRequest {
    /// A dotted lower-case name outside the families job, webhook and stream.
    #[serde(deserialize_with = "published_type")]
    #[schema(value_type = String, example = "note.created", max_length = 100)]
    r#type: EventType,
    /// Any JSON; null where absent. It is minified and otherwise never altered.
    #[schema(value_type = Option<serde_json::Value>)]
    data: Option<RawJson>,
    #[schema(value_type = Option<String>, max_length = 255)]
    subject: Option<Subject>,
    /// Whoever publishes, where absent.
    #[schema(value_type = Option<String>, max_length = 255)]
    owner: Option<UserId>,
}

pub(super) fn published_type<'de, D: Deserializer<'de>>(d: D) -> Result<EventType, D::Error> {
    let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
    EventType::published(&text).map_err(D::Error::custom)
}

#[derive(Serialize)]
struct Answer {
    id: EventId,
    seq: Seq,
    time: Timestamp,
}

#[derive(Serialize)]
struct Answers {
    events: Vec<Answer>,
}

/// Publish one event, or several with consecutive seqs. CloudEvents 1.0 are taken too: structured
/// (`application/cloudevents+json`), batched (`application/cloudevents-batch+json`) and in binary mode (`ce-` headers).
#[utoipa::path(
    post, path = "/api/v1/events", tag = "events",
    params(("Idempotency-Key" = Option<String>, Header, description = "A repeat with the same body by the same user within 24 h returns the first outcome")),
    request_body(content = inline(crate::openapi::OneOrMany<PublishRequest>)),
    responses((status = 201, description = "On stable storage: the event's number, or {\"events\":[…]} for an array", body = crate::openapi::Published)),
)]
pub(crate) async fn publish(
    access: Access<may::PublishEvents>,
    State(journal): State<Journal>,
    State(settings): State<Settings>,
    State(ids): State<Ids>,
    key: IdempotencyKey,
    events: EventsText,
) -> Result<Response, Problem> {
    let config = Arc::clone(&settings.get());
    let requests = batch(events.requests()?, config.limits.batch_items)?;
    let text = events.text;
    let events = requests.try_map(|path, r| r.into_event(path, &access.principal, &config.limits, &ids))?;
    let one = events.is_one();
    let events = events.into_vec();
    access.spend(Metered::Publishes, events.len())?;
    let idempotency = key.under("POST /events", &access.principal, &text);
    let operation = Operation::Publish { events, idempotency };
    match submit(&journal, access.command(operation)?).await? {
        Outcome::Published(published) => Ok(answer(published, one)),
        other => unreachable!("publishing is answered by seqs, not by {other:?}"),
    }
}

fn answer(published: Vec<Published>, one: bool) -> Response {
    let mut answers = published.into_iter().map(|Published { seq, id, time }| Answer { id, seq, time });
    match one.then(|| answers.next()).flatten() {
        Some(only) => body::json(StatusCode::CREATED, &only),
        None => body::json(StatusCode::CREATED, &Answers { events: answers.collect() }),
    }
}

impl PublishRequest {
    pub(super) const fn new(
        r#type: EventType,
        data: Option<RawJson>,
        subject: Option<Subject>,
        owner: Option<UserId>,
    ) -> Self {
        Self { r#type, data, subject, owner }
    }

    fn into_event(
        self,
        path: &str,
        principal: &Principal,
        limits: &Limits,
        ids: &Ids,
    ) -> Result<NewEvent, Problem> {
        let data = self.data.unwrap_or_else(RawJson::null);
        body::within_limits(&data, path, "data", limits)?;
        access::may_write_about(principal, self.subject.as_ref())?;
        Ok(NewEvent {
            id: ids.event(),
            event_type: self.r#type,
            job: None,
            owner: access::owner_of(principal, self.owner)?,
            subject: self.subject,
            body: EventBody::same_for_all(data),
        })
    }
}
