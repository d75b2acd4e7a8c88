use std::any::Any;

use axum::{body::Body, response::IntoResponse as _};
use http::Response;
use tower_http::catch_panic::ResponseForPanic;

use crate::{metrics::Metrics, refusal};

/// A handler's panic harms its own request alone: 500, counted. The panic hook has logged it.
#[derive(Debug, Clone)]
pub(super) struct Answer(pub(super) Metrics);

impl ResponseForPanic for Answer {
    type ResponseBody = Body;

    fn response_for_panic(&mut self, _: Box<dyn Any + Send + 'static>) -> Response<Body> {
        self.0.http.panics.inc();
        refusal::internal().into_response()
    }
}
