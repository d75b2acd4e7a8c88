//! Query parameters: each is known, given once, and read to the end, or the request is refused.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use tidings_core::{Cursor, Filter, FilterError, Principal, UserId, Verbosity};

use crate::problem::{Kind, Problem};

/// What stands behind the `?`. A handler takes what it knows and then calls [`Params::finish`].
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    /// The value of a parameter that may be given once.
    pub(crate) fn take<T: FromStr<Err: Display>>(&mut self, name: &str) -> Result<Option<T>, Problem> {
        let Some(text) = self.take_text(name)? else { return Ok(None) };
        text.parse().map(Some).map_err(|e: T::Err| bad(format!("The parameter {name} does not read: {e}.")))
    }

    pub(crate) fn take_text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        let Some(at) = self.0.iter().position(|(n, _)| n == name) else { return Ok(None) };
        let (_, value) = self.0.remove(at);
        if self.0.iter().any(|(n, _)| n == name) {
            return Err(bad(format!("The parameter {name} is given more than once.")));
        }
        Ok(Some(value))
    }

    pub(crate) fn take_number(
        &mut self,
        name: &str,
        range: RangeInclusive<u32>,
    ) -> Result<Option<u32>, Problem> {
        let Some(text) = self.take_text(name)? else { return Ok(None) };
        // `u32::from_str` would take a leading plus.
        let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let number = number.filter(|n| range.contains(n)).ok_or_else(|| {
            let (min, max) = (range.start(), range.end());
            bad(format!("The parameter {name} is a whole number from {min} to {max}."))
        })?;
        Ok(Some(number))
    }

    /// The cursor `name`; one that does not read is a problem of its own type.
    pub(crate) fn take_cursor(&mut self, name: &str) -> Result<Option<Cursor>, Problem> {
        self.take_text(name)?.map(|text| parse_cursor(&text)).transpose()
    }

    /// The filter's fields, each of which may be repeated.
    pub(crate) fn take_filter(&mut self, me: Option<&UserId>) -> Result<Filter, Problem> {
        let is_field = |name: &str| Filter::FIELDS.contains(&name);
        let filter = {
            let pairs = self.0.iter().filter(|(n, _)| is_field(n)).map(|(n, v)| (n.as_str(), v.as_str()));
            Filter::from_pairs(pairs, me).map_err(|e| bad_filter(&e))?
        };
        self.0.retain(|(n, _)| !is_field(n));
        Ok(filter)
    }

    /// The verbosity, where the principal and the server's mode allow it.
    pub(crate) fn take_verbosity(
        &mut self,
        principal: &Principal,
        development: bool,
    ) -> Result<Verbosity, Problem> {
        let wanted = self.take("verbosity")?.unwrap_or_default();
        crate::access::may_read_at(principal, wanted, development)?;
        Ok(wanted)
    }

    /// Refuses what was not taken.
    pub(crate) fn finish(self) -> Result<(), Problem> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => {
                let name: String = name.chars().take(40).collect();
                Err(bad(format!("There is no parameter {name:?} here.")))
            }
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Params {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|_| bad("The query is not valid percent-encoded UTF-8."))?;
        Ok(Self(pairs))
    }
}

pub(crate) fn parse_cursor(text: &str) -> Result<Cursor, Problem> {
    text.parse().map_err(|e| Problem::new(Kind::BadCursor, format!("The cursor does not read: {e}.")))
}

pub(crate) fn bad_filter(error: &FilterError) -> Problem {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase()).unwrap_or_default();
    Problem::new(Kind::BadFilter, format!("{first}{}.", letters.as_str()))
}

fn bad(detail: impl Into<std::borrow::Cow<'static, str>>) -> Problem {
    Problem::new(Kind::BadParameter, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(query: &str) -> Params {
        let uri = format!("/x?{query}").parse().expect("a URI");
        Params(Query::try_from_uri(&uri).expect("reads").0)
    }

    #[test]
    fn what_is_not_known_or_repeated_is_refused() {
        let mut known = params("limit=5&since=abc:7");
        assert_eq!(known.take_number("limit", 1..=10).expect("valid"), Some(5));
        assert_eq!(known.take_cursor("since").expect("valid").expect("given").seq.get(), 7);
        assert!(known.finish().is_ok());
        assert!(params("colour=red").finish().is_err());
        assert!(params("limit=5&limit=6").take_number("limit", 1..=10).is_err());
        for bad in ["0", "11", "+5", "-1", "5.0", "", "x", "99999999999"] {
            assert!(params(&format!("limit={bad}")).take_number("limit", 1..=10).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_filters_fields_may_be_repeated() {
        let mut query = params("types=a.*&types=b.c&owner=me&limit=1");
        let me = UserId::new("ana").expect("valid");
        let filter = query.take_filter(Some(&me)).expect("valid");
        assert_eq!(
            serde_json::to_value(&filter).expect("JSON"),
            serde_json::json!({"types": ["a.*", "b.c"], "owner": ["ana"]})
        );
        assert!(query.take::<u32>("limit").is_ok() && query.finish().is_ok());
        assert_eq!(params("owner=me").take_filter(None).expect_err("no user").kind(), Kind::BadFilter);
    }
}
