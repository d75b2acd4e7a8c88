use serde_json::{Map, Value};
use tidings_core::{
    EndpointSpec, FilterRequest, Grant, Principal, Scope, ScopeSet, Seq, TenantId, Tenants, UserId,
    webhook::{Resume, SpecError},
};

use crate::{
    access::forbidden,
    body::{self, invalid},
    endpoints::Wanted,
    problem::{Kind, Problem},
    routes::keys::sentence,
};

/// What an endpoint may carry of its creator's scopes: those that reading events asks for.
const CARRIED: [Scope; 4] = [Scope::JobsReadOwn, Scope::JobsReadAll, Scope::EventsRead, Scope::EventsDetail];

/// A body that sets what an endpoint is to do, with what only its making takes.
pub(super) struct EndpointRequest {
    pub(super) fields: Map<String, Value>,
    pub(super) secret: Wanted,
    pub(super) from: Option<Seq>,
}

impl EndpointRequest {
    pub(super) fn read(text: &[u8]) -> Result<Self, Problem> {
        let mut fields = body::object(text)?;
        let secret = secret_kind(fields.remove("secret_kind").as_ref())?.unwrap_or(Wanted::V1);
        let from = match fields.remove("since") {
            None => None,
            Some(since) => Some(seq("$.since", &since)?),
        };
        if fields.get("url").is_none_or(Value::is_null) {
            return Err(invalid("$.url", "an endpoint needs a url"));
        }
        Ok(Self { fields, secret, from })
    }
}

/// What the fields say, over what there was: as a JSON merge patch (RFC 7396), where null stands for the default.
pub(super) fn patched(
    before: &EndpointSpec,
    mut fields: Map<String, Value>,
    me: Option<&UserId>,
) -> Result<EndpointSpec, Problem> {
    if let Some(filter) = fields.get_mut("filter").filter(|filter| !filter.is_null()) {
        let request: FilterRequest = body::value(filter.take(), "$.filter")?;
        let resolved = request.resolve(me).map_err(|e| invalid("$.filter", e))?;
        *filter = serde_json::to_value(resolved).expect("a filter serialises");
    }
    let Value::Object(mut all) = serde_json::to_value(before).expect("a spec serialises") else {
        unreachable!("a spec is an object")
    };
    for (name, mut value) in fields {
        if name == "headers"
            && let Value::Object(entries) = value
        {
            value = Value::Object(lower_case(entries)?);
        }
        match (value, all.get_mut(&name)) {
            (Value::Null, _) => drop(all.remove(&name)),
            // Names of headers and metadata one by one; everything else is set as a whole.
            (Value::Object(entries), Some(Value::Object(there))) if name != "filter" => merge(there, entries),
            (value, _) => drop(all.insert(name, value)),
        }
    }
    body::value(Value::Object(all), "$")
}

fn merge(there: &mut Map<String, Value>, entries: Map<String, Value>) {
    for (name, value) in entries {
        if value.is_null() {
            there.remove(&name);
        } else {
            there.insert(name, value);
        }
    }
}

/// Names in lower case, as they are kept: a patch names what is there in whatever case.
fn lower_case(headers: Map<String, Value>) -> Result<Map<String, Value>, Problem> {
    let mut lower = Map::new();
    for (name, value) in headers {
        let name = name.to_ascii_lowercase();
        if lower.contains_key(&name) {
            let name: String = name.chars().take(80).collect();
            return Err(invalid("$.headers", format_args!("the header {name:?} is given more than once")));
        }
        lower.insert(name, value);
    }
    Ok(lower)
}

/// What is checked of a spec without asking anybody.
pub(super) fn checked(spec: EndpointSpec, grant: &Grant) -> Result<EndpointSpec, Problem> {
    spec.check(grant).map_err(|error| match error {
        // As of any other URL that is of no use.
        SpecError::Url => Problem::new(Kind::UrlRefused, sentence(&error)).with("path", "$.url"),
        error => invalid(&format!("$.{}", error.field()), error),
    })?;
    Ok(spec)
}

/// Up to 2^53-1, which every reader of JSON takes.
pub(super) fn seq(path: &str, value: &Value) -> Result<Seq, Problem> {
    let max = Seq::MAX.get();
    let seq = value.as_u64().filter(|seq| *seq <= max).map(Seq::new);
    seq.ok_or_else(|| invalid(path, format_args!("a seq is a whole number from 0 to {max}")))
}

/// What a new endpoint carries: its creator's reading, and no more.
pub(super) fn grant_of(principal: &Principal, tenant: &TenantId) -> Result<Grant, Problem> {
    let scopes: ScopeSet = if principal.is_operator() {
        CARRIED.into_iter().filter(|scope| *scope != Scope::JobsReadOwn).collect()
    } else {
        CARRIED.into_iter().filter(|scope| principal.has(*scope)).collect()
    };
    if !scopes.contains(Scope::EventsRead)
        && !scopes.contains(Scope::JobsReadOwn)
        && !scopes.contains(Scope::JobsReadAll)
    {
        return Err(forbidden(
            "An endpoint is sent what its creator may read, and your credential reads neither events nor jobs.",
        ));
    }
    let grant = Grant {
        tenants: Tenants::One(tenant.clone()),
        user: principal.user().cloned(),
        scopes,
        subjects: principal.grant.subjects.clone(),
    };
    principal.may_grant(&grant).map_err(|e| forbidden(sentence(&e)))?;
    Ok(grant)
}

pub(super) fn secret_kind(value: Option<&Value>) -> Result<Option<Wanted>, Problem> {
    match value.map(Value::as_str) {
        None => Ok(None),
        Some(Some("v1")) => Ok(Some(Wanted::V1)),
        Some(Some("v1a")) => Ok(Some(Wanted::V1a)),
        Some(_) => Err(invalid("$.secret_kind", "it is \"v1\" or \"v1a\"")),
    }
}

pub(super) fn resume(value: Option<Value>) -> Result<Resume, Problem> {
    match value {
        None => Ok(Resume::default()),
        Some(Value::String(text)) => text.parse().map_err(|e| invalid("$.from", e)),
        Some(_) => Err(invalid("$.from", "it is \"cursor\" or \"now\"")),
    }
}

/// Refuses what was not taken.
pub(super) fn finish(fields: &Map<String, Value>) -> Result<(), Problem> {
    match fields.keys().next() {
        None => Ok(()),
        Some(name) => Err(invalid("$", format_args!("unknown field `{name}`"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn patch(before: &EndpointSpec, fields: Value) -> Result<EndpointSpec, Problem> {
        let Value::Object(fields) = fields else { panic!("an object") };
        patched(before, fields, Some(&UserId::new("ana").expect("valid")))
    }

    #[test]
    fn a_patch_changes_what_it_names() {
        let first = patch(
            &EndpointSpec::default(),
            json!({"url": "https://example.com", "headers": {"x-a": "1", "x-b": "2"}, "concurrency": 2,
                   "filter": {"owner": "me", "types": ["job.*"]}}),
        )
        .expect("valid");
        assert!(first.filter.owners().eq(&[UserId::new("ana").expect("valid")]));
        let second = patch(
            &first,
            json!({"headers": {"x-b": null, "x-c": "3"}, "concurrency": null, "filter": {"types": "note.*"}}),
        )
        .expect("valid");
        assert_eq!(second.headers.iter().collect::<Vec<_>>(), [("x-a", "1"), ("x-c", "3")]);
        assert_eq!((second.url.as_str(), second.concurrency), ("https://example.com", 8));
        assert_eq!(serde_json::to_value(&second.filter).expect("serialises"), json!({"types": ["note.*"]}));
    }

    #[test]
    fn a_field_that_does_not_fit_is_named() {
        for (fields, part) in [
            (json!({"colour": 1}), "unknown field `colour`"),
            (json!({"concurrency": "x"}), "$.concurrency"),
            (json!({"headers": {"host": "x"}}), "not an endpoint's to set"),
            (json!({"filter": {"colour": "red"}}), "$.filter"),
            (json!({"retries": ["1ms"]}), "$.retries"),
        ] {
            let problem = patch(&EndpointSpec::default(), fields).expect_err("it does not fit");
            assert!(problem.detail().contains(part), "{}", problem.detail());
        }
    }
}
