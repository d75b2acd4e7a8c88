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

use super::{
    kept,
    request::{finish, seq as number},
    visible,
};

/// Send an endpoint something again: `{"seq":n}`, `{"from":n,"to":n}`, `{"since":time,"until":time}` or
/// `{"failures":true}`. `until` itself is not included, `to` is. What it may not see, or does not ask for any more, is left out.
/// 422 says why where there is nothing to go through.
#[utoipa::path(
    post, path = "/api/v1/webhooks/{id}/replay", tag = "webhooks", operation_id = "replay_webhook",
    params(("id" = String, Path, format = "uuid")), request_body = crate::openapi::WebhookReplay,
    responses((status = 202, description = "Events in the range, or dead letters: those that the filter and the grant let through are delivered", body = crate::openapi::Replaying)),
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
    let timed = fields.contains_key("since");
    let what = wanted(&*store, &access.tenant, ids.replay(), fields).await?;
    let mut all = 0;
    loop {
        let command = access.command(Operation::Replay { endpoint: id, what })?;
        let outcome = match changes.submit_below(command, full()).await {
            Err(problem) if problem.kind() == Kind::NotFound => {
                // The endpoint may have gone meanwhile; else it is the log that has nothing of the kind.
                visible(&*store, &access, id).await?;
                return Err(nothing(&*store, &access.tenant, what, timed).await?);
            }
            outcome => outcome?,
        };
        match outcome {
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

/// Why there is nothing to be sent again.
async fn nothing(
    store: &dyn Store,
    tenant: &TenantId,
    what: ReplayWhat,
    timed: bool,
) -> Result<Problem, Problem> {
    let log = store.log_state(tenant).await.map_err(|e| refusal::of_read(&e))?;
    let Some(log) = log else { return Ok(Problem::not_found()) };
    let head = || format!("the head is {}", log.head);
    let kept = || format!("the log is kept from {} on", log.oldest);
    Ok(match what {
        ReplayWhat::Range { .. } if timed => invalid("$", "no event in that time"),
        ReplayWhat::Range { from, to, .. } if to < from => invalid("$.to", "to lies before from"),
        ReplayWhat::Range { from, .. } if from > log.head => invalid("$.from", head()),
        ReplayWhat::Range { .. } => invalid("$.to", kept()),
        ReplayWhat::Event { seq, .. } if seq == Seq::ZERO => invalid("$.seq", "seqs begin with 1"),
        ReplayWhat::Event { seq, .. } if seq > log.head => invalid("$.seq", head()),
        ReplayWhat::Event { .. } => invalid("$.seq", format_args!("{}, and it is no dead letter", kept())),
        ReplayWhat::Failures => Problem::not_found(),
    })
}

async fn seq_at(store: &dyn Store, tenant: &TenantId, time: Timestamp) -> Result<Seq, Problem> {
    let seq = kept(store)?.seq_at(tenant, time).await.map_err(|e| refusal::of_read(&e))?;
    seq.ok_or_else(Problem::not_found)
}

fn time(path: &str, value: &Value) -> Result<Timestamp, Problem> {
    let parsed = value.as_str().and_then(|text| Timestamp::parse(text).ok());
    parsed.ok_or_else(|| invalid(path, "it is a time such as 2026-11-23T07:12:09Z"))
}
