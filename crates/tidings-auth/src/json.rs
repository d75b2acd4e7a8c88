//! JSON objects read strictly: a member that is named twice means one thing to one reader and
//! another to the next, so it is refused at every depth.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use crate::error::Cause;

/// What the error of a repeated member says; the deserializer has no other way to tell.
const REPEATED: &str = "a member is named twice";

/// Reads one object and nothing after it.
pub(crate) fn object(text: &[u8]) -> Result<Map<String, Value>, Cause> {
    match serde_json::from_slice::<Strict>(text) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        Err(error) if error.to_string().starts_with(REPEATED) => Err(Cause::DuplicateMember),
        Ok(_) | Err(_) => Err(Cause::Json),
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        StrictVisitor.deserialize(d).map(Self)
    }
}

#[derive(Clone, Copy)]
struct StrictVisitor;

impl<'de> DeserializeSeed<'de> for StrictVisitor {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Value, D::Error> {
        d.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(self)?;
            if object.insert(name, value).is_some() {
                return Err(A::Error::custom(REPEATED));
            }
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_it_takes_reads_as_everyone_reads_it(text in "[{}\\[\\]\":,0-9a-b ]{0,24}") {
            if let Ok(object) = object(text.as_bytes()) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).expect("valid"), Value::Object(object));
            }
        }
    }

    #[test]
    fn repeated_members_are_refused_at_every_depth() {
        assert!(object(br#"{"a":1,"b":{"c":[{"d":null}]}}"#).is_ok());
        for bad in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"b":[{"c":{"a":1,"a":2}}]}"#] {
            assert_eq!(object(bad.as_bytes()), Err(Cause::DuplicateMember), "{bad}");
        }
        for bad in ["", "[]", "1", "{} {}", "{\"a\":}", "{'a':1}", "null", "{\"a\":1,}"] {
            assert_eq!(object(bad.as_bytes()), Err(Cause::Json), "{bad}");
        }
        assert_eq!(object("{\"a\":".repeat(10_000).as_bytes()), Err(Cause::Json));
    }
}
