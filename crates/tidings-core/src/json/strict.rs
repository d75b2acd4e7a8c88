//! JSON read strictly: a name that stands twice in one object means one thing to one reader and another to the
//! next, so it is refused at every depth.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// How the error of a repeated name begins; a deserializer has no other way to tell.
const REPEATED: &str = "duplicate field ";

/// A value in whose objects no name stands twice.
#[derive(Debug, Clone, PartialEq)]
pub struct StrictJson(pub Value);

/// The same, of an object.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StrictObject(pub Map<String, Value>);

impl StrictJson {
    /// Whether this is why reading a [`StrictJson`] or a [`StrictObject`] failed.
    pub fn is_repeated_name(error: &serde_json::Error) -> bool {
        error.is_data() && error.to_string().starts_with(REPEATED)
    }
}

impl<'de> Deserialize<'de> for StrictJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor).map(Self)
    }
}

impl<'de> Deserialize<'de> for StrictObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor).map(Self)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(StrictJson(item)) = items.next_element()? {
            all.push(item);
        }
        Ok(all.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Value, A::Error> {
        ObjectVisitor.visit_map(fields).map(Value::Object)
    }
}

struct ObjectVisitor;

impl<'de> Visitor<'de> for ObjectVisitor {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Map<String, Value>, A::Error> {
        let mut all = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            if all.contains_key(&name) {
                return Err(A::Error::custom(format_args!("{REPEATED}`{name}`")));
            }
            let StrictJson(value) = fields.next_value()?;
            all.insert(name, value);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_it_takes_reads_as_everyone_reads_it(text in "[{}\\[\\]\":,0-9a-b ]{0,24}") {
            if let Ok(StrictJson(value)) = serde_json::from_str(&text) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).expect("valid"), value);
            }
        }
    }

    #[test]
    fn repeated_names_are_refused_at_every_depth() {
        let every = r#"{"a":1,"b":{"a":[{"a":null},-2,2.5,"x",true]}}"#;
        let StrictObject(object) = serde_json::from_str(every).expect("none is repeated");
        assert_eq!(Value::Object(object).to_string(), every);
        for bad in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"{"b":[{"c":{"a":1,"a":2}}]}"#] {
            for error in [
                serde_json::from_str::<StrictObject>(bad).expect_err("refused"),
                serde_json::from_str::<StrictJson>(&format!("[{bad}]")).expect_err("refused"),
            ] {
                assert!(StrictJson::is_repeated_name(&error), "{bad}: {error}");
                assert!(error.to_string().contains("`a`"), "{error}");
            }
        }
        for bad in ["[]", "1", "null", "{\"a\":}", &"{\"a\":".repeat(10_000)] {
            let error = serde_json::from_str::<StrictObject>(bad).expect_err("refused");
            assert!(!StrictJson::is_repeated_name(&error), "{bad:.20}: {error}");
        }
    }
}
