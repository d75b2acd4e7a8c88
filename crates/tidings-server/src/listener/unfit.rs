use axum::body::Body;
use http::{HeaderMap, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;

use super::framing::Framing;
use crate::{
    config::Limits,
    problem::{Kind, Problem},
};

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

    /// What hyper could not read, and answered with this status; `head` is what its connection was told.
    pub(super) fn unreadable(
        status: StatusCode,
        framing: &Framing,
        head: HeadLimits,
        limits: &Limits,
    ) -> Self {
        if let Some(why) = framing.doubt() {
            return Self::because(why);
        }
        match status {
            StatusCode::URI_TOO_LONG => Self::long(limits.url_bytes),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Self::large(framing.fields(), head),
            _ => Self(Problem::new(Kind::BadRequest, "What came does not read as a request.")),
        }
    }

    fn long(max: usize) -> Self {
        let detail = format!("The URL is longer than {max} bytes (limits.url_bytes).");
        Self(Problem::new(Kind::UriTooLong, detail).with("limit", "limits.url_bytes"))
    }

    fn large(fields: usize, head: HeadLimits) -> Self {
        let (detail, key) = if fields > head.fields {
            let detail =
                format!("The request's head has more than {} fields (limits.head_fields).", head.fields);
            (detail, "limits.head_fields")
        } else {
            let detail =
                format!("The request's head is larger than {} bytes (limits.head_bytes).", head.bytes);
            (detail, "limits.head_bytes")
        };
        Self(Problem::new(Kind::HeadTooLarge, detail).with("limit", key))
    }

    pub(crate) fn into_problem(self) -> Problem {
        self.0
    }
}

/// What hyper lets a head have: of the whole connection, as the limits were when it came.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeadLimits {
    pub(super) bytes: usize,
    pub(super) fields: usize,
}

/// The request, marked where it is unfit.
pub(super) fn judged(
    mut request: Request<Incoming>,
    framing: &Framing,
    url_bytes: usize,
) -> Request<Incoming> {
    let meaning = framing.judge().and_then(|()| one_host(request.version(), request.headers()));
    let unfit = match meaning {
        Err(why) => Some(Unfit::because(why)),
        Ok(()) => (length(request.uri()) > url_bytes).then(|| Unfit::long(url_bytes)),
    };
    if let Some(unfit) = unfit {
        request.extensions_mut().insert(unfit);
    }
    request
}

/// As it was written, in whichever form.
fn length(uri: &Uri) -> usize {
    let scheme = uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len());
    let authority = uri.authority().map_or(0, |authority| authority.as_str().len());
    scheme + authority + uri.path_and_query().map_or(0, |rest| rest.as_str().len())
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
