use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::{HeaderValue, header};

use crate::listener::Unfit;

/// Layer: answers what the listener found to be no request of one meaning, and closes the connection, since what
/// comes next on it has no certain beginning.
pub(super) async fn refuse(mut request: Request, next: Next) -> Response {
    match request.extensions_mut().remove::<Unfit>() {
        Some(unfit) => {
            unfit.into_problem().header(header::CONNECTION, HeaderValue::from_static("close")).into_response()
        }
        None => next.run(request).await,
    }
}
