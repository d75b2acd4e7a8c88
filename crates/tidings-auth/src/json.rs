use serde_json::{Map, Value};
use tidings_core::{StrictJson, StrictObject};

use crate::error::Cause;

/// Reads one object and nothing after it, in which no member is named twice.
pub(crate) fn object(text: &[u8]) -> Result<Map<String, Value>, Cause> {
    match serde_json::from_slice(text) {
        Ok(StrictObject(object)) => Ok(object),
        Err(error) if StrictJson::is_repeated_name(&error) => Err(Cause::DuplicateMember),
        Err(_) => Err(Cause::Json),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
