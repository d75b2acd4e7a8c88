//! What a token says, read strictly: a claim that is there and not of its form is refused, never
//! passed over, since passing over could only widen.

use std::{sync::Arc, time::Duration};

use serde_json::{Map, Value};
use tidings_core::{Pattern, ScopeSet, TenantId, Timestamp, UserId};

use crate::error::Cause;

/// The last second of the year 9999: larger numbers are milliseconds, or meant to overflow something.
const SECONDS_MAX: i64 = 253_402_300_799;
/// Bytes of a `jti`.
const ID_MAX: usize = 255;
const SUBJECTS_MAX: usize = 100;

/// A verified token's claims. (Or a not yet verified one's: then only [`issuer`](Self::issuer) may be
/// asked for, to find the keys.)
#[derive(Clone, Copy)]
pub(super) struct Claims<'a>(pub(super) &'a Map<String, Value>);

impl<'a> Claims<'a> {
    pub(super) fn issuer(self) -> Result<&'a str, Cause> {
        self.0.get("iss").and_then(Value::as_str).ok_or(Cause::Issuer)
    }

    pub(super) fn check_audience(self, expected: &str) -> Result<(), Cause> {
        let named = match self.0.get("aud") {
            Some(Value::String(one)) => one == expected,
            Some(Value::Array(all)) if all.iter().all(Value::is_string) => all.iter().any(|a| a == expected),
            _ => false,
        };
        if named { Ok(()) } else { Err(Cause::Audience) }
    }

    /// Checks `exp`, `nbf` and `iat`; returns when the token ends, the leeway included.
    pub(super) fn check_times(self, now: Timestamp, leeway: Duration) -> Result<Timestamp, Cause> {
        let expires_at = self.seconds("exp", Cause::Expiry)?.ok_or(Cause::Expiry)? + leeway;
        if expires_at <= now {
            return Err(Cause::Expired);
        }
        for name in ["nbf", "iat"] {
            if self.seconds(name, Cause::NotYetValid)?.is_some_and(|at| at > now + leeway) {
                return Err(Cause::NotYetValid);
            }
        }
        Ok(expires_at)
    }

    /// A positive whole number of seconds.
    fn seconds(self, name: &str, malformed: Cause) -> Result<Option<Timestamp>, Cause> {
        match self.0.get(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                Some(seconds @ 1..=SECONDS_MAX) => Ok(Some(Timestamp::from_secs(seconds))),
                _ => Err(malformed),
            },
        }
    }

    /// Refuses tokens that were made to tell a client who signed in, or to get others with.
    pub(super) fn check_purpose(self) -> Result<(), Cause> {
        // OpenID Connect's ID tokens; Cognito's `token_use`; Keycloak's `typ`.
        let id_token = ["nonce", "at_hash", "c_hash", "s_hash"].iter().any(|name| self.0.contains_key(*name));
        let used_otherwise = self.0.get("token_use").is_some_and(|v| v != "access");
        let typed_otherwise = self.0.get("typ").is_some_and(|v| v != "Bearer" && v != "JWT" && v != "at+jwt");
        if id_token || used_otherwise || typed_otherwise { Err(Cause::Purpose) } else { Ok(()) }
    }

    pub(super) fn tenant(self, name: &str) -> Result<TenantId, Cause> {
        let text = self.0.get(name).and_then(Value::as_str).ok_or(Cause::Tenant)?;
        TenantId::new(text).map_err(|_| Cause::Tenant)
    }

    pub(super) fn user(self, name: &str) -> Result<Option<UserId>, Cause> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => UserId::new(text.as_str()).map(Some).map_err(|_| Cause::User),
            Some(_) => Err(Cause::User),
        }
    }

    /// Scopes that are not ours are passed over: a token may be good for other services too.
    pub(super) fn scopes(self, name: &str) -> Result<ScopeSet, Cause> {
        let value = self.0.get(name).or_else(|| if name == "scope" { self.0.get("scp") } else { None });
        match value {
            None => Ok(ScopeSet::EMPTY),
            Some(Value::String(text)) => Ok(ScopeSet::parse_lossy(text)),
            Some(Value::Array(list)) => {
                let texts =
                    list.iter().map(|s| s.as_str().ok_or(Cause::Scopes)).collect::<Result<Vec<_>, _>>()?;
                Ok(texts.iter().filter_map(|s| s.parse().ok()).collect())
            }
            Some(_) => Err(Cause::Scopes),
        }
    }

    pub(super) fn subjects(self) -> Result<Option<Arc<[Pattern]>>, Cause> {
        match self.0.get("subjects") {
            None => Ok(None),
            Some(Value::Array(list)) if list.len() <= SUBJECTS_MAX => list
                .iter()
                .map(|p| p.as_str().and_then(|p| p.parse().ok()).ok_or(Cause::Subjects))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err(Cause::Subjects),
        }
    }

    pub(super) fn id(self) -> Result<Option<&'a str>, Cause> {
        match self.0.get("jti") {
            None => Ok(None),
            Some(Value::String(id)) if (1..=ID_MAX).contains(&id.len()) => Ok(Some(id)),
            Some(_) => Err(Cause::TokenId),
        }
    }
}
