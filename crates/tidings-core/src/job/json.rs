use serde_json::{Value, json};

use crate::{Job, JobState};

impl Job {
    /// The job as the HTTP API shows it. `raw_errors` is for holders of `events:detail`.
    pub fn to_json(&self, raw_errors: bool) -> Value {
        let spec = &self.spec;
        let mut out = json!({
            "id": self.id,
            "tenant_id": self.tenant,
            "type": spec.job_type,
            "state": self.state.name().as_str(),
            "seq": self.seq,
            "priority": spec.priority,
            "attempt": self.attempt,
            "max_attempts": spec.max_attempts,
            "created_at": self.created_at,
            "payload": spec.payload.to_value(),
        });
        let mut set = |key: &str, value: Option<Value>| {
            if let Some(value) = value {
                out[key] = value;
            }
        };
        set("owner", spec.owner.as_ref().map(|v| json!(v)));
        set("subject", spec.subject.as_ref().map(|v| json!(v)));
        set("unique_key", spec.unique_key.as_ref().map(|v| json!(v)));
        set("retry_of", spec.retry_of.map(|v| json!(v)));
        set("started_at", self.started_at.map(|v| json!(v)));
        if let Some(progress) = &self.progress {
            set("percent", Some(json!(progress.percent)));
            set("message", progress.message.as_ref().filter(|_| raw_errors).map(|m| json!(m)));
        }
        if let Some(failure) = &self.failure {
            let mut error = json!({ "category": failure.category, "message": failure.message });
            if raw_errors {
                error["raw"] = json!(failure.raw);
            }
            set("error", Some(error));
        }
        match &self.state {
            JobState::Scheduled { run_at } | JobState::Queued { run_at } => set("run_at", Some(json!(run_at))),
            JobState::Running { lease, cancel_requested } => {
                set("worker", Some(json!(lease.worker)));
                set("lease_expires_at", Some(json!(lease.expires_at)));
                set("cancel_requested", cancel_requested.then(|| json!(true)));
            }
            JobState::Completed { finished_at, result } => {
                set("finished_at", Some(json!(finished_at)));
                set("result", result.as_ref().map(crate::RawJson::to_value));
            }
            JobState::Failed { finished_at } | JobState::Cancelled { finished_at } => {
                set("finished_at", Some(json!(finished_at)));
            }
        }
        out
    }
}
