//! Every request has an id: in the answer's `x-request-id`, in problems and in the log.

use std::sync::Arc;

use axum::{extract::Request, middleware::Next, response::Response};
use http::{HeaderName, HeaderValue};
use tidings_core::{Clock as _, EventId, SystemClock, SystemEntropy};

pub(crate) const HEADER: HeaderName = HeaderName::from_static("x-request-id");

/// The client's own id where it is sane, else one made here.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(Arc<str>);

impl RequestId {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// 1 to 128 letters, digits and `-_.:`: nothing that a log or a terminal would take for its own.
    fn accept(text: &[u8]) -> Option<Self> {
        let sane = (1..=128).contains(&text.len())
            && text.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:".contains(b));
        sane.then(|| Self(String::from_utf8_lossy(text).into()))
    }

    fn make() -> Self {
        Self(EventId::generate(SystemClock.now(), &SystemEntropy).to_string().into())
    }
}

/// Layer: the outermost, so that every answer carries the id.
pub(crate) async fn assign(mut request: Request, next: Next) -> Response {
    let id = request.headers().get(&HEADER).and_then(|v| RequestId::accept(v.as_bytes()));
    let id = id.unwrap_or_else(RequestId::make);
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).await;
    if let Ok(value) = HeaderValue::from_str(id.as_str()) {
        response.headers_mut().insert(HEADER, value);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sane_ids_are_taken_over() {
        assert!(RequestId::accept(b"a-1_2.3:x").is_some());
        for bad in [&b""[..], b"a b", b"a\x1b[31m", "é".as_bytes(), &[b'a'; 129]] {
            assert!(RequestId::accept(bad).is_none(), "{bad:?}");
        }
    }
}
