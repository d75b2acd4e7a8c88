use std::{sync::Arc, time::Duration};

use axum::{extract::State, response::Response};
use http::StatusCode;
use tidings_core::{Cursor, Seq, Verbosity};
use tidings_live::{FeedId, Hub, Watcher};
use tidings_store::{Journal, Store};
use tokio::{sync::Notify, time::Instant};

use crate::{
    access::{Access, StreamAccess, forbidden, may},
    body,
    drain::Drain,
    params::Params,
    problem::{Kind, Problem},
};

use super::{
    replay_text,
    scan::{Found, Sieve, scan},
};

struct Request {
    since: Option<Cursor>,
    limit: usize,
    wait: Duration,
    verbosity: Verbosity,
    sieve: Sieve,
}

/// Read the log: a page, or with `Accept: text/event-stream` a stream.
#[utoipa::path(
    get, path = "/api/v1/events", tag = "events", operation_id = "read_events",
    params(
        ("since" = Option<String>, Query, description = "A cursor. Absent: a page from the oldest kept, a stream from now"),
        ("limit" = Option<u32>, Query, minimum = 1, maximum = 1000, description = "Pages only; 1000 where absent"),
        ("wait" = Option<u32>, Query, maximum = 60, description = "Pages only: seconds to wait for an event when there is none"),
        ("types" = Option<String>, Query, description = "Patterns such as `job.*`, joined by commas"),
        ("job_id" = Option<String>, Query), ("job_type" = Option<String>, Query),
        ("subject" = Option<String>, Query, description = "Patterns such as `note/*`"),
        ("owner" = Option<String>, Query, description = "Users, or `me`"),
        ("verbosity" = Option<String>, Query, description = "minimal, detail or debug"),
        ("ticket" = Option<String>, Query, description = "A connection ticket instead of the Authorization header"),
        ("Last-Event-ID" = Option<String>, Header, description = "Streams only: wins over `since`"),
    ),
    responses(
        (status = 200, description = "A page, or the stream", content(
            (crate::openapi::EventPage = "application/json"), (String = "text/event-stream"),
        )),
        (status = 410, description = "The cursor has no place in this log", body = crate::openapi::Problem, content_type = "application/problem+json"),
    ),
)]
#[allow(dead_code, reason = "stands for the route in the OpenAPI document")]
pub(crate) fn read() {}

pub(crate) async fn replay(
    access: StreamAccess,
    State(store): State<Arc<dyn Store>>,
    State(hub): State<Hub>,
    State(journal): State<Journal>,
    State(drain): State<Drain>,
    params: Params,
) -> Result<Response, Problem> {
    let access = access.0;
    let request = Request::read(&access, params)?;
    if access.may_create && request.wait.is_zero() {
        return empty(request.since.as_ref());
    }
    // Registered first, looked at afterwards: nothing that is committed in between is missed.
    let bell = Arc::new(Bell::default());
    let _watch = if request.wait.is_zero() {
        None
    } else {
        Some(access.feed(&hub, &journal).await?.watch(bell.clone()))
    };
    let deadline = Instant::now() + request.wait;
    let mut since = request.since;
    loop {
        let found = scan(&*store, &access.tenant, since.as_ref(), request.limit, &request.sieve).await?;
        let over =
            !found.events.is_empty() || found.scanned_to < found.log.head || Instant::now() >= deadline;
        if over || drain.has_begun() {
            return Ok(answer(&found, request.verbosity));
        }
        since = Some(found.next());
        tokio::select! {
            () = bell.0.notified() => {}
            () = drain.started() => {}
            () = tokio::time::sleep_until(deadline) => {}
        }
    }
}

impl Request {
    fn read(access: &Access<may::ReadEvents>, mut params: Params) -> Result<Self, Problem> {
        let principal = &access.principal;
        // It was redeemed for the principal.
        params.take_text("ticket")?;
        let request = Self {
            since: params.take_cursor("since")?,
            limit: params.take_number("limit", 1..=1_000)?.unwrap_or(1_000) as usize,
            wait: Duration::from_secs(params.take_number("wait", 0..=60)?.unwrap_or(0).into()),
            verbosity: params.take_verbosity(principal, access.development())?,
            sieve: Sieve { filter: params.take_filter(principal.user())?, audience: principal.audience() },
        };
        params.finish()?;
        if request.sieve.filter.owners().any(|owner| !principal.may_act_for(Some(owner))) {
            return Err(forbidden("Your credential stands for a user and may name only that user as owner."));
        }
        Ok(request)
    }
}

/// The log of a tenant that its first use will make.
fn empty(since: Option<&Cursor>) -> Result<Response, Problem> {
    if since.is_some_and(|cursor| cursor.epoch.is_some() || cursor.seq > Seq::ZERO) {
        let problem = Problem::new(Kind::CursorGone, "This tenant's log is empty. Start again with since=0.");
        return Err(problem.with("reason", "ahead").with("oldest", 1).with("head", 0));
    }
    Ok(body::raw(StatusCode::OK, &br#"{"events":[],"next":"0","head":0,"oldest":1}"#[..]))
}

fn answer(found: &Found, verbosity: Verbosity) -> Response {
    replay_text(found.events.iter(), verbosity, &found.next(), &found.log)
}

/// Rings when the feed has moved.
#[derive(Default)]
struct Bell(Notify);

impl Watcher for Bell {
    fn advanced(&self, _: FeedId) {
        self.0.notify_one();
    }
}
