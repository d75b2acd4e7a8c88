//! Webhooks by the real binary: every event to every receiver that takes it, whatever dies.

mod cluster;
mod inward;
mod many;
mod receivers;
mod restarts;
mod stage;
mod sustained;

use std::time::Duration;

use serde_json::{Value, json};
use tidings_tests::{Api, Partner, ServerOptions};

/// What nothing here should take.
const PATIENCE: Duration = Duration::from_mins(2);

fn options() -> ServerOptions {
    ServerOptions::new().set("webhooks.allow_cidrs", "127.0.0.0/8").set("webhooks.rate_per_tenant", "off")
}

/// Makes an endpoint with these fields beside its URL; its id.
fn endpoint(api: &Api, partner: &Partner, fields: Value) -> String {
    let Value::Object(mut fields) = fields else { panic!("fields are an object") };
    fields.insert("url".into(), json!(partner.url()));
    let reply = api.post("/api/v1/webhooks", &Value::Object(fields)).expect("answers").expect(201);
    reply.json()["id"].as_str().expect("an id").to_owned()
}

fn publish(api: &Api, count: usize) {
    let events: Vec<_> = (0..count).map(|n| json!({ "type": "note.created", "data": { "n": n } })).collect();
    let _ = api.post("/api/v1/events", &events).expect("answers").expect(201);
}

fn shown(api: &Api, id: &str) -> Value {
    api.get(&format!("/api/v1/webhooks/{id}")).expect("answers").expect(200).json()
}
