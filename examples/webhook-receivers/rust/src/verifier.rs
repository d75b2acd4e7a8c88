use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use http::HeaderMap;
use standardwebhooks::Webhook;

const TOLERANCE_S: u64 = 300;

/// Accepts what any of its secrets accepts, so that they can be replaced one after the other.
pub(crate) struct Verifier(Vec<Secret>);

enum Secret {
    /// `whsec_…`
    V1(Webhook),
    /// `whpk_…`
    V1a(UnparsedPublicKey<Vec<u8>>),
}

impl Verifier {
    /// Of one or several secrets, parted by spaces.
    pub(crate) fn new(secrets: &str) -> anyhow::Result<Self> {
        let secrets = secrets.split_whitespace().map(Secret::parse).collect::<Result<Vec<_>, _>>()?;
        anyhow::ensure!(!secrets.is_empty(), "without a secret nothing can be verified");
        Ok(Self(secrets))
    }

    pub(crate) fn accepts(&self, headers: &HeaderMap, body: &[u8]) -> bool {
        self.0.iter().any(|secret| match secret {
            Secret::V1(webhook) => webhook.verify(body, headers).is_ok(),
            Secret::V1a(key) => verify_v1a(key, headers, body).is_some(),
        })
    }
}

impl Secret {
    fn parse(text: &str) -> anyhow::Result<Self> {
        let Some(public) = text.strip_prefix("whpk_") else {
            return Ok(Self::V1(Webhook::new(text).context("a secret is whsec_… or whpk_…")?));
        };
        let key = STANDARD.decode(public).context("a public key is whpk_ and base64")?;
        Ok(Self::V1a(UnparsedPublicKey::new(&ED25519, key)))
    }
}

fn verify_v1a(key: &UnparsedPublicKey<Vec<u8>>, headers: &HeaderMap, body: &[u8]) -> Option<()> {
    let header = |name: &str| headers.get(name)?.to_str().ok();
    let (id, sent) = (header("webhook-id")?, header("webhook-timestamp")?);
    #[allow(clippy::disallowed_methods, reason = "a receiver's clock is the wall's")]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    if now.abs_diff(sent.parse().ok()?) > TOLERANCE_S {
        return None;
    }
    let signed = [format!("{id}.{sent}.").as_bytes(), body].concat();
    let signatures = header("webhook-signature")?.split(' ').filter_map(|one| one.strip_prefix("v1a,"));
    let mut signatures = signatures.filter_map(|one| STANDARD.decode(one).ok());
    signatures.any(|signature| key.verify(&signed, &signature).is_ok()).then_some(())
}
