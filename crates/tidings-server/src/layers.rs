//! What every request passes, outermost first: its id, the rendering of problems, the delay of a 429, metrics, whether it is HTTP of one
//! meaning, CORS (a page may read why it was refused), how many are being answered, the limits of its address, what is told of quotas,
//! panics, the encoding of its body.
//! Then the route; there credential, scope and look-up, in this order.

mod address;
mod cors;
mod encoding;
mod in_flight;
mod observe;
mod panics;
mod refusal;
mod unfit;

use axum::{Router, middleware};
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use self::in_flight::InFlight;
use crate::{
    app::App,
    problem::{self, Kind, Problem},
    quotas, request_id,
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
            .layer(middleware::from_fn_with_state(self.settings().clone(), refusal::delay))
            .layer(middleware::from_fn_with_state(self.metrics().clone(), observe::observe))
            .layer(middleware::from_fn(unfit::refuse))
            .layer(cors::layer(self.settings()))
            .layer(middleware::from_fn_with_state(
                InFlight::new(self.settings(), self.metrics()),
                in_flight::limit,
            ))
            .layer(middleware::from_fn_with_state(self.clone(), address::limit))
            .layer(middleware::from_fn(quotas::tell))
            .layer(CatchPanicLayer::custom(panics::Answer(self.metrics().clone())))
            .layer(middleware::from_fn(encoding::refuse));
        table::router(&config)
            .fallback(no_route)
            .method_not_allowed_fallback(no_method)
            .layer(layers)
            .with_state(self.clone())
    }
}

/// Of the operators' routes: ids, problems and their count, HTTP of one meaning.
pub(crate) fn plain(routes: Router, app: &App) -> Router {
    let layers = ServiceBuilder::new()
        .layer(middleware::from_fn(request_id::assign))
        .layer(middleware::from_fn(problem::render))
        .layer(middleware::from_fn_with_state(app.metrics().clone(), observe::problems))
        .layer(middleware::from_fn(unfit::refuse));
    routes.fallback(no_route_here).method_not_allowed_fallback(no_method).layer(layers)
}

async fn no_route_here() -> Problem {
    let detail =
        "There is no such route at the operators' address (server.ops_listen): the API is at server.listen.";
    Problem::new(Kind::NotTheApi, detail)
}

async fn no_route() -> Problem {
    Problem::new(Kind::NotFound, "There is no such route.")
}

async fn no_method(method: http::Method) -> Problem {
    Problem::new(Kind::MethodNotAllowed, format!("{method} is not possible here: see the header Allow."))
}
