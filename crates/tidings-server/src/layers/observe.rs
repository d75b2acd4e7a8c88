use std::time::Instant;

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};
use http::Method;

use crate::{metrics::Metrics, problem::Problem};

/// Layer: counts answers and problems. It sees route templates, never paths.
pub(super) async fn observe(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let method = label(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    metrics.http.answered(route, method, response.status().as_u16(), started.elapsed());
    if let Some(problem) = response.extensions().get::<Problem>() {
        metrics.http.problem(problem);
    }
    response
}

/// Layer: counts problems alone, where being asked is no traffic.
pub(super) async fn problems(State(metrics): State<Metrics>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if let Some(problem) = response.extensions().get::<Problem>() {
        metrics.http.problem(problem);
    }
    response
}

/// Any token may be a method; as a label only known ones may appear.
const fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::HEAD => "HEAD",
        _ => "other",
    }
}
