//! What a WebSocket client may say.

use serde_json::{Map, Value};
use tidings_core::{Filter, FilterRequest, StrictJson};

use crate::problem::{BAD_FILTER, INVALID_BODY, MALFORMED_JSON, Problem};

pub(crate) enum Request {
    /// A new filter from here on.
    Filter(FilterRequest),
    /// A new credential.
    Auth(String),
    Ping,
}

impl Request {
    pub(crate) fn parse(text: &str) -> Result<Self, Problem> {
        let StrictJson(value) = serde_json::from_str(text).map_err(|e| {
            if e.is_data() {
                return Problem::new(&INVALID_BODY, format!("The message does not read: {e}."));
            }
            Problem::new(&MALFORMED_JSON, format!("The message is not JSON: {e}."))
        })?;
        let Value::Object(mut fields) = value else { return Err(unknown()) };
        let op = fields.remove("op");
        match op.as_ref().and_then(Value::as_str) {
            Some("filter") => filter(fields),
            Some("auth") => match fields.remove("token") {
                Some(Value::String(token)) if fields.is_empty() => Ok(Self::Auth(token)),
                _ => Err(Problem::new(&INVALID_BODY, r#"Send {"op":"auth","token":"…"} and nothing else."#)),
            },
            Some("ping") if fields.is_empty() => Ok(Self::Ping),
            Some("ping") => Err(Problem::new(&INVALID_BODY, r#"Send {"op":"ping"} and nothing else."#)),
            _ => Err(unknown()),
        }
    }
}

/// The filter's fields stand beside `op`, or together in `filter`.
fn filter(mut fields: Map<String, Value>) -> Result<Request, Problem> {
    if let Some(inner) = fields.remove("filter") {
        let (Value::Object(inner), true) = (inner, fields.is_empty()) else {
            return Err(Problem::new(
                &BAD_FILTER,
                "Send the filter's fields beside op, or all of them in one object.",
            ));
        };
        fields = inner;
    }
    if let Some(name) = fields.keys().find(|name| !Filter::FIELDS.contains(&name.as_str())) {
        let name: String = name.chars().take(40).collect();
        let known = Filter::FIELDS.join(", ");
        let detail = format!("A filter has no field {name:?}; it has {known}.");
        return Err(Problem::new(&BAD_FILTER, detail));
    }
    // As `?types=` does: to ask for everything, leave the field out.
    if let Some((name, _)) = fields.iter().find(|(_, value)| value.as_array().is_some_and(Vec::is_empty)) {
        return Err(Problem::new(
            &BAD_FILTER,
            format!("The filter's {name} is an empty list: leave it out instead."),
        ));
    }
    serde_json::from_value(Value::Object(fields))
        .map(Request::Filter)
        .map_err(|e| Problem::new(&BAD_FILTER, format!("The filter does not read: {e}.")))
}

fn unknown() -> Problem {
    Problem::new(&INVALID_BODY, r#"A message is an object whose "op" is "filter", "auth" or "ping"."#)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        let Err(problem) = Request::parse(text) else { panic!("{text} was taken") };
        serde_json::to_value(problem).expect("serialises")["type"].as_str().expect("text").to_owned()
    }

    #[test]
    fn a_filter_stands_beside_op_or_in_one_object() {
        for text in [r#"{"op":"filter","types":["job.*"]}"#, r#"{"op":"filter","filter":{"types":"job.*"}}"#]
        {
            let Ok(Request::Filter(filter)) = Request::parse(text) else { panic!("{text}") };
            let filter = filter.resolve(None).expect("valid");
            assert_eq!(serde_json::to_string(&filter).expect("serialises"), r#"{"types":["job.*"]}"#);
        }
        assert!(matches!(Request::parse(r#"{"op":"filter"}"#), Ok(Request::Filter(_))), "everything again");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "{", "nul", &"[".repeat(10_000)] {
            assert_eq!(refused(text), MALFORMED_JSON.uri, "{text:.10}");
        }
        for text in [
            "1",
            "[]",
            "{}",
            r#"{"op":1}"#,
            r#"{"op":"shout"}"#,
            r#"{"op":"ping","x":1}"#,
            r#"{"op":"auth"}"#,
            r#"{"op":"ping","op":"filter"}"#,
            r#"{"op":"filter","types":"a","types":"b"}"#,
            r#"{"op":"filter","filter":{"types":"a","types":"b"}}"#,
        ] {
            assert_eq!(refused(text), INVALID_BODY.uri, "{text}");
        }
        for text in [
            r#"{"op":"filter","types":7}"#,
            r#"{"op":"filter","filter":[]}"#,
            r#"{"op":"filter","filter":{},"types":[]}"#,
            r#"{"op":"filter","types":[]}"#,
            r#"{"op":"filter","filter":{"owner":[]}}"#,
            r#"{"op":"filter","since":0}"#,
        ] {
            assert_eq!(refused(text), BAD_FILTER.uri, "{text}");
        }
    }
}
