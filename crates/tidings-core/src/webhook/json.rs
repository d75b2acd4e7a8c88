use serde_json::{Value, json};

use super::{Attempt, Delivery, DeliveryState, Endpoint, Replay};
use crate::{RawJson, Timestamp};

impl Endpoint {
    /// As it is shown: never its secrets, only which there are.
    pub fn to_json(&self, now: Timestamp) -> Value {
        let mut shown = serde_json::to_value(&self.spec).expect("a spec serialises");
        shown["id"] = json!(self.id);
        shown["tenant_id"] = json!(self.tenant);
        shown["state"] = json!(self.state.name().as_str());
        if let Some(reason) = self.state.reason() {
            shown["reason"] = json!(reason.as_str());
        }
        if let Some(since) = self.state.since() {
            shown["state_since"] = json!(since);
        }
        if let Some(since) = self.failing_since {
            shown["failing_since"] = json!(since);
        }
        shown["cursor"] = json!(self.cursor);
        shown["grant"] = serde_json::to_value(&self.grant).expect("a grant serialises");
        let secrets = self.secrets.iter().filter(|secret| secret.signs_at(now));
        shown["secrets"] = secrets.map(secret_json).collect();
        shown["created_at"] = json!(self.created_at);
        shown
    }
}

fn secret_json(secret: &super::Secret) -> Value {
    let mut shown = json!({ "id": secret.id, "kind": secret.kind.as_str(), "created_at": secret.created_at });
    if let Some(public) = secret.kind.public() {
        shown["public_key"] = json!(public);
    }
    if let Some(end) = secret.expires_at {
        shown["expires_at"] = json!(end);
    }
    shown
}

impl Delivery {
    pub fn to_json(&self) -> Value {
        let mut shown = json!({
            "seq": self.seq,
            "event_id": self.event,
            "event_type": self.event_type,
            "attempts": self.state.attempts(),
        });
        match self.state {
            DeliveryState::Retrying { next_at, .. } => {
                shown["state"] = json!("retrying");
                shown["next_at"] = json!(next_at);
            }
            DeliveryState::Dead { at, failure, .. } => {
                shown["state"] = json!("dead");
                shown["at"] = json!(at);
                shown["failure"] = json!(failure.as_str());
            }
        }
        if let Some(body) = &self.body {
            shown["body"] = body_json(body);
        }
        shown
    }
}

/// JSON as JSON, anything else as text.
fn body_json(body: &[u8]) -> Value {
    let text = String::from_utf8_lossy(body);
    RawJson::parse(&text).map_or_else(|_| json!(text), |json| json.to_value())
}

impl Attempt {
    pub fn to_json(&self) -> Value {
        let mut shown = json!({
            "seq": self.seq,
            "event_id": self.event,
            "attempt": self.number,
            "at": self.at,
            "latency_ms": u64::try_from(self.latency.as_millis()).unwrap_or(u64::MAX),
            "request_bytes": self.request_bytes,
            "answer_bytes": self.answer_bytes,
        });
        if let Some(status) = self.status {
            shown["status"] = json!(status);
        }
        if !self.answer.is_empty() {
            shown["answer"] = json!(String::from_utf8_lossy(&self.answer));
        }
        if let Some(failure) = self.failure {
            shown["failure"] = json!(failure.as_str());
        }
        if let Some(next_at) = self.next_at {
            shown["next_at"] = json!(next_at);
        }
        shown
    }
}

impl Replay {
    pub fn to_json(&self) -> Value {
        json!({ "id": self.id, "from": self.from, "to": self.to, "position": self.position,
                "created_at": self.created_at })
    }
}
