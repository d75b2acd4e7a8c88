//! For clap: values that are refused where they would make something of no use.

use std::time::Duration;

use tidings_core::{ScopeSet, parse_duration};

/// Scopes, joined by spaces; a credential without any could do nothing.
pub(crate) fn scopes(text: &str) -> Result<ScopeSet, String> {
    let scopes: ScopeSet = text.parse().map_err(|error: tidings_core::ScopeError| error.to_string())?;
    if scopes.is_empty() { Err("it names no scope".into()) } else { Ok(scopes) }
}

/// A duration that is longer than zero.
pub(crate) fn length(text: &str) -> Result<Duration, String> {
    let length = parse_duration(text).map_err(|error| error.to_string())?;
    if length.is_zero() { Err("it is longer than zero".into()) } else { Ok(length) }
}

/// The same, whose text goes to the server.
pub(crate) fn length_text(text: &str) -> Result<String, String> {
    length(text).map(|_| text.to_owned())
}

pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "it is a whole number, at least 1".into())
}
