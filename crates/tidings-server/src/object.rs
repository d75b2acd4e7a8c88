//! Bodies are objects: a derived reader would also take an array as the fields in their order.

use std::{fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};

/// A value that is written as an object and as nothing else.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::RawJson;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Point {
        x: u32,
        more: RawJson,
    }

    #[test]
    fn fields_have_names() {
        let Object(point) =
            serde_json::from_str::<Object<Point>>(r#"{"x":1,"more":{"z": 1.50}}"#).expect("an object");
        assert_eq!((point.x, point.more.as_str()), (1, r#"{"z":1.50}"#));
        for text in
            ["[1,{}]", "1", "null", r#"{"x":1}"#, r#"{"x":1,"more":1,"y":2}"#, r#"{"x":1,"x":2,"more":1}"#]
        {
            assert!(serde_json::from_str::<Object<Point>>(text).is_err(), "{text}");
        }
    }
}
