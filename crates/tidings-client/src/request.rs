//! One HTTP exchange: build, send, read the answer or the problem.

use std::time::Duration;

use bytes::Bytes;
use reqwest::{
    Method, Response,
    header::{ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, RETRY_AFTER},
};
use secrecy::ExposeSecret as _;
use serde::{Serialize, de::DeserializeOwned};
use tidings_core::Timestamp;

use crate::{Client, ClientError, Problem, Token};

/// The header by which an operator's credential names the tenant that it acts for.
pub(crate) const TENANT_HEADER: &str = "x-tidings-tenant";

/// Answers beyond this are not read: no list the server gives comes near.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A request to be sent, perhaps more than once.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    body: Option<Bytes>,
    idempotency_key: Option<String>,
    connection_after: ConnectionAfter,
    timeout: Duration,
}

/// What becomes of a call's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ConnectionAfter {
    Kept,
    Closed,
}

impl Call {
    pub(crate) fn new(method: Method, path: impl Into<String>) -> Self {
        let timeout = Duration::from_secs(35);
        let connection_after = ConnectionAfter::Kept;
        let (path, query, body, idempotency_key) = (path.into(), Vec::new(), None, None);
        Self { method, path, query, body, idempotency_key, connection_after, timeout }
    }

    pub(crate) fn get(path: impl Into<String>) -> Self {
        Self::new(Method::GET, path)
    }

    pub(crate) fn post(path: impl Into<String>) -> Self {
        Self::new(Method::POST, path)
    }

    pub(crate) fn put(path: impl Into<String>) -> Self {
        Self::new(Method::PUT, path)
    }

    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self::new(Method::DELETE, path)
    }

    pub(crate) fn query(mut self, name: &str, value: Option<impl ToString>) -> Self {
        self.query.extend(value.map(|v| (name.to_owned(), v.to_string())));
        self
    }

    pub(crate) fn pairs(mut self, pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        self.query.extend(pairs);
        self
    }

    pub(crate) fn json(mut self, body: &impl Serialize) -> Self {
        self.body = Some(serde_json::to_vec(body).expect("requests serialise").into());
        self
    }

    /// A repeat under the same key returns the first outcome.
    pub(crate) fn idempotency_key(mut self, key: Option<&str>) -> Self {
        self.idempotency_key = key.map(str::to_owned);
        self
    }

    /// Its connection is used for nothing else afterwards: a load balancer may send a repeat to another node.
    pub(crate) const fn closing(mut self) -> Self {
        self.connection_after = ConnectionAfter::Closed;
        self
    }

    /// The server holds the answer back for up to `wait`.
    pub(crate) fn waiting(mut self, wait: Duration) -> Self {
        self.timeout += wait;
        self
    }
}

/// An answer's body and when the server says it is.
pub(crate) struct Answer {
    url: String,
    pub(crate) body: Bytes,
    /// From the header `Date`: whole seconds.
    pub(crate) date: Option<Timestamp>,
}

impl Answer {
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, ClientError> {
        serde_json::from_slice(&self.body)
            .map_err(|e| ClientError::Unreadable { url: self.url.clone(), why: e.to_string() })
    }
}

impl Client {
    /// Sends a request and reads its whole answer. A refused credential is renewed once, where there is
    /// a source of others.
    pub(crate) async fn exchange(&self, call: Call) -> Result<Answer, ClientError> {
        let token = self.shared.credential.current(self.shared.clock.now()).await?;
        match self.exchange_with(&call, &token).await {
            Err(e) if e.status() == Some(401) => match self.shared.credential.renew(&token).await? {
                Some(fresh) => self.exchange_with(&call, &fresh).await,
                None => Err(e),
            },
            other => other,
        }
    }

    pub(crate) async fn call<T: DeserializeOwned>(&self, call: Call) -> Result<T, ClientError> {
        self.exchange(call).await?.json()
    }

    async fn exchange_with(&self, call: &Call, token: &Token) -> Result<Answer, ClientError> {
        let url = self.url(&call.path)?;
        let mut request = self
            .shared
            .http
            .request(call.method.clone(), url.clone())
            .headers(self.headers(token)?)
            .header(ACCEPT, "application/json, application/problem+json")
            .timeout(call.timeout);
        if !call.query.is_empty() {
            request = request.query(&call.query);
        }
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, "application/json").body(body.clone());
        }
        if let Some(key) = &call.idempotency_key {
            request = request.header("idempotency-key", key);
        }
        if call.connection_after == ConnectionAfter::Closed {
            request = request.header(CONNECTION, "close");
        }
        let url = url.to_string();
        let unreachable = |source: reqwest::Error| ClientError::Unreachable {
            url: url.clone(),
            source: source.without_url(),
        };
        let response = request.send().await.map_err(unreachable)?;
        if !response.status().is_success() {
            return Err(refusal(response).await);
        }
        let date = response.headers().get(DATE).and_then(parse_http_date);
        let body = read_body(response, ANSWER_BYTES_MAX).await.map_err(unreachable)?;
        Ok(Answer { url, body, date })
    }

    /// What every request carries.
    pub(crate) fn headers(&self, token: &Token) -> Result<HeaderMap, ClientError> {
        let mut headers = HeaderMap::new();
        let mut bearer =
            HeaderValue::try_from(format!("Bearer {}", token.secret.expose_secret())).map_err(|_| {
                ClientError::Invalid("the credential holds characters that no header can carry".into())
            })?;
        bearer.set_sensitive(true);
        headers.insert(AUTHORIZATION, bearer);
        if let Some(tenant) = &self.shared.tenant {
            let value = HeaderValue::from_str(tenant.as_str()).expect("tenant ids are plain ASCII");
            headers.insert(TENANT_HEADER, value);
        }
        Ok(headers)
    }
}

/// The problem in an answer that is no success.
pub(crate) async fn refusal(response: Response) -> ClientError {
    let status = response.status().as_u16();
    let retry_after = retry_after(response.headers());
    // A cut-off body still leaves the status.
    let body = read_body(response, 64 << 10).await.unwrap_or_default();
    ClientError::Refused(Box::new(Problem::read(status, retry_after, &body)))
}

pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let secs: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(secs.min(3_600)))
}

async fn read_body(mut response: Response, max: usize) -> Result<Bytes, reqwest::Error> {
    let Some(first) = response.chunk().await? else { return Ok(Bytes::new()) };
    let Some(second) = response.chunk().await? else { return Ok(first) };
    let mut body = Vec::from(first);
    body.extend_from_slice(&second);
    while body.len() < max {
        match response.chunk().await? {
            Some(chunk) => body.extend_from_slice(&chunk),
            None => break,
        }
    }
    Ok(body.into())
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`: the one form that servers send.
fn parse_http_date(value: &HeaderValue) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = value.to_str().ok()?.strip_suffix(" GMT")?;
    let (_, text) = text.split_once(", ")?;
    let mut parts = text.split(' ');
    let (day, month, year, time) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let month = MONTHS.iter().position(|m| *m == month)? + 1;
    Timestamp::parse(&format!("{year}-{month:02}-{day:0>2}T{time}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn http_dates_read() {
        let date = parse_http_date(&HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert_eq!(date, Some(Timestamp::from_secs(784_111_777)));
        assert_eq!(parse_http_date(&HeaderValue::from_static("yesterday")), None);
    }
}
