use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderValue, header};

use crate::request_id::RequestId;

use super::Problem;

/// Layer: writes the request's id into a problem's body.
pub(crate) async fn render(request: Request, next: Next) -> Response {
    let id = request.extensions().get::<RequestId>().cloned();
    let mut response = next.run(request).await;
    let (Some(id), Some(problem)) = (id, response.extensions().get::<Problem>()) else { return response };
    let body = problem.to_json(Some(id.as_str()));
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    *response.body_mut() = body.into();
    response
}
