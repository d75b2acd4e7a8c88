use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderMap, header};
use http_body::Body as _;

use crate::problem::{Kind, Problem};

/// Layer: refuses bodies that are encoded. None is decoded, so that none can be a bomb, and one that only says that
/// it is encoded would mean something else to a proxy that decodes.
pub(super) async fn refuse(request: Request, next: Next) -> Response {
    if is_encoded(request.headers()) && !request.body().is_end_stream() {
        let detail = "Bodies are taken as they are: send this one without Content-Encoding.";
        return Problem::new(Kind::UnsupportedMediaType, detail).into_response();
    }
    next.run(request).await
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|v| !v.as_bytes().eq_ignore_ascii_case(b"identity"))
}
