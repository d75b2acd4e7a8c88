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

#[cfg(test)]
mod tests {
    use axum::{Router, extract::Request, routing::get};
    use http::StatusCode;
    use tower::ServiceExt as _;
    use tower_http::catch_panic::CatchPanicLayer;

    use super::*;
    use crate::problem::{Kind, Problem};

    #[tokio::test]
    async fn a_panic_is_a_counted_problem_and_the_next_request_is_served() {
        let metrics = Metrics::new();
        let router: Router = Router::new()
            .route("/panics", get(async || -> &'static str { panic!("on purpose") }))
            .route("/works", get(async || "works"))
            .layer(CatchPanicLayer::custom(Answer(metrics.clone())));
        let ask = async |path: &str| {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            router.clone().oneshot(request).await.expect("never fails")
        };
        let answer = ask("/panics").await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(answer.extensions().get::<Problem>().map(Problem::kind), Some(Kind::Internal));
        assert_eq!(ask("/works").await.status(), StatusCode::OK);
        assert!(metrics.encode().contains("http_panics_total 1"));
    }
}
