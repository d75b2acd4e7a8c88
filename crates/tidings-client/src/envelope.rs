use bytes::Bytes;
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;
use tidings_core::{EventId, EventType, JobId, JobType, Seq, Subject, TenantId, Timestamp, UserId};

/// An event as it came over the wire: read once, its very text kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub seq: Seq,
    pub id: EventId,
    pub event_type: EventType,
    pub time: Timestamp,
    pub tenant_id: TenantId,
    pub job_id: Option<JobId>,
    pub job_type: Option<JobType>,
    pub owner: Option<UserId>,
    pub subject: Option<Subject>,
    /// A slice of `text`.
    data: Bytes,
    text: Bytes,
}

#[derive(Debug, thiserror::Error)]
#[error("an event that does not read: {0}")]
pub struct EnvelopeError(#[from] serde_json::Error);

#[derive(Deserialize)]
struct Fields<'a> {
    seq: Seq,
    id: EventId,
    #[serde(rename = "type")]
    event_type: EventType,
    time: Timestamp,
    tenant_id: TenantId,
    job_id: Option<JobId>,
    job_type: Option<JobType>,
    owner: Option<UserId>,
    subject: Option<Subject>,
    #[serde(borrow)]
    data: &'a RawValue,
}

impl Envelope {
    /// Fields that this release does not know are passed over; they are in [`text`](Self::text).
    pub fn parse(text: Bytes) -> Result<Self, EnvelopeError> {
        let fields: Fields<'_> = serde_json::from_slice(&text)?;
        let data = text.slice_ref(fields.data.get().as_bytes());
        Ok(Self {
            seq: fields.seq,
            id: fields.id,
            event_type: fields.event_type,
            time: fields.time,
            tenant_id: fields.tenant_id,
            job_id: fields.job_id,
            job_type: fields.job_type,
            owner: fields.owner,
            subject: fields.subject,
            data,
            text,
        })
    }

    /// The whole envelope, byte for byte as every transport carries it.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.text).expect("read as JSON text")
    }

    /// The event's data as JSON text.
    pub fn data_text(&self) -> &str {
        std::str::from_utf8(&self.data).expect("read as JSON text")
    }

    /// The event's data as a type of the caller's.
    pub fn data<T: DeserializeOwned>(&self) -> Result<T, EnvelopeError> {
        Ok(serde_json::from_slice(&self.data)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_kept_and_newer_fields_do_no_harm() {
        let text = concat!(
            r#"{"seq":7,"id":"01010101-0101-0101-0101-010101010101","type":"note.created","#,
            r#""time":"2026-11-23T07:12:09.123456Z","tenant_id":"acme","trace":"x","data":{"a": [1]}}"#
        );
        let envelope = Envelope::parse(Bytes::from_static(text.as_bytes())).expect("reads");
        assert_eq!(envelope.text(), text);
        assert_eq!(envelope.data_text(), r#"{"a": [1]}"#);
        assert_eq!(envelope.seq, Seq::new(7));
        assert_eq!(envelope.data::<serde_json::Value>().expect("reads")["a"][0], 1);
        assert!(Envelope::parse(Bytes::from_static(b"{\"seq\":7}")).is_err());
    }
}
