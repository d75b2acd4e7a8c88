use http::{HeaderName, HeaderValue, Method, header, request::Parts};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::{access::TENANT_HEADER, quotas, request_id, settings::Settings};

/// Lets pages of the configured origins call the API; nobody else's, and never any origin. The origins
/// are those of now: a reload changes them. The upgrade's answer carries the headers too.
pub(super) fn layer(settings: &Settings) -> CorsLayer {
    let settings = settings.clone();
    let allowed = move |origin: &HeaderValue, _: &Parts| {
        settings.get().cors.origins.iter().any(|known| known.as_bytes() == origin.as_bytes())
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(allowed))
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            HeaderName::from_static("idempotency-key"),
            HeaderName::from_static("last-event-id"),
            TENANT_HEADER,
            request_id::HEADER,
        ])
        .expose_headers([
            request_id::HEADER,
            header::RETRY_AFTER,
            quotas::RATE_LIMIT,
            quotas::RATE_LIMIT_POLICY,
        ])
        .max_age(std::time::Duration::from_mins(10))
}
