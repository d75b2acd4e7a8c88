use std::time::Duration;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::{IntoResponse as _, Response},
};

use prometheus_client::metrics::gauge::Gauge;

use crate::{
    metrics::Metrics,
    problem::{Kind, Problem},
    settings::Settings,
};

const SOON: Duration = Duration::from_secs(1);

/// Requests that are being answered, and how many may be.
#[derive(Debug, Clone)]
pub(super) struct InFlight {
    now: Gauge,
    settings: Settings,
}

/// One request's place; it ends with the answer's head, so that a stream holds none.
struct Place(Gauge);

impl InFlight {
    pub(super) fn new(settings: &Settings, metrics: &Metrics) -> Self {
        Self { now: metrics.http.in_flight.clone(), settings: settings.clone() }
    }

    fn enter(&self) -> Result<Place, Problem> {
        let max = self.settings.get().limits.requests_in_flight;
        let place = Place(self.now.clone());
        // It was as many before.
        if self.now.inc() < max as i64 {
            return Ok(place);
        }
        let detail = format!(
            "The server answers {max} requests at one time (limits.requests_in_flight). Nothing was done."
        );
        Err(Problem::new(Kind::Busy, detail).with("limit", "limits.requests_in_flight").retry_after(SOON))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Layer: refuses what is too much at one time, before anything of it is looked at. Whether the server lives is told
/// all the same.
pub(super) async fn limit(State(in_flight): State<InFlight>, request: Request, next: Next) -> Response {
    if request.uri().path().starts_with("/health") {
        return next.run(request).await;
    }
    match in_flight.enter() {
        Ok(_place) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
