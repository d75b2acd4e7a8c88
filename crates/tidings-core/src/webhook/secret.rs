use bytes::Bytes;

use crate::{SecretId, Timestamp};

/// What an endpoint's requests are signed with. The secret itself is sealed: whoever keeps it cannot read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub id: SecretId,
    pub kind: SecretKind,
    /// Under the servers' master key, with tenant, endpoint and this id as associated data.
    pub sealed: Bytes,
    pub created_at: Timestamp,
    /// From then on it signs no more: its successor overlaps with it until then.
    pub expires_at: Option<Timestamp>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretKind {
    /// HMAC-SHA256, `whsec_…`.
    V1,
    /// Ed25519: the private part is sealed, the public one (`whpk_…`) is for receivers.
    V1a { public: String },
}

impl SecretKind {
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a { .. } => "v1a",
        }
    }

    pub fn public(&self) -> Option<&str> {
        match self {
            Self::V1 => None,
            Self::V1a { public } => Some(public),
        }
    }

    /// Of a kind's name and its public part, where it has one.
    pub fn from_parts(name: &str, public: Option<String>) -> Option<Self> {
        match (name, public) {
            ("v1", None) => Some(Self::V1),
            ("v1a", Some(public)) => Some(Self::V1a { public }),
            _ => None,
        }
    }
}

impl Secret {
    pub fn signs_at(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| now < end)
    }
}
