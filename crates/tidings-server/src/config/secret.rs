//! Values that are not shown: whole secrets, and URLs with a password in them.

use std::fmt;

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use toml::Value;

pub(super) const MASK: &str = "********";

/// A text that is shown nowhere. (It is written where a whole configuration is.)
#[derive(Clone)]
pub struct Secret(SecretString);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(SecretString::from(text.into()))
    }

    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

/// Whether a configuration is the same: nothing that a stranger offers is compared.
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.expose() == other.expose()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(MASK)
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.expose())
    }
}

/// What is no text is not quoted.
impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        match Value::deserialize(d) {
            Ok(Value::String(text)) => Ok(Self::new(text)),
            // Digits alone, from the environment.
            Ok(Value::Integer(number)) => Ok(Self::new(number.to_string())),
            _ => Err(D::Error::custom("must be a text")),
        }
    }
}

/// A value as it may be shown, by its key.
pub(super) fn masked(key: &str, value: Value) -> Value {
    match value {
        Value::String(text) if key == "server.store" => Value::String(masked_url(&text)),
        Value::String(text) if key == "server.redis" => Value::String(masked_addresses(&text)),
        Value::String(_) if key.starts_with("secrets.") || key == "webhooks.proxy_authorization" => {
            Value::String(MASK.into())
        }
        other => masked_inside(other),
    }
}

/// Secrets inside of lists.
fn masked_inside(value: Value) -> Value {
    match value {
        Value::Array(items) => Value::Array(items.into_iter().map(masked_inside).collect()),
        Value::Table(table) => {
            let mask = |(key, value)| {
                let value = if key == "secret" { Value::String(MASK.into()) } else { masked_inside(value) };
                (key, value)
            };
            Value::Table(table.into_iter().map(mask).collect())
        }
        other => other,
    }
}

/// A URL without its password and without parameters, which may hold one; what is no URL is shown if it is a word.
fn masked_url(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else {
        let word = text.bytes().all(|b| b.is_ascii_alphanumeric());
        return if word { text.to_owned() } else { MASK.into() };
    };
    let (place, parameters) = rest.split_once('?').map_or((rest, ""), |(place, _)| (place, "?…"));
    // A password may hold an at sign that should have been escaped: the last one counts.
    match place.rsplit_once('@') {
        Some((who, place)) => {
            let (user, password) = who.split_once(':').map_or((who, ""), |(user, _)| (user, ":********"));
            format!("{scheme}://{user}{password}@{place}{parameters}")
        }
        None => format!("{scheme}://{place}{parameters}"),
    }
}

/// URLs joined by commas, of which those after the first may be a host alone.
fn masked_addresses(text: &str) -> String {
    let masked = |address: &str| {
        let is_host = !address.contains(['@', '?']) && !address.contains("://");
        if is_host { address.to_owned() } else { masked_url(address) }
    };
    let (first, rest) = text.split_once(',').unwrap_or((text, ""));
    let rest = rest.split(',').map(str::trim).filter(|address| !address.is_empty()).map(masked);
    std::iter::once(masked_url(first.trim())).chain(rest).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown() {
        for (url, shown) in [
            ("sqlite", "sqlite"),
            ("postgres://ana:hunter2@db/x", "postgres://ana:********@db/x"),
            ("postgres://ana:hunt@er2@db/x", "postgres://ana:********@db/x"),
            ("postgres://ana@db:5433/x?password=hunter2&sslmode=require", "postgres://ana@db:5433/x?…"),
            ("postgres:///x?host=/run/pg", "postgres:///x?…"),
            ("rediss://:hunter2@r:6379/0", "rediss://:********@r:6379/0"),
            ("redis://r", "redis://r"),
            ("host=db password=hunter2", "********"),
        ] {
            assert_eq!(masked_url(url), shown);
            assert!(!format!("{:?}", Secret::new(url)).contains("hunter2"));
        }
    }

    #[test]
    fn every_address_of_redis_is_shown_and_no_password() {
        for (addresses, shown) in [
            ("redis://r", "redis://r"),
            ("rediss://:hunter2@r:6379/0", "rediss://:********@r:6379/0"),
            ("redis://u:hunter2@a:1,redis://u:hunter2@b:2", "redis://u:********@a:1,redis://u:********@b:2"),
            ("redis://u:hunter2@a:1, b:2 ,[fd00::1]", "redis://u:********@a:1,b:2,[fd00::1]"),
            ("redis://a,u:hunter2@b", "redis://a,********"),
            ("redis://a,b?password=hunter2", "redis://a,********"),
            ("hunter2!", "********"),
        ] {
            assert_eq!(masked("server.redis", Value::String(addresses.into())), Value::String(shown.into()));
        }
    }
}
