mod cloud_event;

use std::io::Write as _;

use crate::{
    EventId, EventType, JobId, JobType, RawJson, Seq, Subject, TenantId, Timestamp, UserId, Verbosity,
};

/// A committed fact with its number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    pub seq: Seq,
    pub time: Timestamp,
    pub tenant: TenantId,
    pub fact: NewEvent,
}

/// A fact before its commit gives it a number and a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub id: EventId,
    pub event_type: EventType,
    pub job: Option<JobRef>,
    pub owner: Option<UserId>,
    pub subject: Option<Subject>,
    pub body: EventBody,
}

/// The job that an event tells of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRef {
    pub id: JobId,
    pub job_type: JobType,
}

/// An event's data at each verbosity. A level that adds nothing is absent: the next lower one serves.
/// A published event has `minimal` alone, and so is the same for every reader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventBody {
    pub minimal: RawJson,
    pub detail: Option<RawJson>,
    pub debug: Option<RawJson>,
}

impl EventBody {
    pub const fn same_for_all(data: RawJson) -> Self {
        Self { minimal: data, detail: None, debug: None }
    }

    /// The data that a reader at `verbosity` gets.
    pub fn at(&self, verbosity: Verbosity) -> &RawJson {
        let detail = self.detail.as_ref().unwrap_or(&self.minimal);
        match verbosity {
            Verbosity::Minimal => &self.minimal,
            Verbosity::Detail => detail,
            Verbosity::Debug => self.debug.as_ref().unwrap_or(detail),
        }
    }

    /// The lowest verbosity whose bytes equal those at `verbosity`, so that equal bytes are made once.
    pub fn effective(&self, verbosity: Verbosity) -> Verbosity {
        match verbosity {
            Verbosity::Debug if self.debug.is_some() => Verbosity::Debug,
            Verbosity::Debug | Verbosity::Detail if self.detail.is_some() => Verbosity::Detail,
            _ => Verbosity::Minimal,
        }
    }

    /// Bytes held, for memory budgets.
    pub fn len(&self) -> usize {
        let len = |part: &Option<RawJson>| part.as_ref().map_or(0, RawJson::len);
        self.minimal.len() + len(&self.detail) + len(&self.debug)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Event {
    /// Appends the one JSON form that every transport carries: no newline is in it, and the same
    /// event at the same verbosity is the same bytes everywhere.
    pub fn write_envelope(&self, verbosity: Verbosity, out: &mut Vec<u8>) {
        let fact = &self.fact;
        let write = |out: &mut Vec<u8>, args: std::fmt::Arguments<'_>| {
            out.write_fmt(args).expect("a Vec takes every write");
        };
        write(
            out,
            format_args!(
                r#"{{"seq":{},"id":"{}","type":"{}","time":"{}","tenant_id":"{}""#,
                self.seq, fact.id, fact.event_type, self.time, self.tenant
            ),
        );
        if let Some(job) = &fact.job {
            write(out, format_args!(r#","job_id":"{}","job_type":"{}""#, job.id, job.job_type));
        }
        if let Some(owner) = &fact.owner {
            write_text(out, "owner", owner.as_str());
        }
        if let Some(subject) = &fact.subject {
            write_text(out, "subject", subject.as_str());
        }
        out.extend_from_slice(br#","data":"#);
        out.extend_from_slice(fact.body.at(verbosity).as_bytes());
        out.push(b'}');
    }

    /// The envelope as text of its own.
    pub fn envelope(&self, verbosity: Verbosity) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.fact.body.at(verbosity).len() + 320);
        self.write_envelope(verbosity, &mut out);
        out
    }
}

/// Users choose these names, so they are escaped.
fn write_text(out: &mut Vec<u8>, key: &str, text: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
    serde_json::to_writer(out, text).expect("a Vec takes every write");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Event {
        Event {
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
                owner: Some(UserId::new("user-7").expect("valid")),
                subject: Some(Subject::new("note/\"42\"").expect("valid")),
                body: EventBody {
                    minimal: RawJson::parse(r#"{"percent":40}"#).expect("valid"),
                    detail: Some(RawJson::parse(r#"{"percent":40,"message":"page 4"}"#).expect("valid")),
                    debug: None,
                },
            },
        }
    }

    #[test]
    fn the_envelope_is_the_documented_one() {
        assert_eq!(
            String::from_utf8(event().envelope(Verbosity::Minimal)).expect("text"),
            concat!(
                r#"{"seq":1042,"id":"01010101-0101-0101-0101-010101010101","type":"job.progress","#,
                r#""time":"2026-11-23T07:12:09.123456Z","tenant_id":"acme","#,
                r#""job_id":"02020202-0202-0202-0202-020202020202","job_type":"embedding","#,
                r#""owner":"user-7","subject":"note/\"42\"","data":{"percent":40}}"#
            )
        );
    }

    #[test]
    fn a_level_that_adds_nothing_falls_back_to_the_next_lower() {
        let body = event().fact.body;
        assert_eq!(body.at(Verbosity::Debug), body.at(Verbosity::Detail));
        assert_eq!(body.effective(Verbosity::Debug), Verbosity::Detail);
        assert_ne!(body.at(Verbosity::Detail), body.at(Verbosity::Minimal));
        let plain = EventBody::same_for_all(RawJson::null());
        assert_eq!(plain.effective(Verbosity::Debug), Verbosity::Minimal);
    }
}
