use std::time::Duration;

use clap::Args;
use tidings_client::{Envelope, Item, Selection, Start, StreamRequest, Transport};
use tidings_core::{Clock as _, Cursor, Entropy as _, SystemClock, SystemEntropy, Verbosity};
use tidings_webhooks::signing::{SigningKey, sign};

use crate::{
    args::TargetArgs,
    commands::signals,
    exit::Usage,
    output::{self, Paint},
};

/// When a forward that failed is tried again; after the last one the event is given up.
const RETRIES: [Duration; 3] = [Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(30)];
const TIMEOUT: Duration = Duration::from_secs(10);
const USER_AGENT: &str = concat!("tidings-webhook/", env!("CARGO_PKG_VERSION"));

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  tidings webhooks listen --forward http://localhost:8080/hook
  tidings webhooks listen --forward http://localhost:8080/hook --types 'job.*' --secret whsec_…

Events come over a stream, in order, one at a time, and are posted with the headers and the signature of a webhook. Without \
--secret one is made and printed. Nothing is registered at the server: while it does not run, nothing is kept for it \
(--since takes up from a cursor).")]
pub(super) struct Listen {
    /// Where events are posted.
    #[arg(long, value_name = "URL")]
    forward: String,
    /// What they are signed with: whsec_… or whsk_….
    #[arg(long, value_name = "SECRET", env = "TIDINGS_WEBHOOK_SECRET", hide_env_values = true)]
    secret: Option<String>,
    /// Event types: literals or prefixes such as 'job.*'.
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    types: Vec<String>,
    /// Subjects: literals or prefixes such as 'note/*'.
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    subject: Vec<String>,
    /// Owners, or me.
    #[arg(long, value_delimiter = ',', value_name = "USER")]
    owner: Vec<String>,
    /// minimal or detail.
    #[arg(long, value_name = "LEVEL")]
    verbosity: Option<Verbosity>,
    /// Start after this cursor (0: everything that is kept) instead of now.
    #[arg(long, value_name = "CURSOR")]
    since: Option<Cursor>,
    /// End after so many events.
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    target: TargetArgs,
}

impl Listen {
    pub(super) async fn run(self, paint: Paint) -> anyhow::Result<()> {
        let forward = Forward {
            http: reqwest::Client::builder()
                .redirect(reqwest::redirect::Policy::none())
                .no_proxy()
                .timeout(TIMEOUT)
                .build()?,
            url: self.url()?,
            key: self.key()?,
        };
        let client = self.target.connect().await?;
        let shutdown = signals::shutdown()?;
        let mut events = client.stream(&self.request());
        let following = async {
            let mut count = 0;
            while let Some(item) = events.next().await {
                if let Item::Event(event) = item? {
                    forward.event(&event, paint).await?;
                    count += 1;
                    if self.count.is_some_and(|most| count >= most) {
                        break;
                    }
                }
            }
            anyhow::Ok(())
        };
        tokio::select! {
            ended = following => ended,
            () = output::unread() => Ok(()),
            () = shutdown.cancelled() => Ok(()),
        }
    }

    fn url(&self) -> Result<reqwest::Url, Usage> {
        let url: reqwest::Url =
            self.forward.parse().map_err(|error| Usage(format!("--forward is no URL: {error}")))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Usage("--forward begins with http:// or https://".into()));
        }
        Ok(url)
    }

    fn key(&self) -> Result<SigningKey, Usage> {
        if let Some(secret) = &self.secret {
            let refused = |error| Usage(format!("--secret is whsec_… or whsk_…: {error}"));
            return SigningKey::parse(secret).map_err(refused);
        }
        let mut random = [0; 32];
        SystemEntropy.fill(&mut random);
        let made = SigningKey::new_v1(&random);
        eprintln!("signing with {}", *made.text);
        Ok(made.key)
    }

    fn request(&self) -> StreamRequest {
        let selection = [("types", &self.types), ("subject", &self.subject), ("owner", &self.owner)]
            .into_iter()
            .fold(Selection::default(), |selection, (field, values)| selection.with(field, values))
            .at(self.verbosity);
        StreamRequest {
            selection,
            start: self.since.clone().map_or(Start::Now, Start::After),
            transport: Transport::WebSocket,
            ..StreamRequest::default()
        }
    }
}

struct Forward {
    http: reqwest::Client,
    url: reqwest::Url,
    key: SigningKey,
}

impl Forward {
    /// Posts one event until it is taken or given up: those after it wait.
    async fn event(&self, event: &Envelope, paint: Paint) -> anyhow::Result<()> {
        let mut delays = RETRIES.iter();
        loop {
            let came = self.post(event).await;
            let what = format_args!("{:<8} {:<24} {came}", event.seq, event.event_type).to_string();
            output::line(&what)?;
            if came.taken {
                return Ok(());
            }
            let Some(delay) = delays.next() else {
                eprintln!("{} given up", paint.err().bold(format_args!("seq {}", event.seq)));
                return Ok(());
            };
            tokio::time::sleep(*delay).await;
        }
    }

    async fn post(&self, event: &Envelope) -> Came {
        let (id, body) = (event.id.to_string(), event.text().to_owned());
        let timestamp = SystemClock.now().as_secs();
        let signature = sign([&self.key], &id, timestamp, body.as_bytes());
        let request = self
            .http
            .post(self.url.clone())
            .header("content-type", "application/json")
            .header("user-agent", USER_AGENT)
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp.to_string())
            .header("webhook-signature", signature)
            .header("x-webhook-id", &id)
            .body(body);
        match request.send().await {
            Ok(answer) => Came { taken: answer.status().is_success(), text: answer.status().to_string() },
            Err(error) => Came { taken: false, text: error.without_url().to_string() },
        }
    }
}

/// What came of one attempt.
struct Came {
    taken: bool,
    text: String,
}

impl std::fmt::Display for Came {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}
