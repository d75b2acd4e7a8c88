use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

macro_rules! scopes {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// One thing that a principal may do in its tenant.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Scope {
            $($(#[$doc])* $name),+
        }

        impl Scope {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text),+
                }
            }
        }
    };
}

scopes! {
    /// Read one's own user's jobs and their events.
    JobsReadOwn = "jobs:read:own",
    /// Read every job of the tenant and its events.
    JobsReadAll = "jobs:read:all",
    /// Enqueue, cancel and retry jobs.
    JobsWrite = "jobs:write",
    /// Lease jobs and report on them.
    JobsWork = "jobs:work",
    /// Read published events.
    EventsRead = "events:read",
    /// Publish events.
    EventsPublish = "events:publish",
    /// Ask for more than the minimal verbosity.
    EventsDetail = "events:detail",
    /// Manage webhook endpoints.
    WebhooksManage = "webhooks:manage",
    /// Make, list and revoke API keys.
    KeysManage = "keys:manage",
    /// List and close live connections.
    ConnectionsManage = "connections:manage",
    /// Read the tenant's audit log.
    AuditRead = "audit:read",
    /// The operator's: every tenant, named with `X-Tidings-Tenant`. Only in credentials made here.
    SystemAdmin = "system:admin",
}

#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[error("there is no scope {0:?}")]
pub struct ScopeError(String);

impl FromStr for Scope {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        Self::ALL
            .iter()
            .copied()
            .find(|s| s.as_str() == text)
            .ok_or_else(|| ScopeError(text.chars().take(60).collect()))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A set of scopes; as text they are joined by spaces.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct ScopeSet(u16);

impl ScopeSet {
    pub const EMPTY: Self = Self(0);

    /// Every scope, the operator's included.
    pub fn all() -> Self {
        Scope::ALL.iter().copied().collect()
    }

    pub const fn contains(self, scope: Scope) -> bool {
        self.0 & (1 << scope as u16) != 0
    }

    #[must_use]
    pub const fn with(self, scope: Scope) -> Self {
        Self(self.0 | 1 << scope as u16)
    }

    #[must_use]
    pub const fn without(self, scope: Scope) -> Self {
        Self(self.0 & !(1 << scope as u16))
    }

    pub const fn is_subset_of(self, other: Self) -> bool {
        self.0 & !other.0 == 0
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn iter(self) -> impl Iterator<Item = Scope> {
        Scope::ALL.iter().copied().filter(move |s| self.contains(*s))
    }

    /// Reads scopes joined by white space and passes over those that are not ours: an issuer's token
    /// may carry others.
    pub fn parse_lossy(text: &str) -> Self {
        text.split_whitespace().filter_map(|s| s.parse().ok()).collect()
    }
}

impl FromIterator<Scope> for ScopeSet {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        scopes.into_iter().fold(Self::EMPTY, Self::with)
    }
}

impl FromStr for ScopeSet {
    type Err = ScopeError;

    fn from_str(text: &str) -> Result<Self, ScopeError> {
        text.split_whitespace().map(str::parse).collect()
    }
}

impl fmt::Display for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, scope) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(scope.as_str())?;
        }
        Ok(())
    }
}

impl fmt::Debug for ScopeSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

impl Serialize for ScopeSet {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(self.iter().map(Scope::as_str))
    }
}

/// Takes a list of scopes or one text with spaces between them.
impl<'de> Deserialize<'de> for ScopeSet {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            List(Vec<String>),
        }
        match Form::deserialize(d).map_err(|_| D::Error::custom("scopes are a list of texts or one text"))? {
            Form::Text(text) => text.parse().map_err(D::Error::custom),
            Form::List(list) => {
                list.iter().map(|s| s.parse()).collect::<Result<_, _>>().map_err(D::Error::custom)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_set_reads_back(bits in proptest::collection::vec(any::<bool>(), Scope::ALL.len())) {
            let set: ScopeSet = Scope::ALL.iter().zip(bits).filter(|(_, b)| *b).map(|(s, _)| *s).collect();
            prop_assert_eq!(set.to_string().parse::<ScopeSet>(), Ok(set));
            let json = serde_json::to_string(&set).expect("serialises");
            prop_assert_eq!(serde_json::from_str::<ScopeSet>(&json).expect("reads"), set);
        }
    }

    #[test]
    fn a_foreign_scope_is_an_error_or_passed_over() {
        assert!("events:read openid".parse::<ScopeSet>().is_err());
        assert_eq!(ScopeSet::parse_lossy("events:read openid"), ScopeSet::EMPTY.with(Scope::EventsRead));
    }
}
