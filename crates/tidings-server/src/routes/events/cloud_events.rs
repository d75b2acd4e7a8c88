//! CloudEvents 1.0 as bodies of a publish: structured, batched, and in binary mode.

use std::collections::BTreeMap;

use axum::{
    body::Bytes,
    extract::{FromRef, FromRequest, Request},
};
use http::{HeaderMap, header};
use serde::{Deserialize, de::IgnoredAny};
use serde_json::{Map, Value};
use tidings_core::{EventType, RawJson, Subject, Timestamp, UserId};

use crate::{
    body::{self, OneOrMany, invalid},
    problem::{Kind, Problem},
    settings::Settings,
};

use super::publish::{PublishRequest, published_type};

/// The body of a publish, in whichever form it came.
#[derive(Debug)]
pub(crate) struct EventsText {
    /// What is to be repeated for the same outcome: the body or, in binary mode, the structured form of the request.
    pub(crate) text: Bytes,
    form: Form,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Structured,
    Batch,
}

/// What is taken of a CloudEvent: `type`, `subject`, `data`, and the extension `owner`. Its other attributes say nothing
/// that the log keeps: an event gets an id and a time of its own.
#[derive(Debug, Deserialize)]
struct CloudEvent {
    specversion: String,
    id: String,
    source: String,
    #[serde(deserialize_with = "published_type")]
    r#type: EventType,
    subject: Option<Subject>,
    time: Option<String>,
    datacontenttype: Option<String>,
    data: Option<RawJson>,
    data_base64: Option<Value>,
    owner: Option<UserId>,
}

impl EventsText {
    pub(crate) fn requests(&self) -> Result<OneOrMany<PublishRequest>, Problem> {
        let events = match self.form {
            Form::Plain => return OneOrMany::parse(&self.text),
            Form::Structured | Form::Batch => OneOrMany::<CloudEvent>::parse(&self.text)?,
        };
        #[allow(clippy::zero_sized_map_values, reason = "a set does not read from an object")]
        let names = OneOrMany::<BTreeMap<String, IgnoredAny>>::parse(&self.text)?;
        names.try_map(|path, names| names.keys().try_for_each(|name| named(path, name)))?;
        if events.is_one() != (self.form == Form::Structured) {
            return Err(invalid("$", "one event is an object, and a batch is an array"));
        }
        events.try_map(|path, event| event.into_request(path))
    }
}

impl CloudEvent {
    fn into_request(self, path: &str) -> Result<PublishRequest, Problem> {
        let wrong = |field: &str, why: &str| Err(invalid(&format!("{path}.{field}"), why));
        if self.specversion != "1.0" {
            return wrong("specversion", "it is 1.0");
        }
        if self.id.is_empty() || self.source.is_empty() {
            return wrong("id", "id and source are not empty");
        }
        if self.time.as_deref().is_some_and(|time| Timestamp::parse(time).is_err()) {
            return wrong("time", "it is a time such as 2026-11-23T07:12:09Z");
        }
        if self.data_base64.is_some() {
            return wrong("data_base64", "events carry JSON: send data");
        }
        if self.datacontenttype.as_deref().is_some_and(|given| !is_json(given)) {
            return wrong("datacontenttype", "events carry JSON");
        }
        Ok(PublishRequest::new(self.r#type, self.data, self.subject, self.owner))
    }
}

impl<S> FromRequest<S> for EventsText
where
    S: Send + Sync,
    Settings: FromRef<S>,
{
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let limits = Settings::from_ref(state).get().limits.clone();
        let headers = request.headers();
        utf8(headers)?;
        let form = match essence(headers).as_str() {
            "application/cloudevents+json" => Form::Structured,
            "application/cloudevents-batch+json" => Form::Batch,
            _ if headers.contains_key("ce-specversion") => {
                let attributes = attributes(headers)?;
                let data = body::collect(request, &limits).await?;
                return Ok(Self { text: structured(attributes, &data)?, form: Form::Structured });
            }
            _ => {
                body::json_type(headers)?;
                Form::Plain
            }
        };
        Ok(Self { text: body::collect(request, &limits).await?, form })
    }
}

fn essence(headers: &HeaderMap) -> String {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// JSON is UTF-8, whatever else is claimed.
fn utf8(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    for parameter in given.split(';').skip(1) {
        let Some((name, value)) = parameter.split_once('=') else { continue };
        let (name, value) = (name.trim(), value.trim().trim_matches('"'));
        if name.eq_ignore_ascii_case("charset")
            && !["utf-8", "utf8", "us-ascii"].iter().any(|c| value.eq_ignore_ascii_case(c))
        {
            return Err(Problem::new(
                Kind::UnsupportedMediaType,
                "Send the body in UTF-8: charset=utf-8, or none.",
            ));
        }
    }
    Ok(())
}

/// Lower-case letters and digits, as CloudEvents has it; the member `data_base64` alone has more.
fn named(path: &str, name: &str) -> Result<(), Problem> {
    let is_attribute = !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    if is_attribute || name == "data_base64" {
        return Ok(());
    }
    let name: String = name.chars().take(40).collect();
    Err(invalid(path, format_args!("{name:?} is no attribute's name: lower-case letters and digits")))
}

fn is_json(media_type: &str) -> bool {
    let essence = media_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence == "text/json" || essence.ends_with("+json")
}

/// The `ce-` headers, whose values are percent-encoded UTF-8.
fn attributes(headers: &HeaderMap) -> Result<Map<String, Value>, Problem> {
    let mut attributes = Map::new();
    for (name, value) in headers {
        let Some(attribute) = name.as_str().strip_prefix("ce-") else { continue };
        let text = value.to_str().ok().and_then(decoded);
        let text = text.ok_or_else(|| {
            Problem::new(Kind::BadParameter, format!("The header {name} is not percent-encoded UTF-8."))
        })?;
        if attributes.insert(attribute.to_owned(), text.into()).is_some() {
            return Err(Problem::new(
                Kind::BadParameter,
                format!("The header {name} is given more than once."),
            ));
        }
    }
    let media_type = essence(headers);
    if !media_type.is_empty() {
        attributes.insert("datacontenttype".into(), media_type.into());
    }
    Ok(attributes)
}

/// The same event in structured mode.
fn structured(mut attributes: Map<String, Value>, data: &[u8]) -> Result<Bytes, Problem> {
    if let Some(given) =
        attributes.get("datacontenttype").and_then(Value::as_str).filter(|given| !is_json(given))
    {
        let detail = format!("Events carry JSON, and {given:?} is none.");
        return Err(Problem::new(Kind::UnsupportedMediaType, detail));
    }
    attributes.remove("data");
    let mut text = serde_json::to_vec(&attributes).expect("texts under texts serialise");
    if !data.trim_ascii().is_empty() {
        text.pop();
        text.extend_from_slice(b",\"data\":");
        text.extend_from_slice(data);
        text.push(b'}');
    }
    Ok(text.into())
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let (byte, left) = match (*first, after) {
            (b'%', [high, low, left @ ..]) => {
                let digit = |byte: u8| char::from(byte).to_digit(16);
                ((digit(*high)? << 4 | digit(*low)?) as u8, left)
            }
            (b'%', _) => return None,
            (byte, left) => (byte, left),
        };
        bytes.push(byte);
        rest = left;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_percent_encoded() {
        assert_eq!(decoded("a%20b%C3%A9").as_deref(), Some("a bé"));
        for bad in ["%", "%2", "%zz", "%ff"] {
            assert_eq!(decoded(bad), None, "{bad}");
        }
    }

    #[test]
    fn data_does_not_break_out_of_its_place() {
        let attributes = Map::from_iter([("id".to_owned(), Value::from("1"))]);
        let text = structured(attributes, br#"1,"type":"job.completed""#).expect("it is composed");
        let events = EventsText { text, form: Form::Structured };
        assert!(events.requests().is_err(), "a duplicate or foreign field is seen by whoever reads it");
    }
}
