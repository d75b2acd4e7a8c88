use std::sync::Arc;

use axum::{extract::State, response::Response};
use http::StatusCode;
use serde_json::{Map, Value, json};
use tidings_core::{EndpointId, ReplayId, Seq, StrictObject, TenantId, Timestamp, webhook::Replay};
use tidings_store::{Operation, Outcome, ReplayWhat, Store};

use crate::{
    access::{Access, may},
    body::{self, Json, invalid},
    ids::Ids,
    path::Id,
    problem::{Kind, Problem},
    refusal,
    webhooks::Changes,
};

use super::{kept, request::finish, visible};

/// Send an endpoint something again: `{"seq":n}`, `{"from":n,"to":n}`, `{"since":time,"until":time}` or
/// `{"failures":true}`. What it may not see, or does not ask for any more, is left out.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/replay", tag = "webhooks", operation_id = "replay_webhook",
    params(("id" = String, Path, format = "uuid")), request_body = crate::openapi::WebhookReplay,
    responses((status = 202, description = "How many events of the log, or dead letters, are gone through", body = crate::openapi::Replaying)),
)]
pub(crate) async fn replay(
    access: Access<may::ManageWebhooks>,
    Id(id): Id<EndpointId>,
    State(store): State<Arc<dyn Store>>,
    State(changes): State<Changes>,
    State(ids): State<Ids>,
    Json(StrictObject(fields)): Json<StrictObject>,
) -> Result<Response, Problem> {
    visible(&*store, &access, id).await?;
    let what = wanted(&*store, &access.tenant, ids.replay(), fields).await?;
    let mut all = 0;
    loop {
        let command = access.command(Operation::Replay { endpoint: id, what })?;
        match changes.submit_below(command, full()).await? {
            Outcome::Replaying { deliveries, more } => {
                all += deliveries;
                if !more {
                    return Ok(body::json(StatusCode::ACCEPTED, &json!({ "deliveries": all })));
                }
            }
            other => unreachable!("a replay is answered by its size, not by {other:?}"),
        }
    }
}

fn full() -> Problem {
    let detail = format!(
        "{} ranges are sent again to the endpoint at once, as many as may be. Wait until one is done.",
        Replay::MAX
    );
    Problem::new(Kind::LimitReached, detail)
}

async fn wanted(
    store: &dyn Store,
    tenant: &TenantId,
    id: ReplayId,
    mut fields: Map<String, Value>,
) -> Result<ReplayWhat, Problem> {
    let mut take = |name: &str| fields.remove(name);
    let named = [take("failures"), take("seq"), take("from"), take("to"), take("since"), take("until")];
    finish(&fields)?;
    match named {
        [Some(Value::Bool(true)), None, None, None, None, None] => Ok(ReplayWhat::Failures),
        [None, Some(seq), None, None, None, None] => {
            Ok(ReplayWhat::Event { id, seq: number("$.seq", &seq)? })
        }
        [None, None, Some(from), to, None, None] => {
            let to = to.map_or(Ok(Seq::MAX), |to| number("$.to", &to))?;
            Ok(ReplayWhat::Range { id, from: number("$.from", &from)?, to })
        }
        [None, None, None, None, Some(since), until] => {
            let from = seq_at(store, tenant, time("$.since", &since)?).await?;
            let to = match until {
                Some(until) => seq_at(store, tenant, time("$.until", &until)?).await?.prev(),
                None => Seq::MAX,
            };
            Ok(ReplayWhat::Range { id, from, to })
        }
        _ => Err(invalid("$", "name seq, from (and to), since (and until), or failures")),
    }
}

async fn seq_at(store: &dyn Store, tenant: &TenantId, time: Timestamp) -> Result<Seq, Problem> {
    let seq = kept(store)?.seq_at(tenant, time).await.map_err(|e| refusal::of_read(&e))?;
    seq.ok_or_else(Problem::not_found)
}

fn number(path: &str, value: &Value) -> Result<Seq, Problem> {
    value.as_u64().map(Seq::new).ok_or_else(|| invalid(path, "it is a seq"))
}

fn time(path: &str, value: &Value) -> Result<Timestamp, Problem> {
    let parsed = value.as_str().and_then(|text| Timestamp::parse(text).ok());
    parsed.ok_or_else(|| invalid(path, "it is a time such as 2026-11-23T07:12:09Z"))
}
