use serde::Serialize;
use tidings_core::{Grant, KeyId, Timestamp};
use tidings_store::KeyRecord;

/// A key as it is shown: never its secret, but once.
#[derive(Serialize)]
pub(super) struct KeyView<'a> {
    pub(super) id: KeyId,
    /// The whole credential, in the answer that made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) key: Option<&'a str>,
    pub(super) name: &'a str,
    #[serde(flatten)]
    pub(super) grant: &'a Grant,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) created_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) expires_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) revoked_at: Option<Timestamp>,
}

impl<'a> From<&'a KeyRecord> for KeyView<'a> {
    fn from(record: &'a KeyRecord) -> Self {
        Self {
            id: record.id,
            key: None,
            name: &record.name,
            grant: &record.grant,
            created_at: Some(record.created_at),
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
        }
    }
}
