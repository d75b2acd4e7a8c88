//! `Idempotency-Key`: a repeat with the same body gets the first outcome.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use sha2::{Digest as _, Sha256};
use tidings_core::Principal;
use tidings_store::Idempotency;

use crate::problem::{Kind, Problem};

/// The header, where the request has one: 1 to 255 visible ASCII characters.
#[derive(Debug)]
pub(crate) struct IdempotencyKey(Option<Arc<str>>);

impl IdempotencyKey {
    /// What the store remembers: the key means one thing per route, and one thing per user, so that no
    /// user gets the outcome of another's request.
    pub(crate) fn under(self, route: &str, principal: &Principal, body: &[u8]) -> Option<Idempotency> {
        let key = self.0?;
        let route = match principal.user() {
            Some(user) => format!("{route} as {user}").into(),
            None => route.into(),
        };
        Some(Idempotency { route, key, body_hash: Sha256::digest(body).into() })
    }
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut values = parts.headers.get_all("idempotency-key").iter();
        let Some(value) = values.next() else { return Ok(Self(None)) };
        let text = value
            .to_str()
            .ok()
            .filter(|text| (1..=255).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic()));
        match (text, values.next()) {
            (Some(text), None) => Ok(Self(Some(text.into()))),
            _ => Err(Problem::new(
                Kind::BadParameter,
                "Idempotency-Key is given once, with 1 to 255 visible ASCII characters and no spaces.",
            )),
        }
    }
}
