//! Query parameters: each is known, given once, and read to the end, or the request is refused.

use std::{fmt::Display, ops::RangeInclusive, str::FromStr};

use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use tidings_core::{Cursor, Filter, FilterError, Principal, Seq, UserId, Verbosity};

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

    /// The number of an event in its log.
    pub(crate) fn take_seq(&mut self, name: &str) -> Result<Option<Seq>, Problem> {
        let Some(text) = self.take_text(name)? else { return Ok(None) };
        let number = text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten();
        let number = number.filter(|n| *n <= Seq::MAX.get()).ok_or_else(|| {
            bad(format!("The parameter {name} is a seq: a whole number from 0 to {}.", Seq::MAX))
        })?;
        Ok(Some(Seq::new(number)))
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
        let malformed = || bad("The query is not valid percent-encoded UTF-8.");
        if !is_well_formed(parts.uri.query().unwrap_or_default()) {
            return Err(malformed());
        }
        let query = Query::<Vec<(String, String)>>::try_from_uri(&parts.uri);
        query.map(|Query(pairs)| Self(pairs)).map_err(|_| malformed())
    }
}

/// Whether each `%` begins two hexadecimal digits and what they say is UTF-8. The decoder would take a
/// stray `%` as it is and put U+FFFD for what is no UTF-8: a filter would mean something else than was meant.
fn is_well_formed(query: &str) -> bool {
    let mut bytes = Vec::with_capacity(query.len());
    let mut rest = query.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let Some((digits, tail)) = tail.split_at_checked(2) else { return false };
        let digit = |at: usize| char::from(digits[at]).to_digit(16);
        let (Some(high), Some(low)) = (digit(0), digit(1)) else { return false };
        bytes.push((high * 16 + low) as u8);
        rest = tail;
    }
    std::str::from_utf8(&bytes).is_ok()
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
            let error = params(&format!("limit={bad}")).take_number("limit", 1..=10).expect_err("refused");
            assert_eq!(error.detail(), "The parameter limit is a whole number from 1 to 10.", "{bad}");
        }
    }

    #[test]
    fn a_seq_says_what_it_is() {
        assert_eq!(params("seq=7").take_seq("seq").expect("valid"), Some(Seq::new(7)));
        assert_eq!(params("").take_seq("seq").expect("absent"), None);
        for bad in ["", "-1", "+1", "x", "1.0", "9007199254740992", "99999999999999999999"] {
            let error = params(&format!("seq={bad}")).take_seq("seq").expect_err("refused");
            assert!(error.detail().starts_with("The parameter seq is a seq: a whole number"), "{bad}");
        }
    }

    #[test]
    fn a_query_is_percent_encoded_utf8_or_refused() {
        for good in ["", "a=b&c", "subject=note%2f42", "a=%C3%A9", "a=é", "a=1+2"] {
            assert!(is_well_formed(good), "{good}");
        }
        for bad in ["a=%", "a=%4", "a=%zz", "a=%+1", "a=100%&b=c", "a=%ff", "a=%C3", "a=%C3&b=%A9"] {
            assert!(!is_well_formed(bad), "{bad}");
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
