use serde_json::Value;
use tidings_client::{WebhookSecret, WebhookView};
use tidings_core::Timestamp;

use super::settings::SETTINGS;
use crate::{args::TargetArgs, output};

pub(super) async fn list(json: bool, target: &TargetArgs) -> anyhow::Result<()> {
    let client = target.connect().await?;
    let mut all: Vec<WebhookView> = Vec::new();
    let mut cursor = None;
    loop {
        let page = client.webhooks(cursor.as_deref()).await?;
        all.extend(page.webhooks);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    if json {
        return Ok(all.iter().try_for_each(|webhook| output::line(webhook.text()))?);
    }
    let header = ["id", "state", "cursor", "failing since (utc)", "url", "description"];
    output::line(output::table(header, all.iter().map(row)))?;
    Ok(())
}

fn row(webhook: &WebhookView) -> [String; 6] {
    [
        webhook.id.to_string(),
        state(webhook),
        webhook.cursor.to_string(),
        moment(webhook.failing_since),
        webhook.url.clone(),
        webhook.description.clone(),
    ]
}

pub(super) fn one(webhook: &WebhookView) -> anyhow::Result<()> {
    let add = |what: &str, value: Option<String>| match value {
        Some(value) => output::line(format_args!("{what:<14} {}", output::printable(&value))),
        None => Ok(()),
    };
    add("id", Some(webhook.id.to_string()))?;
    add("url", Some(webhook.url.clone()))?;
    add("description", Some(webhook.description.clone()).filter(|text| !text.is_empty()))?;
    add("state", Some(state(webhook)))?;
    add("failing since", webhook.failing_since.map(|at| moment(Some(at))))?;
    add("cursor", Some(webhook.cursor.to_string()))?;
    if let Some(backlog) = webhook.backlog {
        add("head", Some(backlog.head.to_string()))?;
        add("oldest", backlog.oldest.map(|at| moment(Some(at))))?;
        add("retrying", Some(backlog.retrying.to_string()))?;
        add("dead", Some(backlog.dead.to_string()))?;
    }
    let fields: Value = serde_json::from_str(webhook.text())?;
    for name in SETTINGS {
        add(name, setting(name, &fields[name]))?;
    }
    add("grant", fields.get("grant").map(Value::to_string))?;
    for secret in &webhook.secrets {
        add("secret", Some(described(secret)))?;
    }
    Ok(add("created", Some(moment(Some(webhook.created_at))))?)
}

fn setting(name: &str, value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::Object(entries) if entries.is_empty() => None,
        Value::String(text) => Some(text.clone()),
        other if name == "jitter" => Some(format!("{other} %")),
        other => Some(other.to_string()),
    }
}

/// Which it is and how long it signs, and the public key that a receiver needs; there is nothing secret to show.
fn described(secret: &WebhookSecret) -> String {
    let until = secret.expires_at.map(|at| format!(", until {}", moment(Some(at)))).unwrap_or_default();
    let key = secret.public_key.as_ref().map(|key| format!("  {key}")).unwrap_or_default();
    format!("{} since {}{until}{key}", secret.kind, moment(Some(secret.created_at)))
}

fn state(webhook: &WebhookView) -> String {
    match &webhook.reason {
        Some(reason) => format!("{} ({reason})", webhook.state),
        None => webhook.state.clone(),
    }
}

/// To the second, in UTC.
fn moment(at: Option<Timestamp>) -> String {
    at.map(|at| format!("{}Z", at.to_string()[..19].replace('T', " "))).unwrap_or_default()
}
