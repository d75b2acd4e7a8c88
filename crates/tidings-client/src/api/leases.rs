use std::time::Duration;

use serde::{Deserialize, Serialize};
use tidings_core::{Category, JobType, RawJson, Timestamp, WorkerName};

use crate::{Client, ClientError, EnqueueRequest, JobView, request::Call};

/// What a worker asks for.
#[derive(Debug, Clone, Serialize)]
pub struct LeaseRequest {
    pub worker: WorkerName,
    pub types: Vec<JobType>,
    /// Jobs at most; the server takes up to 100.
    pub max: usize,
    /// How long the server may wait for a job to come; up to 60.
    pub wait_s: u64,
}

/// A job with its fresh lease.
#[derive(Debug, Clone)]
pub struct LeasedJob {
    /// What every report about this lease names.
    pub lease: String,
    pub attempt: u32,
    /// By the server's clock.
    pub expires_at: Timestamp,
    /// How long the lease holds from now without a heartbeat, whatever the clocks say.
    pub length: Duration,
    pub job: JobView,
}

/// The answer to a heartbeat.
#[derive(Debug, Clone, Deserialize)]
pub struct Pulse {
    pub expires_at: Timestamp,
    /// Somebody asked to cancel the job.
    #[serde(default)]
    pub cancel: bool,
    /// The server is stopping: claim nothing for now.
    #[serde(default)]
    pub drain: bool,
    /// As in [`LeasedJob::length`].
    #[serde(skip)]
    pub length: Duration,
}

/// How an attempt failed.
#[derive(Debug, Clone, Serialize)]
pub struct FailRequest {
    /// As it is; what goes out is scrubbed by the server.
    pub error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub category: Option<Category>,
    /// Whether another attempt may help.
    pub retry: bool,
    /// Instead of the backoff's delay.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "as_text")]
    pub retry_in: Option<Duration>,
}

#[allow(clippy::ref_option, reason = "serde decides the signature")]
fn as_text<S: serde::Serializer>(duration: &Option<Duration>, s: S) -> Result<S::Ok, S::Error> {
    duration.map(tidings_core::format_duration).serialize(s)
}

#[derive(Deserialize)]
struct Leases {
    leases: Vec<Lease>,
}

#[derive(Deserialize)]
struct Lease {
    #[serde(rename = "lease")]
    token: String,
    attempt: u32,
    expires_at: Timestamp,
    job: JobView,
}

#[derive(Serialize)]
struct OwnJob<'a> {
    worker: &'a WorkerName,
    job: &'a EnqueueRequest,
}

#[derive(Serialize)]
struct ProgressRequest<'a> {
    percent: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
}

#[derive(Serialize)]
struct CompleteRequest<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<&'a RawJson>,
}

impl Client {
    /// Waits for jobs and leases them; an empty list when none came in time.
    pub async fn lease(&self, request: &LeaseRequest) -> Result<Vec<LeasedJob>, ClientError> {
        let wait = Duration::from_secs(request.wait_s);
        self.leased(Call::post("api/v1/leases").json(request).waiting(wait)).await
    }

    /// Enqueues a job and leases it in the same commit: no other worker can have it.
    pub async fn lease_own(
        &self,
        worker: &WorkerName,
        job: &EnqueueRequest,
    ) -> Result<LeasedJob, ClientError> {
        let mut leases = self.leased(Call::post("api/v1/leases").json(&OwnJob { worker, job })).await?;
        leases.pop().ok_or_else(|| ClientError::Unreadable {
            url: self.base_url().to_owned(),
            why: "the server leased nothing".into(),
        })
    }

    async fn leased(&self, call: Call) -> Result<Vec<LeasedJob>, ClientError> {
        let answer = self.exchange(call).await?;
        let now = self.server_time(answer.date);
        let leases: Leases = answer.json()?;
        let all = leases.leases.into_iter().map(|lease| LeasedJob {
            lease: lease.token,
            attempt: lease.attempt,
            expires_at: lease.expires_at,
            length: lease.expires_at.since(now),
            job: lease.job,
        });
        Ok(all.collect())
    }

    /// Has the server answer this worker's waiting [`lease`](Self::lease) calls at once; returns how many
    /// it found. Of several servers each knows of the calls that wait at it alone: each call goes over a
    /// connection of its own, so that behind a load balancer a repeat comes to another.
    pub async fn end_polls(&self, worker: &WorkerName) -> Result<usize, ClientError> {
        #[derive(Deserialize)]
        struct Stopped {
            polls: usize,
        }
        let call = Call::post("api/v1/leases/stop").json(&serde_json::json!({ "worker": worker })).closing();
        Ok(self.call::<Stopped>(call).await?.polls)
    }

    /// Extends a lease.
    pub async fn heartbeat(&self, lease: &str) -> Result<Pulse, ClientError> {
        let answer = self.exchange(report(lease, "heartbeat").json(&serde_json::json!({}))).await?;
        let mut pulse: Pulse = answer.json()?;
        pulse.length = pulse.expires_at.since(self.server_time(answer.date));
        Ok(pulse)
    }

    /// `percent` is cut to 100. The server writes at most 10 a second per job, the newest wins.
    pub async fn progress(&self, lease: &str, percent: u8, message: Option<&str>) -> Result<(), ClientError> {
        let progress = ProgressRequest { percent: percent.min(100), message };
        self.exchange(report(lease, "progress").json(&progress)).await.map(drop)
    }

    /// Ends the job well. Repeating it under the same lease returns the first outcome.
    pub async fn complete(&self, lease: &str, result: Option<&RawJson>) -> Result<(), ClientError> {
        self.exchange(report(lease, "complete").json(&CompleteRequest { result })).await.map(drop)
    }

    /// Ends the attempt badly. Repeating it under the same lease returns the first outcome.
    pub async fn fail(&self, lease: &str, failure: &FailRequest) -> Result<(), ClientError> {
        self.exchange(report(lease, "fail").json(failure)).await.map(drop)
    }

    /// Gives the job back; the attempt does not count.
    pub async fn release(&self, lease: &str) -> Result<(), ClientError> {
        self.exchange(report(lease, "release").json(&serde_json::json!({}))).await.map(drop)
    }

    /// The server's time as well as it is known: this machine's clock where the two agree to two
    /// seconds (it is finer), else the answer's `Date`.
    fn server_time(&self, date: Option<Timestamp>) -> Timestamp {
        let now = self.now();
        match date {
            Some(date) if date.since(now).max(now.since(date)) > Duration::from_secs(2) => date,
            _ => now,
        }
    }
}

/// Tokens are made of tenant ids, ids and digits, joined by `~`: nothing in them needs escaping.
fn report(lease: &str, what: &str) -> Call {
    Call::post(format!("api/v1/leases/{lease}/{what}"))
}
