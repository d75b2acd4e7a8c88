//! Events as CloudEvents 1.0.

use super::{Event, write_text};
use crate::Verbosity;

impl Event {
    /// The attributes beside `specversion` and `datacontenttype`, the required ones first. A number that rises by one
    /// from event to event is the extension `sequence`, whose values are text.
    pub fn cloud_event_attributes(&self) -> impl Iterator<Item = (&'static str, String)> {
        let fact = &self.fact;
        let required = [
            ("id", fact.id.to_string()),
            ("source", format!("/tenants/{}", self.tenant)),
            ("type", fact.event_type.to_string()),
            ("time", self.time.to_string()),
            ("sequence", self.seq.to_string()),
            ("tenantid", self.tenant.to_string()),
        ];
        let job = fact
            .job
            .iter()
            .flat_map(|job| [("jobid", job.id.to_string()), ("jobtype", job.job_type.to_string())]);
        let owner = fact.owner.iter().map(|owner| ("owner", owner.as_str().to_owned()));
        let subject = fact.subject.iter().map(|subject| ("subject", subject.as_str().to_owned()));
        required.into_iter().chain(job).chain(owner).chain(subject)
    }

    /// As one JSON object: CloudEvents in structured mode.
    pub fn cloud_event(&self, verbosity: Verbosity) -> Vec<u8> {
        let data = self.fact.body.at(verbosity).as_bytes();
        let mut out = Vec::with_capacity(data.len() + 420);
        out.extend_from_slice(br#"{"specversion":"1.0","datacontenttype":"application/json""#);
        for (name, value) in self.cloud_event_attributes() {
            write_text(&mut out, name, &value);
        }
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(data);
        out.push(b'}');
        out
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::{
        Event, EventBody, EventId, EventType, JobId, JobRef, JobType, NewEvent, RawJson, Seq, Subject,
        TenantId, Timestamp, UserId, Verbosity,
    };

    #[test]
    fn an_event_is_a_cloud_event() {
        let event = Event {
            seq: Seq::new(1042),
            time: Timestamp::parse("2026-11-23T07:12:09.123456Z").expect("valid"),
            tenant: TenantId::new("acme").expect("valid"),
            fact: NewEvent {
                id: EventId::from_bytes([1; 16]),
                event_type: EventType::JOB_PROGRESS,
                job: Some(JobRef {
                    id: JobId::from_bytes([2; 16]),
                    job_type: JobType::new("embedding").expect("valid"),
                }),
                owner: Some(UserId::new("a\"b").expect("valid")),
                subject: Some(Subject::new("note/42").expect("valid")),
                body: EventBody::same_for_all(RawJson::parse(r#"{"percent":40}"#).expect("valid")),
            },
        };
        let read: Value = serde_json::from_slice(&event.cloud_event(Verbosity::Minimal)).expect("JSON");
        let expected = json!({
            "specversion": "1.0", "datacontenttype": "application/json", "id": event.fact.id, "source": "/tenants/acme",
            "type": "job.progress", "time": "2026-11-23T07:12:09.123456Z", "sequence": "1042", "tenantid": "acme",
            "jobid": JobId::from_bytes([2; 16]), "jobtype": "embedding", "owner": "a\"b", "subject": "note/42",
            "data": {"percent": 40},
        });
        assert_eq!(read, expected);
    }
}
