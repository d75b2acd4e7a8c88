mod deliveries;
mod listen;
mod replay;
mod settings;
mod show;
mod tail;
mod test;

use std::process::ExitCode;

use clap::{Args, Subcommand};
use tidings_client::{NewWebhook, WebhookView};
use tidings_core::{EndpointId, EndpointSpec, Seq, UserId, webhook::Resume};

use crate::{
    args::TargetArgs,
    exit::Usage,
    output::{self, Paint},
};

/// Send events to other systems over signed HTTP requests.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings webhooks create https://example.com/hook --types 'job.*'       prints its secret, once
  tidings webhooks create https://example.com/hook --key-pair            prints the receiver's public key
  tidings webhooks list
  tidings webhooks show 019ab0c4-0000-7000-8000-000000000000
  tidings webhooks update 019ab0c4-… --concurrency 2 --retries standard
  tidings webhooks update 019ab0c4-… --unset rate,headers.x-team
  tidings webhooks rotate-secret 019ab0c4-… --overlap 24h
  tidings webhooks deliveries 019ab0c4-… --state dead
  tidings webhooks replay 019ab0c4-… --failures
  tidings webhooks test 019ab0c4-…                                       sends it a sample event, now
  tidings webhooks tail 019ab0c4-…                                       follows its attempts
  tidings webhooks listen --forward http://localhost:8080/hook           receives on a laptop, signed the same way")]
pub(crate) struct Webhooks {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make an endpoint; prints its id and what the receiver verifies with: the secret, once, or a public key.
    Create(Create),
    /// List endpoints.
    List {
        /// Print one JSON object per line.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Show an endpoint and how far behind it is.
    Show {
        id: EndpointId,
        /// Print its JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Change what an endpoint does; what is not named stays.
    Update {
        id: EndpointId,
        /// Where events are sent.
        #[arg(id = "endpoint_url", long = "to", value_name = "URL")]
        url: Option<String>,
        #[command(flatten)]
        settings: settings::Settings,
        /// Set back to its default, or taken away: a setting, or one entry such as headers.x-team. May be repeated or
        /// joined by commas.
        #[arg(long, value_delimiter = ',', value_name = "FIELD", value_parser = settings::unsettable)]
        unset: Vec<String>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Delete an endpoint, with its dead letters and its delivery log.
    Delete {
        id: EndpointId,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Stop delivering; what happens meanwhile is kept for it.
    Pause {
        /// The endpoint.
        id: Option<EndpointId>,
        /// Every endpoint that carries this user's grant instead.
        #[arg(long, conflicts_with = "id")]
        user: Option<UserId>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Deliver again.
    Enable {
        id: EndpointId,
        /// cursor: nothing is lost; now: what has gathered is passed over.
        #[arg(long, default_value = "cursor", value_parser = ["cursor", "now"])]
        from: String,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Give an endpoint another secret, and print what the receiver verifies with.
    RotateSecret {
        id: EndpointId,
        /// How long the old one signs beside it.
        #[arg(long, default_value = "24h", value_name = "DURATION")]
        overlap: String,
        /// v1 (a shared secret) or v1a (a key pair); as before where not given.
        #[arg(long, value_name = "KIND", value_parser = ["v1", "v1a"])]
        kind: Option<String>,
        #[command(flatten)]
        target: TargetArgs,
    },
    /// Send an endpoint a sample event now, and say what came of it.
    Test(test::Test),
    /// List attempts, newest first, or what is retried or dead.
    Deliveries(deliveries::Deliveries),
    /// Send an endpoint something again.
    Replay(replay::Replay),
    /// Follow an endpoint's attempts.
    Tail(tail::Tail),
    /// Receive events here as webhooks, with no public address.
    Listen(listen::Listen),
}

#[derive(Debug, Args)]
struct Create {
    /// Where events are sent.
    #[arg(id = "endpoint_url", value_name = "URL")]
    url: String,
    #[command(flatten)]
    settings: settings::Settings,
    /// Send what happened after this seq as well.
    #[arg(long, value_name = "SEQ")]
    since: Option<u64>,
    /// Sign with a key pair (v1a) instead of a shared secret.
    #[arg(long)]
    key_pair: bool,
    /// Print the endpoint's whole JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: TargetArgs,
}

impl Webhooks {
    pub(crate) async fn run(self, paint: Paint) -> anyhow::Result<ExitCode> {
        let told = |what: &str, id: EndpointId| eprintln!("{} {what}", paint.err().bold(id));
        match self.action {
            Action::Create(create) => create.run(paint).await?,
            Action::List { json, target } => show::list(json, &target).await?,
            Action::Show { id, json, target } => {
                let webhook = target.connect().await?.webhook(id).await?;
                if json { output::line(webhook.text())? } else { show::one(&webhook)? }
            }
            Action::Update { id, url, settings, unset, target } => {
                let mut patch = settings.patch()?;
                patch.extend(url.map(|url| ("url".to_owned(), url.into())));
                settings::unset(&mut patch, &unset)?;
                if patch.is_empty() {
                    return Err(Usage("there is nothing to change: name a setting, or --unset".into()).into());
                }
                let webhook = target.connect().await?.update_webhook(id, &patch).await?;
                show::one(&webhook)?;
            }
            Action::Delete { id, target } => {
                target.connect().await?.delete_webhook(id).await?;
                told("deleted", id);
            }
            Action::Pause { id: Some(id), target, .. } => {
                target.connect().await?.pause_webhook(id).await?;
                told("paused", id);
            }
            Action::Pause { user, target, .. } => {
                let user = user.ok_or_else(|| Usage("name an endpoint, or --user USER".into()))?;
                let paused = target.connect().await?.pause_webhooks_of(&user).await?;
                eprintln!("{} endpoints of {} paused", paused, paint.err().bold(&user));
            }
            Action::Enable { id, from, target } => {
                let from: Resume = from.parse()?;
                let webhook = target.connect().await?.enable_webhook(id, from).await?;
                told(&format!("active, from seq {}", webhook.cursor.next()), id);
            }
            Action::RotateSecret { id, overlap, kind, target } => {
                let client = target.connect().await?;
                let webhook = client.rotate_webhook_secret(id, kind.as_deref(), Some(&overlap)).await?;
                to_receiver(&webhook, paint)?;
            }
            Action::Test(test) => return test.run().await,
            Action::Deliveries(deliveries) => deliveries.run().await?,
            Action::Replay(replay) => replay.run().await?,
            Action::Tail(tail) => tail.run().await?,
            Action::Listen(listen) => listen.run(paint).await?,
        }
        Ok(ExitCode::SUCCESS)
    }
}

impl Create {
    async fn run(self, paint: Paint) -> anyhow::Result<()> {
        let mut fields = self.settings.patch()?;
        fields.insert("url".into(), self.url.into());
        let spec: EndpointSpec = serde_json::from_value(fields.into()).map_err(|e| Usage(e.to_string()))?;
        let new = NewWebhook {
            spec,
            since: self.since.map(Seq::new),
            secret_kind: self.key_pair.then(|| "v1a".to_owned()),
        };
        let webhook = self.target.connect().await?.create_webhook(&new).await?;
        if self.json {
            return Ok(output::line(webhook.text())?);
        }
        output::line(webhook.id)?;
        to_receiver(&webhook, paint)
    }
}

/// Prints what the receiver verifies with: a shared secret, or a public key. A private key never leaves the server by here.
fn to_receiver(webhook: &WebhookView, paint: Paint) -> anyhow::Result<()> {
    let shared = webhook.secret.as_deref().filter(|secret| secret.starts_with("whsec_"));
    let (text, told) = match (shared, webhook.public_key()) {
        (Some(secret), _) => (secret, "The secret is shown this once: give it to the receiver."),
        (None, Some(key)) => {
            (key, "Give the receiver this public key; the private key stays with the server.")
        }
        (None, None) => return Ok(()),
    };
    output::line(text)?;
    eprintln!("{}", paint.err().dim(told));
    Ok(())
}
