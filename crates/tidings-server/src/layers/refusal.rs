use std::time::Duration;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use http::StatusCode;

use crate::settings::Settings;

/// Layer: holds a 429 back. Whoever asks again as soon as it is refused would have as much of the processor as it likes, and
/// that is all others' too; whoever waits as long as it is told to does not notice. Its connection keeps its place meanwhile; what is held back
/// is no request in flight.
pub(super) async fn delay(State(settings): State<Settings>, request: Request, next: Next) -> Response {
    let response = next.run(request).await;
    if response.status() == StatusCode::TOO_MANY_REQUESTS {
        let delay = settings.get().limits.refusal_delay.0;
        tokio::time::sleep(delay.map_or(Duration::ZERO, |delay| delay.0)).await;
    }
    response
}

#[cfg(test)]
mod tests {
    use axum::{Router, body::Body, middleware, routing::get};
    use tokio::time::Instant;
    use tower::ServiceExt as _;

    use super::*;
    use crate::config::{Config, Off, Span};

    async fn takes(path: &str, delay: Off<Span>) -> Duration {
        let mut config = Config::default();
        config.limits.refusal_delay = delay;
        let router: Router = Router::new()
            .route("/refused", get(async || StatusCode::TOO_MANY_REQUESTS))
            .route("/busy", get(async || StatusCode::SERVICE_UNAVAILABLE))
            .layer(middleware::from_fn_with_state(Settings::new(config), super::delay));
        let asked = Instant::now();
        let _ = router.oneshot(Request::get(path).body(Body::empty()).expect("a request")).await;
        asked.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn who_asked_for_too_much_is_answered_later_and_nobody_else() {
        let second = Off::at(Span::secs(1));
        assert_eq!(takes("/refused", second).await, Duration::from_secs(1));
        assert_eq!(takes("/busy", second).await, Duration::ZERO);
        assert_eq!(takes("/refused", Off::OFF).await, Duration::ZERO);
        assert_eq!(
            takes("/refused", Config::default().limits.refusal_delay).await,
            Duration::from_millis(100)
        );
    }
}
