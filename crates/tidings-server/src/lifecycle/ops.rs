use axum::{
    Router,
    extract::State,
    response::{IntoResponse as _, Response},
    routing::get,
};
use http::{HeaderValue, header};

use crate::{app::App, layers, routes::table};

/// What operators' programs ask, on an address of their own.
pub(super) fn router(app: &App) -> Router {
    layers::plain(
        table::collected(table::health()).route("/metrics", get(metrics)).with_state(app.clone()),
        app,
    )
}

async fn metrics(State(app): State<App>) -> Response {
    const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, HeaderValue::from_static(OPEN_METRICS))], app.scrape()).into_response()
}
