//! What every request passes, outermost first: its id, the rendering of problems, metrics, the limits of its
//! address, panics, CORS.
//! Then the route; there credential, scope and look-up, in this order.

mod address;
mod cors;
mod observe;
mod panics;

use axum::{Router, middleware};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use crate::{
    app::App,
    problem::{self, Kind, Problem},
    request_id,
    routes::table,
};

impl App {
    /// The whole HTTP API and both live transports. It mounts in any axum application; served by
    /// anything but our own [`Server`](crate::Server), live connections take the generic path.
    pub fn router(&self) -> Router {
        let config = self.settings().get();
        let layers = ServiceBuilder::new()
            .layer(middleware::from_fn(request_id::assign))
            .layer(middleware::from_fn(problem::render))
            .layer(middleware::from_fn_with_state(self.metrics().clone(), observe::observe))
            .layer(middleware::from_fn_with_state(self.clone(), address::limit))
            .layer(CatchPanicLayer::custom(panics::Answer(self.metrics().clone())))
            .layer(cors::layer(self.settings()));
        table::router(&config)
            .fallback(no_route)
            .method_not_allowed_fallback(no_method)
            .layer(layers)
            .with_state(self.clone())
    }
}

async fn no_route() -> Problem {
    Problem::new(Kind::NotFound, "There is no such route.")
}

async fn no_method(method: http::Method) -> Problem {
    Problem::new(Kind::MethodNotAllowed, format!("{method} is not possible here: see the header Allow."))
}
