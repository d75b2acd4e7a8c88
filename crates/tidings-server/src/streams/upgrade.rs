//! The opening handshake of RFC 6455.

use axum::{body::Body, response::Response};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header, request::Parts};
use sha1::{Digest as _, Sha1};

use crate::problem::{Kind, Problem};

/// The one subprotocol that is ever agreed on. A credential among those offered is never echoed.
const SUBPROTOCOL: &str = "tidings.v1";

/// The 101 that answers a valid handshake.
pub(super) fn accept(request: &Parts) -> Result<Response, Problem> {
    if request.method != Method::GET || request.version != Version::HTTP_11 {
        return Err(bad("A WebSocket begins with GET over HTTP/1.1."));
    }
    let headers = &request.headers;
    if !has_token(headers, &header::CONNECTION, "upgrade")
        || !has_token(headers, &header::UPGRADE, "websocket")
    {
        return Err(bad("Send Connection: Upgrade and Upgrade: websocket."));
    }
    if only(headers, &header::SEC_WEBSOCKET_VERSION) != Some("13") {
        let problem = bad("Send Sec-WebSocket-Version: 13.");
        return Err(problem.header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13")));
    }
    let key = only(headers, &header::SEC_WEBSOCKET_KEY)
        .filter(|key| BASE64_STANDARD.decode(key).is_ok_and(|nonce| nonce.len() == 16))
        .ok_or_else(|| bad("Send one Sec-WebSocket-Key of 16 bytes in base64."))?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let fields = response.headers_mut();
    fields.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    fields.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    fields.insert(header::SEC_WEBSOCKET_ACCEPT, accept_key(key));
    if has_token(headers, &header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        fields.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    }
    Ok(response)
}

fn bad(detail: &'static str) -> Problem {
    Problem::new(Kind::BadUpgrade, detail)
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value.trim())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    let values = headers.get_all(name).iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

fn accept_key(key: &str) -> HeaderValue {
    let digest =
        Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11").finalize();
    HeaderValue::from_str(&BASE64_STANDARD.encode(digest)).expect("base64 is visible ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn request(change: impl FnOnce(&mut Request<()>)) -> Parts {
        let mut request = Request::builder()
            .uri("/api/v1/ws")
            .header("connection", "keep-alive, Upgrade")
            .header("upgrade", "WebSocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
            .body(())
            .expect("a request");
        change(&mut request);
        request.into_parts().0
    }

    #[test]
    fn the_standards_example_is_accepted() {
        let response = accept(&request(|_| {})).expect("valid");
        assert_eq!(response.status(), StatusCode::SWITCHING_PROTOCOLS);
        assert_eq!(response.headers()["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
        assert!(!response.headers().contains_key("sec-websocket-protocol"), "none was offered");
    }

    #[test]
    fn a_credential_among_the_subprotocols_is_never_echoed() {
        let offer = |text: &'static str| {
            let parts = request(|r| {
                r.headers_mut().insert("sec-websocket-protocol", HeaderValue::from_static(text));
            });
            accept(&parts).expect("valid").headers().get("sec-websocket-protocol").cloned()
        };
        assert_eq!(offer("tidings.bearer.YWJj, tidings.v1").expect("agreed"), "tidings.v1");
        assert_eq!(offer("tidings.bearer.YWJj"), None);
    }

    #[test]
    fn a_broken_handshake_is_refused() {
        let without = |name: &'static str| request(|r| drop(r.headers_mut().remove(name)));
        for name in ["connection", "upgrade", "sec-websocket-version", "sec-websocket-key"] {
            assert!(accept(&without(name)).is_err(), "{name}");
        }
        assert!(accept(&request(|r| *r.method_mut() = Method::POST)).is_err());
        assert!(accept(&request(|r| *r.version_mut() = Version::HTTP_10)).is_err());
        for key in ["", "abc", "dGhlIHNhbXBsZSBub25jZQ", "dGhlIHNhbXBsZSBub25jZSBsb25n"] {
            let parts =
                request(|r| drop(r.headers_mut().insert("sec-websocket-key", key.parse().expect("a value"))));
            assert!(accept(&parts).is_err(), "{key}");
        }
        let twice = request(|r| {
            r.headers_mut().append("sec-websocket-key", HeaderValue::from_static("dGhlIHNhbXBsZSBub25jZQ=="));
        });
        assert!(accept(&twice).is_err());
    }
}
