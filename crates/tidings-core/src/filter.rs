use std::{collections::BTreeSet, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};

use crate::{JobId, JobType, NewEvent, Pattern, UserId};

/// What a subscriber asked to see. Values of one field are alternatives, fields are combined; an
/// empty field lets everything through. It decides who gets an event and never changes its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize)]
pub struct Filter {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    types: Vec<Pattern>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    job_id: BTreeSet<JobId>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subject: Vec<Pattern>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    job_type: BTreeSet<JobType>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    owner: BTreeSet<UserId>,
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum FilterError {
    #[error("a filter has no field {0:?}; it has types, job_id, subject, job_type and owner")]
    UnknownField(String),
    #[error("the filter's {field} has a value that does not fit: {why}")]
    Value { field: &'static str, why: String },
    #[error("a filter takes at most {max} values", max = Filter::VALUES_MAX)]
    TooManyValues,
    #[error("owner=me needs a credential that stands for a user")]
    NoUser,
}

impl Filter {
    /// How many values all fields may have together.
    pub const VALUES_MAX: usize = 100;

    /// The fields' names, as query parameters and in JSON.
    pub const FIELDS: [&'static str; 5] = ["types", "job_id", "subject", "job_type", "owner"];

    /// Reads `(field, value)` pairs; a value may hold several, joined by commas. `me` is who asks.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        me: Option<&UserId>,
    ) -> Result<Self, FilterError> {
        let mut filter = Self::default();
        for (field, values) in pairs {
            for value in values.split(',') {
                filter.add(field, value, me)?;
            }
        }
        Ok(filter)
    }

    fn add(&mut self, field: &str, value: &str, me: Option<&UserId>) -> Result<(), FilterError> {
        match field {
            "types" => self.types.push(parse("types", value)?),
            "job_id" => drop(self.job_id.insert(parse("job_id", value)?)),
            "subject" => self.subject.push(parse("subject", value)?),
            "job_type" => drop(self.job_type.insert(parse("job_type", value)?)),
            "owner" if value == "me" => drop(self.owner.insert(me.ok_or(FilterError::NoUser)?.clone())),
            "owner" => drop(self.owner.insert(parse("owner", value)?)),
            _ => return Err(FilterError::UnknownField(field.chars().take(40).collect())),
        }
        if self.len() > Self::VALUES_MAX { Err(FilterError::TooManyValues) } else { Ok(()) }
    }

    fn len(&self) -> usize {
        self.types.len() + self.job_id.len() + self.subject.len() + self.job_type.len() + self.owner.len()
    }

    /// Whether everything passes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing but events of jobs can pass; false where that is not certain.
    pub fn is_of_jobs(&self) -> bool {
        let of_jobs = |pattern: &Pattern| pattern.to_string().starts_with("job.");
        !self.job_id.is_empty()
            || !self.job_type.is_empty()
            || (!self.types.is_empty() && self.types.iter().all(of_jobs))
    }

    pub fn owners(&self) -> impl Iterator<Item = &UserId> {
        self.owner.iter()
    }

    pub fn matches(&self, event: &NewEvent) -> bool {
        let any = |patterns: &[Pattern], text: &str| patterns.iter().any(|p| p.matches(text));
        (self.types.is_empty() || any(&self.types, event.event_type.as_str()))
            && (self.job_id.is_empty() || event.job.as_ref().is_some_and(|j| self.job_id.contains(&j.id)))
            && (self.job_type.is_empty()
                || event.job.as_ref().is_some_and(|j| self.job_type.contains(&j.job_type)))
            && (self.subject.is_empty()
                || event.subject.as_ref().is_some_and(|s| any(&self.subject, s.as_str())))
            && (self.owner.is_empty() || event.owner.as_ref().is_some_and(|o| self.owner.contains(o)))
    }
}

/// A filter as it was stored: `me` was made a user's name long ago, and is one that is called so.
impl<'de> Deserialize<'de> for Filter {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let me = UserId::new("me").map_err(D::Error::custom)?;
        FilterRequest::deserialize(d)?.resolve(Some(&me)).map_err(D::Error::custom)
    }
}

fn parse<T: FromStr<Err: ToString>>(field: &'static str, value: &str) -> Result<T, FilterError> {
    value.parse().map_err(|e: T::Err| FilterError::Value { field, why: e.to_string() })
}

/// A filter as JSON before `me` is known: `{"types":["job.*"],"owner":"me"}`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterRequest(Vec<(String, String)>);

impl FilterRequest {
    pub fn resolve(&self, me: Option<&UserId>) -> Result<Filter, FilterError> {
        Filter::from_pairs(self.0.iter().map(|(f, v)| (f.as_str(), v.as_str())), me)
    }
}

impl<'de> Deserialize<'de> for FilterRequest {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Values {
            One(String),
            Many(Vec<String>),
        }
        let fields = std::collections::BTreeMap::<String, Values>::deserialize(d)
            .map_err(|_| D::Error::custom("a filter's fields are texts or lists of texts"))?;
        for (field, values) in &fields {
            if !Filter::FIELDS.contains(&field.as_str()) {
                return Err(D::Error::custom(FilterError::UnknownField(field.chars().take(40).collect())));
            }
            if matches!(values, Values::Many(values) if values.is_empty()) {
                return Err(D::Error::custom(format_args!(
                    "the filter's {field} is an empty list: leave it out"
                )));
            }
        }
        let pairs = fields.into_iter().flat_map(|(field, values)| {
            let values = match values {
                Values::One(value) => vec![value],
                Values::Many(values) => values,
            };
            values.into_iter().map(move |value| (field.clone(), value))
        });
        Ok(Self(pairs.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventBody, EventId, EventType, JobRef, RawJson, Subject};
    use proptest::prelude::*;

    fn event(
        event_type: &str,
        job: Option<(u8, &str)>,
        subject: Option<&str>,
        owner: Option<&str>,
    ) -> NewEvent {
        NewEvent {
            id: EventId::from_bytes([0; 16]),
            event_type: EventType::parse(event_type).expect("valid"),
            job: job.map(|(id, t)| JobRef {
                id: JobId::from_bytes([id; 16]),
                job_type: JobType::new(t).expect("valid"),
            }),
            owner: owner.map(|o| UserId::new(o).expect("valid")),
            subject: subject.map(|s| Subject::new(s).expect("valid")),
            body: EventBody::same_for_all(RawJson::null()),
        }
    }

    fn filter(pairs: &[(&str, &str)]) -> Result<Filter, FilterError> {
        Filter::from_pairs(pairs.iter().copied(), Some(&UserId::new("ana").expect("valid")))
    }

    #[test]
    fn fields_are_combined_and_values_are_alternatives() {
        let f = filter(&[("types", "job.*,note.created"), ("owner", "me")]).expect("valid");
        assert!(f.matches(&event("job.queued", Some((1, "x")), None, Some("ana"))));
        assert!(f.matches(&event("note.created", None, None, Some("ana"))));
        assert!(!f.matches(&event("note.deleted", None, None, Some("ana"))));
        assert!(!f.matches(&event("job.queued", Some((1, "x")), None, Some("ben"))));
        assert!(!f.matches(&event("job.queued", Some((1, "x")), None, None)));
    }

    #[test]
    fn a_bad_filter_says_what_is_wrong() {
        assert!(matches!(filter(&[("colour", "red")]), Err(FilterError::UnknownField(_))));
        assert!(matches!(filter(&[("job_id", "42")]), Err(FilterError::Value { field: "job_id", .. })));
        assert!(matches!(filter(&[("types", "")]), Err(FilterError::Value { field: "types", .. })));
        assert_eq!(Filter::from_pairs([("owner", "me")], None), Err(FilterError::NoUser));
        assert_eq!(filter(&[("types", &vec!["a"; 101].join(","))]), Err(FilterError::TooManyValues));
    }

    #[test]
    fn json_takes_texts_and_lists() {
        let request: FilterRequest =
            serde_json::from_str(r#"{"types":["a.b","c.*"],"owner":"me"}"#).expect("valid");
        let me = UserId::new("ana").expect("valid");
        let pairs = filter(&[("types", "a.b,c.*"), ("owner", "me")]).expect("valid");
        assert_eq!(request.resolve(Some(&me)), Ok(pairs));
        assert!(serde_json::from_str::<FilterRequest>(r#"{"types":1}"#).is_err());
        assert!(serde_json::from_str::<FilterRequest>("[]").is_err());
        for text in [r#"{"typs":[]}"#, r#"{"types":[]}"#, r#"{"typs":["a"]}"#] {
            assert!(serde_json::from_str::<FilterRequest>(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn more_alternatives_never_match_less(a in "[a-c.]{1,4}\\*?", b in "[a-c.]{1,4}\\*?", t in "[a-c](\\.[a-c]){0,2}") {
            let (Ok(one), Ok(two)) = (filter(&[("types", &a)]), filter(&[("types", &format!("{a},{b}"))])) else { return Ok(()) };
            let event = event(&t, None, None, None);
            prop_assert!(!one.matches(&event) || two.matches(&event));
        }

        #[test]
        fn the_parser_never_panics(field in ".{0,12}", value in ".{0,40}") {
            let _ = filter(&[(&field, &value)]);
        }
    }
}
