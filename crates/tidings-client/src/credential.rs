use std::{fmt, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use secrecy::SecretString;
use tidings_core::Timestamp;
use tokio::sync::Mutex;

use crate::ClientError;

/// What a request carries as its bearer token.
#[derive(Debug, Clone)]
pub struct Token {
    pub secret: SecretString,
    /// When a fresh one is needed; `None`: never, as far as is known.
    pub expires_at: Option<Timestamp>,
}

impl Token {
    pub fn new(secret: impl Into<String>, expires_at: Option<Timestamp>) -> Self {
        Self { secret: SecretString::from(secret.into()), expires_at }
    }

    /// How long until it should be renewed: a fifth of its remaining life, at most a minute, early.
    pub(crate) fn renew_in(&self, now: Timestamp) -> Option<Duration> {
        let left = self.expires_at?.since(now);
        Some(left.saturating_sub((left / 5).min(Duration::from_mins(1))))
    }
}

type Source =
    dyn Fn() -> BoxFuture<'static, Result<Token, Box<dyn std::error::Error + Send + Sync>>> + Send + Sync;

/// A token, or a source of tokens. Cheap to clone; clones share the current token.
#[derive(Clone)]
pub struct Credential(Arc<Inner>);

struct Inner {
    current: Mutex<Option<Token>>,
    source: Option<Box<Source>>,
}

impl Credential {
    /// One token that never changes.
    pub fn fixed(secret: impl Into<String>) -> Self {
        Self(Arc::new(Inner { current: Mutex::new(Some(Token::new(secret, None))), source: None }))
    }

    /// Asks `source` for the first token, before one expires, and when one was refused. Calls do not
    /// overlap.
    pub fn refreshing<F>(source: F) -> Self
    where
        F: Fn() -> BoxFuture<'static, Result<Token, Box<dyn std::error::Error + Send + Sync>>>
            + Send
            + Sync
            + 'static,
    {
        Self(Arc::new(Inner { current: Mutex::new(None), source: Some(Box::new(source)) }))
    }

    /// The token to use now.
    pub(crate) async fn current(&self, now: Timestamp) -> Result<Token, ClientError> {
        let mut current = self.0.current.lock().await;
        match &*current {
            Some(token) if token.expires_at.is_none_or(|at| now < at) => Ok(token.clone()),
            Some(token) if self.0.source.is_none() => Ok(token.clone()),
            _ => self.fetch(&mut current).await,
        }
    }

    /// Another token than `stale`; `None` where there is no source of others.
    pub(crate) async fn renew(&self, stale: &Token) -> Result<Option<Token>, ClientError> {
        use secrecy::ExposeSecret as _;
        if self.0.source.is_none() {
            return Ok(None);
        }
        let mut current = self.0.current.lock().await;
        match &*current {
            Some(token) if token.secret.expose_secret() != stale.secret.expose_secret() => {
                Ok(Some(token.clone()))
            }
            _ => self.fetch(&mut current).await.map(Some),
        }
    }

    async fn fetch(&self, current: &mut Option<Token>) -> Result<Token, ClientError> {
        let source = self.0.source.as_ref().expect("only called where there is a source");
        let token = source().await.map_err(ClientError::Credential)?;
        *current = Some(token.clone());
        Ok(token)
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credential").field("refreshing", &self.0.source.is_some()).finish_non_exhaustive()
    }
}
