use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{ACCEPT, CONTENT_TYPE, USER_AGENT},
};
use tidings_core::webhook::Headers;

const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const X_WEBHOOK_ID: HeaderName = HeaderName::from_static("x-webhook-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The headers that are the same in every request to an endpoint. Nothing of any request that came in is among them.
#[derive(Debug, Clone)]
pub struct HeaderTemplate(HeaderMap);

/// What is new in each attempt.
#[derive(Debug)]
pub struct Stamp<'a> {
    /// Of the event and the endpoint: the same in every attempt, so that a receiver knows what it has had.
    pub id: &'a str,
    /// Seconds of Unix time.
    pub timestamp: i64,
    /// From [`sign`](crate::signing::sign), over the same id and timestamp.
    pub signature: HeaderValue,
    /// W3C trace context, where there is one. What is none is left out.
    pub traceparent: Option<&'a str>,
}

impl HeaderTemplate {
    /// `version` is that of the server. An endpoint's own headers come first and lose against ours.
    pub fn new(version: &str, content_type: HeaderValue, own: &Headers) -> Self {
        let mut headers = HeaderMap::with_capacity(16);
        let own = own.iter().filter_map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
        headers.extend(own.map(|(name, value): (HeaderName, HeaderValue)| (name, value)));
        let agent = HeaderValue::try_from(format!("tidings-webhook/{version}"));
        headers.insert(USER_AGENT, agent.unwrap_or(HeaderValue::from_static("tidings-webhook")));
        headers.insert(CONTENT_TYPE, content_type);
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        Self(headers)
    }

    /// Adds another one that is the same in every request.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.insert(name, value);
        self
    }

    pub fn stamp(&self, stamp: Stamp<'_>) -> HeaderMap {
        let mut headers = self.0.clone();
        if let Ok(id) = HeaderValue::from_str(stamp.id) {
            headers.insert(X_WEBHOOK_ID, id.clone());
            headers.insert(WEBHOOK_ID, id);
        }
        headers.insert(WEBHOOK_TIMESTAMP, stamp.timestamp.into());
        headers.insert(WEBHOOK_SIGNATURE, stamp.signature);
        if let Some(Ok(traceparent)) = stamp.traceparent.map(HeaderValue::from_str) {
            headers.insert(TRACEPARENT, traceparent);
        }
        headers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_the_headers_that_are_promised_and_an_endpoints_own() {
        let own = Headers::new([("X-Team".to_owned(), "payments".to_owned())]).unwrap();
        let template = HeaderTemplate::new("1.2.3", HeaderValue::from_static("application/json"), &own);
        let stamp = Stamp {
            id: "evt_1",
            timestamp: 1_614_265_330,
            signature: HeaderValue::from_static("v1,x"),
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        };
        let headers = template.stamp(stamp);
        for (name, value) in [
            ("user-agent", "tidings-webhook/1.2.3"),
            ("content-type", "application/json"),
            ("accept", "*/*"),
            ("x-webhook-id", "evt_1"),
            ("webhook-id", "evt_1"),
            ("webhook-timestamp", "1614265330"),
            ("webhook-signature", "v1,x"),
            ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ("x-team", "payments"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
        assert_eq!(headers.len(), 9);
    }

    #[test]
    fn a_traceparent_that_is_none_is_left_out() {
        let template = HeaderTemplate::new("1", HeaderValue::from_static("a/b"), &Headers::default());
        let stamp = Stamp {
            id: "a",
            timestamp: 0,
            signature: HeaderValue::from_static("v1,x"),
            traceparent: Some("a\r\nb: c"),
        };
        assert!(!template.stamp(stamp).contains_key("traceparent"));
    }
}
