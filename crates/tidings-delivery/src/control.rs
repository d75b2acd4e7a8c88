use std::sync::Arc;

use futures_util::future::BoxFuture;
use tidings_core::{Principal, TenantId};

/// What connections ask of the rest of the server.
pub trait Control: Send + Sync + 'static {
    /// Judges the token of an in-band refresh for a connection to `tenant` that `current` opened.
    /// Whether tenant and user have stayed the same is judged by the connection.
    fn reauthenticate(
        &self,
        token: String,
        current: Arc<Principal>,
        tenant: TenantId,
    ) -> BoxFuture<'static, Result<Arc<Principal>, Denied>>;
}

/// Why a refresh was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// The token does not count; the connection lives on until its own credential ends.
    #[error("the token is not valid")]
    Invalid,
    #[error("tokens cannot be checked at present")]
    Unavailable,
    /// It may not be used here: the connection is closed with 4403.
    #[error("the token may not be used on this connection")]
    Forbidden,
}
