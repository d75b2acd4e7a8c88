use axum::body::Body;
use http::{HeaderMap, Request, Response, StatusCode, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::framing::Framing;
use crate::problem::{Kind, Problem};

/// Marks a request that no route may see: why, and that the connection is closed behind the answer.
#[derive(Debug, Clone)]
pub(crate) struct Unfit(Problem);

impl Unfit {
    fn because(why: &str) -> Self {
        Self(Problem::new(
            Kind::BadRequest,
            format!("This request, as HTTP/1.1, is not of one meaning: {why}."),
        ))
    }

    /// What hyper could not read, and answered with this status.
    pub(super) fn unreadable(status: StatusCode) -> Self {
        Self(match status {
            StatusCode::URI_TOO_LONG => {
                Problem::new(Kind::UriTooLong, "The URL is longer than 65,534 bytes.")
            }
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
                Problem::new(Kind::HeadTooLarge, "The request's head has more than 100 fields or 64 KiB.")
            }
            _ => Problem::new(Kind::BadRequest, "What came does not read as a request."),
        })
    }

    pub(crate) fn into_problem(self) -> Problem {
        self.0
    }
}

/// The request, marked where it is unfit.
pub(super) fn judged(mut request: Request<Incoming>, framing: &Framing) -> Request<Incoming> {
    if let Err(why) = framing.judge().and_then(|()| one_host(request.version(), request.headers())) {
        request.extensions_mut().insert(Unfit::because(why));
    }
    request
}

/// RFC 9112 (3.2): whoever is asked for is named once.
fn one_host(version: Version, headers: &HeaderMap) -> Result<(), &'static str> {
    match headers.get_all(header::HOST).iter().count() {
        1 => Ok(()),
        0 if version < Version::HTTP_11 => Ok(()),
        0 => Err("it has no Host"),
        _ => Err("it has more than one Host"),
    }
}

/// The status, where an answer begins here that hyper gives by itself.
pub(super) fn status_of(bytes: &[u8]) -> Option<StatusCode> {
    let status = bytes.strip_prefix(b"HTTP/1.")?.get(2..5)?;
    StatusCode::from_bytes(status).ok().filter(StatusCode::is_client_error)
}

/// An answer as bytes, after which the connection is closed.
pub(super) async fn written(response: Response<Body>) -> Vec<u8> {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut text = format!("HTTP/1.1 {}\r\n", parts.status).into_bytes();
    for (name, value) in &parts.headers {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    if !parts.headers.contains_key(header::CONTENT_LENGTH) {
        text.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
    }
    text.extend_from_slice(b"\r\n");
    text.extend_from_slice(&body);
    text
}
