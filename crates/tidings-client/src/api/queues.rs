use serde::Deserialize;
use tidings_core::{JobType, Timestamp};

use crate::{Client, ClientError, request::Call};

/// One job type's queue.
#[derive(Debug, Clone, Deserialize)]
pub struct Queue {
    #[serde(rename = "type")]
    pub job_type: JobType,
    #[serde(default)]
    pub scheduled: u64,
    #[serde(default)]
    pub queued: u64,
    #[serde(default)]
    pub running: u64,
    /// When the queued job that has waited longest fell due.
    pub oldest_due: Option<Timestamp>,
    /// Jobs that ended in the last minute.
    #[serde(default)]
    pub finished_last_minute: u64,
}

#[derive(Deserialize)]
struct Queues {
    queues: Vec<Queue>,
}

impl Client {
    pub async fn queues(&self) -> Result<Vec<Queue>, ClientError> {
        Ok(self.call::<Queues>(Call::get("api/v1/queues")).await?.queues)
    }
}
