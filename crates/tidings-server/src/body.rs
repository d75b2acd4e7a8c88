//! Request bodies: JSON of bounded size that says exactly where it is wrong.

use axum::{
    body::{Body, Bytes, HttpBody as _},
    extract::{FromRef, FromRequest, Request},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use serde::{Serialize, de::DeserializeOwned};

use tidings_core::{JsonError, RawJson, StrictObject, format_duration};

use crate::{
    config::Limits,
    object::Object,
    problem::{Kind, Problem},
    quotas::Account,
    settings::Settings,
};

/// A JSON body.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

/// One item, or an array of them.
#[derive(Debug)]
pub(crate) enum OneOrMany<T> {
    One(T),
    Many(Vec<T>),
}

impl<T: DeserializeOwned> OneOrMany<T> {
    /// An array where the first letter says so: reading both ways would lose where the mistake is.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Problem> {
        if text.trim_ascii_start().first() == Some(&b'[') {
            let items: Vec<Object<T>> = read(text)?;
            Ok(Self::Many(items.into_iter().map(|Object(item)| item).collect()))
        } else {
            read(text).map(|Object(item)| Self::One(item))
        }
    }
}

impl<T> OneOrMany<T> {
    pub(crate) const fn is_one(&self) -> bool {
        matches!(self, Self::One(_))
    }

    pub(crate) fn into_vec(self) -> Vec<T> {
        match self {
            Self::One(item) => vec![item],
            Self::Many(items) => items,
        }
    }

    /// Turns each item into what it asks for; `make` gets the item's path in the body.
    pub(crate) fn try_map<U>(
        self,
        mut make: impl FnMut(&str, T) -> Result<U, Problem>,
    ) -> Result<OneOrMany<U>, Problem> {
        match self {
            Self::One(item) => make("$", item).map(OneOrMany::One),
            Self::Many(items) => {
                let all = items.into_iter().enumerate().map(|(i, item)| make(&format!("$[{i}]"), item));
                all.collect::<Result<_, _>>().map(OneOrMany::Many)
            }
        }
    }
}

impl<S, T> FromRequest<S> for Json<T>
where
    S: Send + Sync,
    Settings: FromRef<S>,
    T: DeserializeOwned,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let limits = Settings::from_ref(state).get().limits.clone();
        json_type(request.headers())?;
        read(&collect(request, &limits).await?).map(|Object(body)| Self(body))
    }
}

/// The bytes of a JSON body that the handler reads itself.
#[derive(Debug)]
pub(crate) struct JsonText(pub(crate) Bytes);

impl<S> FromRequest<S> for JsonText
where
    S: Send + Sync,
    Settings: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let limits = Settings::from_ref(state).get().limits.clone();
        let patch = request.method() == http::Method::PATCH
            && essence(request.headers()) == "application/merge-patch+json";
        if !patch {
            json_type(request.headers())?;
        }
        collect(request, &limits).await.map(Self)
    }
}

/// A body that may be left out; `T::default()` stands for it.
#[derive(Debug)]
pub(crate) struct OptionalJson<T>(pub(crate) T);

impl<S, T> FromRequest<S> for OptionalJson<T>
where
    S: Send + Sync,
    Settings: FromRef<S>,
    T: DeserializeOwned + Default,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let limits = Settings::from_ref(state).get().limits.clone();
        let typed = json_type(request.headers());
        let text = collect(request, &limits).await?;
        if text.trim_ascii().is_empty() {
            return Ok(Self(T::default()));
        }
        typed?;
        read(&text).map(|Object(body)| Self(body))
    }
}

/// The body of a request that says all in its path: none, or an object without fields.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Nothing {}

/// The fields of an object, to be looked at one by one.
pub(crate) fn object(text: &[u8]) -> Result<serde_json::Map<String, serde_json::Value>, Problem> {
    read(text).map(|StrictObject(fields)| fields)
}

/// What a value says that was read before; `path` is where it stands in the body.
pub(crate) fn value<T: DeserializeOwned>(value: serde_json::Value, path: &str) -> Result<T, Problem> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let inner = error.path().to_string();
        let path = if inner == "." { path.to_owned() } else { format!("{path}.{inner}") };
        unfit(path, &error.inner().to_string())
    })
}

/// The media type without its parameters, in lower case.
fn essence(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

pub(crate) fn json_type(headers: &HeaderMap) -> Result<(), Problem> {
    if essence(headers) == "application/json" {
        return Ok(());
    }
    Err(Problem::new(
        Kind::UnsupportedMediaType,
        "Send the body as JSON, with Content-Type: application/json.",
    ))
}

/// The whole body, which whoever asks pays for.
pub(crate) async fn collect(request: Request, limits: &Limits) -> Result<Bytes, Problem> {
    let (parts, body) = request.into_parts();
    let bytes = read_whole(body, limits).await?;
    if let Some(account) = parts.extensions.get::<Account>() {
        account.read(&parts.headers, bytes.len())?;
    }
    Ok(bytes)
}

async fn read_whole(body: Body, limits: &Limits) -> Result<Bytes, Problem> {
    let (limit, time) = (limits.body_bytes, limits.request_timeout.0);
    // A length that is only claimed is judged before any of it is awaited.
    if body.size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    tokio::time::timeout(time, gather(body, limit)).await.unwrap_or_else(|_| {
        let detail =
            format!("The body did not arrive within {} (limits.request_timeout).", format_duration(time));
        Err(Problem::new(Kind::RequestTimeout, detail).with("limit", "limits.request_timeout"))
    })
}

/// Copies what comes into one buffer. Frames that are kept as they come would each cost the memory of a read: a body sent
/// a byte at a time, some thirty times its size.
async fn gather(mut body: Body, limit: usize) -> Result<Bytes, Problem> {
    // What the head claims is a wish: memory is for what has come.
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Problem::new(Kind::MalformedJson, "The body ended before it was complete."))?;
        let Ok(part) = frame.into_data() else { continue };
        if part.len() > limit - whole.len() {
            return Err(too_large(limit));
        }
        whole.extend_from_slice(&part);
    }
    Ok(whole.into())
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("The body is larger than {limit} bytes (limits.body_bytes).");
    Problem::new(Kind::TooLarge, detail).with("limit", "limits.body_bytes")
}

fn read<T: DeserializeOwned>(text: &[u8]) -> Result<T, Problem> {
    if std::str::from_utf8(text).is_err() {
        return Err(Problem::new(Kind::MalformedJson, "The body is not UTF-8."));
    }
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|e| {
        let path = e.path().to_string();
        located(e.inner(), &path)
    })?;
    reader.end().map_err(|e| located(&e, "."))?;
    Ok(value)
}

/// Broken JSON is 400; JSON that says the wrong thing is 422, with the path to it.
fn located(error: &serde_json::Error, path: &str) -> Problem {
    let text = error.to_string();
    // serde_json appends the place; a value's own error knows none.
    let message = text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]);
    let (line, column) = (error.line(), error.column());
    // To the reader a number that no double can hold is no JSON, and the grammar says otherwise.
    if error.is_data() || message == "number out of range" {
        let path = if path == "." {
            "$".to_owned()
        } else {
            format!("${}{path}", if path.starts_with('[') { "" } else { "." })
        };
        return unfit(path, message);
    }
    Problem::new(
        Kind::MalformedJson,
        format!("The body is not valid JSON at line {line}, column {column}: {message}."),
    )
}

/// What the reader says of the value at `path`. It finds missing fields at the object that misses them.
fn unfit(mut path: String, message: &str) -> Problem {
    if let Some(name) = message.strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`')) {
        path = format!("{path}.{name}");
    }
    if message == JsonError::TooDeep.to_string() {
        return too_deep(&path, RawJson::DEPTH_MAX);
    }
    invalid(&path, in_words(message))
}

fn too_deep(path: &str, max: usize) -> Problem {
    invalid(path, format_args!("the JSON is nested deeper than {max} levels (limits.json_depth, 64 at most)"))
        .with("limit", "limits.json_depth")
}

/// Refuses an event's data, a job's payload or result that is larger or deeper than it may be: the `field` of what stands at `path` in the body.
pub(crate) fn within_limits(
    value: &RawJson,
    path: &str,
    field: &str,
    limits: &Limits,
) -> Result<(), Problem> {
    let (most, deepest) = (limits.event_bytes, limits.json_depth);
    if value.len() > most {
        let detail = format!("{path}.{field} is larger than {most} bytes (limits.event_bytes).");
        return Err(Problem::new(Kind::TooLarge, detail).with("limit", "limits.event_bytes"));
    }
    // Reading it has seen to what is so for all.
    if deepest < RawJson::DEPTH_MAX && value.depth() > deepest {
        return Err(too_deep(&format!("{path}.{field}"), deepest));
    }
    Ok(())
}

/// The reader's message without names of the program's types.
fn in_words(message: &str) -> String {
    const NAMES: [&str; 10] = ["usize", "u64", "u32", "u16", "u8", "i64", "i32", "i16", "i8", "isize"];
    for name in NAMES {
        if let Some(before) = message.strip_suffix(name).filter(|before| before.ends_with("expected ")) {
            return format!("{before}a whole number");
        }
    }
    message.to_owned()
}

/// A field that cannot be taken.
pub(crate) fn invalid(path: &str, message: impl std::fmt::Display) -> Problem {
    Problem::new(Kind::InvalidBody, format!("{path}: {message}.")).with("path", path)
}

/// An answer of JSON.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let mut text = Vec::with_capacity(512);
    serde_json::to_writer(&mut text, value).expect("answers have string keys and no failing serializer");
    raw(status, text)
}

/// An answer whose JSON text is ready.
pub(crate) fn raw(status: StatusCode, text: impl Into<Bytes>) -> Response {
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    (status, content_type, text.into()).into_response()
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    };

    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only whether it reads is looked at")]
    struct Item {
        n: u8,
        #[serde(default)]
        data: Option<RawJson>,
    }

    fn refused(text: &str) -> (Kind, String) {
        let problem = OneOrMany::<Item>::parse(text.as_bytes()).expect_err("must be refused");
        (problem.kind(), problem.detail().to_owned())
    }

    /// A read of one byte. What it was read into lives as long as it does.
    struct Read([u8; 1], Arc<AtomicUsize>);

    impl AsRef<[u8]> for Read {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    impl Drop for Read {
        fn drop(&mut self) {
            self.1.fetch_sub(1, Relaxed);
        }
    }

    #[tokio::test]
    async fn a_body_of_single_bytes_is_held_as_one_piece_of_its_size() {
        let limits = Limits { body_bytes: 100_000, ..Limits::default() };
        let (alive, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let body = |bytes: usize| {
            let (alive, most) = (alive.clone(), most.clone());
            let reads = (0..bytes).map(move |n| {
                most.fetch_max(alive.fetch_add(1, Relaxed) + 1, Relaxed);
                Ok::<_, std::convert::Infallible>(Bytes::from_owner(Read([n as u8], alive.clone())))
            });
            Body::from_stream(futures_util::stream::iter(reads))
        };
        let whole = read_whole(body(100_000), &limits).await.expect("as large as it may be");
        assert!(whole.len() == 100_000 && whole.iter().enumerate().all(|(n, byte)| *byte == n as u8));
        assert!(most.load(Relaxed) <= 2, "{} reads were kept at one time", most.load(Relaxed));
        let held = Vec::from(whole).capacity();
        assert!(held <= 2 * 100_000, "{held} bytes");
        let refused = read_whole(body(100_001), &limits).await.expect_err("a byte too many");
        assert_eq!(refused.kind(), Kind::TooLarge);
    }

    #[test]
    fn each_mistake_is_told_with_its_place() {
        for (text, kind, part) in [
            ("", Kind::MalformedJson, "line 1, column 0"),
            ("{", Kind::MalformedJson, "line 1, column 1"),
            ("{\"n\":1}x", Kind::MalformedJson, "trailing"),
            ("{\"n\":01}", Kind::MalformedJson, "line 1"),
            ("nul", Kind::MalformedJson, "line 1"),
            ("{\"n\":\"1\"}", Kind::InvalidBody, "$.n: invalid type"),
            ("{\"n\":300}", Kind::InvalidBody, "$.n: "),
            ("{}", Kind::InvalidBody, "$.n: missing field `n`"),
            ("[{\"n\":1},{}]", Kind::InvalidBody, "$[1].n: missing field `n`"),
            ("{\"n\":1e400}", Kind::InvalidBody, "$.n: number out of range"),
            ("{\"n\":1,\"m\":2}", Kind::InvalidBody, "unknown field `m`"),
            ("{\"n\":1,\"n\":2}", Kind::InvalidBody, "duplicate field"),
            ("[{\"n\":1},{\"n\":false}]", Kind::InvalidBody, "$[1].n: "),
            ("{\"n\":1,\"data\":[1e999]}", Kind::InvalidBody, "$.data: "),
            ("7", Kind::InvalidBody, "$: "),
        ] {
            let (got, detail) = refused(text);
            assert_eq!(got, kind, "{text}: {detail}");
            assert!(detail.contains(part), "{text}: {detail}");
        }
        let deep = format!("{{\"n\":1,\"data\":{}{}}}", "[".repeat(100), "]".repeat(100));
        assert!(refused(&deep).1.contains("deeper than 64 levels (limits.json_depth, 64 at most)"));
        let bottomless = format!("{{\"n\":{}", "[".repeat(200_000));
        assert_eq!(refused(&bottomless).0, Kind::InvalidBody);
    }
}
