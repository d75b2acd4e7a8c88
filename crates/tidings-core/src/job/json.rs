use std::io::Write as _;

use serde::Serialize;

use crate::{Job, JobState, RawJson};

impl Job {
    /// The job as the HTTP API shows it: one JSON object, fields in a fixed order, payload and result
    /// exactly as they were given. `raw_errors` is for holders of `events:detail`: it adds the worker's
    /// own words, the raw error and the progress message.
    pub fn to_json(&self, raw_errors: bool) -> RawJson {
        let spec = &self.spec;
        let mut object = Object::with_capacity(spec.payload.len() + 512);
        object.text("id", self.id);
        object.text("tenant_id", &self.tenant);
        object.text("type", &spec.job_type);
        object.text("state", self.state.name());
        object.plain("seq", self.seq);
        object.plain("priority", spec.priority);
        object.plain("attempt", self.attempt);
        object.plain("max_attempts", spec.max_attempts);
        object.text("created_at", self.created_at);
        object.user_text("owner", spec.owner.as_ref().map(AsRef::as_ref));
        object.user_text("subject", spec.subject.as_ref().map(AsRef::as_ref));
        object.user_text("unique_key", spec.unique_key.as_ref().map(AsRef::as_ref));
        if let Some(retry_of) = spec.retry_of {
            object.text("retry_of", retry_of);
        }
        if let Some(started_at) = self.started_at {
            object.text("started_at", started_at);
        }
        if let Some(progress) = &self.progress {
            object.plain("percent", progress.percent);
            object.user_text("message", progress.message.as_deref().filter(|_| raw_errors));
        }
        self.write_state(&mut object);
        self.write_error(raw_errors, &mut object);
        object.json("payload", &spec.payload);
        if let JobState::Completed { result: Some(result), .. } = &self.state {
            object.json("result", result);
        }
        object.finish()
    }

    fn write_state(&self, object: &mut Object) {
        match &self.state {
            JobState::Scheduled { run_at } | JobState::Queued { run_at } => object.text("run_at", run_at),
            JobState::Running { lease, cancel_requested } => {
                object.user_text("worker", Some(lease.worker.as_str()));
                object.text("lease_expires_at", lease.expires_at);
                if *cancel_requested {
                    object.plain("cancel_requested", true);
                }
            }
            JobState::Completed { finished_at, .. }
            | JobState::Failed { finished_at }
            | JobState::Cancelled { finished_at } => object.text("finished_at", finished_at),
        }
    }

    fn write_error(&self, raw_errors: bool, object: &mut Object) {
        let Some(failure) = &self.failure else { return };
        let mut error = Object::with_capacity(failure.message.len() + 64);
        error.text("category", failure.category);
        error.user_text("message", Some(&failure.message));
        error.user_text("raw", Some(failure.raw.as_str()).filter(|_| raw_errors));
        object.json("error", &error.finish());
    }
}

/// A JSON object in the making. Values go in as text, so that a user's JSON is neither read again nor
/// put in another order.
struct Object(Vec<u8>);

impl Object {
    fn with_capacity(bytes: usize) -> Self {
        let mut out = Vec::with_capacity(bytes);
        out.push(b'{');
        Self(out)
    }

    fn key(&mut self, key: &str) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(key.as_bytes());
        self.0.extend_from_slice(b"\":");
    }

    /// A number or a truth value.
    fn plain(&mut self, key: &str, value: impl Serialize) {
        self.key(key);
        serde_json::to_writer(&mut self.0, &value).expect("a Vec takes every write");
    }

    /// Text of ours, in which nothing needs escaping.
    fn text(&mut self, key: &str, value: impl std::fmt::Display) {
        self.key(key);
        write!(self.0, "\"{value}\"").expect("a Vec takes every write");
    }

    fn user_text(&mut self, key: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.plain(key, value);
        }
    }

    fn json(&mut self, key: &str, value: &RawJson) {
        self.key(key);
        self.0.extend_from_slice(value.as_bytes());
    }

    fn finish(mut self) -> RawJson {
        self.0.push(b'}');
        RawJson::from_stored(self.0)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Category, Failure, JobId, JobType, NewJob, Subject, SystemEntropy, TenantId, Timestamp, WorkerName,
        job::{FailOptions, JobSpec, Moment, Progress},
    };

    fn running() -> (Job, Moment<'static>) {
        let at = Moment { now: Timestamp::from_secs(1_000), entropy: &SystemEntropy };
        let payload = RawJson::parse(r#"{"z":1,"a":[2.50,1e2]}"#).expect("valid");
        let mut spec = JobSpec::new(JobType::new("embedding").expect("valid"), payload);
        spec.subject = Some(Subject::new("note/\"42\"").expect("valid"));
        let new = NewJob { id: JobId::from_bytes([2; 16]), spec, run_at: None };
        let job = Job::enqueue(TenantId::new("acme").expect("valid"), new, at).job;
        let worker = WorkerName::new("w1").expect("valid");
        (job.lease(worker, Duration::from_secs(30), at).expect("due").job, at)
    }

    #[test]
    fn a_users_json_comes_out_as_it_went_in() {
        let (job, at) = running();
        let result = RawJson::parse(r#"{"y":0.10,"b":"\u00e9"}"#).expect("valid");
        let job = job.complete(1, Some(result), at).expect("leased").job;
        assert_eq!(
            job.to_json(false).as_str(),
            concat!(
                r#"{"id":"02020202-0202-0202-0202-020202020202","tenant_id":"acme","type":"embedding","#,
                r#""state":"completed","seq":0,"priority":0,"attempt":1,"max_attempts":5,"#,
                r#""created_at":"1970-01-01T00:16:40.000000Z","subject":"note/\"42\"","#,
                r#""started_at":"1970-01-01T00:16:40.000000Z","finished_at":"1970-01-01T00:16:40.000000Z","#,
                r#""payload":{"z":1,"a":[2.50,1e2]},"result":{"y":0.10,"b":"\u00e9"}}"#
            )
        );
    }

    #[test]
    fn raw_errors_and_messages_are_for_those_who_may_see_them() {
        let (job, at) = running();
        let progress = Progress { percent: 40, message: Some("page \"4\"".into()) };
        let job = job.progress(1, progress, at).expect("leased").job;
        let failure = Failure::new(Category::Inference, "secret-raw-text");
        let options = FailOptions { failure, retryable: false, retry_in: None };
        let job = job.fail(1, options, at).expect("leased").job;
        let all = job.to_json(true).to_value();
        assert_eq!(all["error"]["raw"], "secret-raw-text");
        assert_eq!(all["message"], "page \"4\"");
        let public = job.to_json(false).to_value();
        assert!(public["error"].get("raw").is_none() && public.get("message").is_none());
        assert_eq!((&public["percent"], &public["error"]["category"]), (&40.into(), &"inference".into()));
    }
}
