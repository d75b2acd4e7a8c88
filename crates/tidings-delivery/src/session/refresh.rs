//! A new credential in-band.

use std::{sync::Arc, time::Instant};

use futures_util::future::BoxFuture;
use tidings_core::{Principal, Scope, Verbosity};

use super::{Content, Session};
use crate::{
    CloseCode, CloseReason, Denied,
    notice::{Fields, Notice},
    problem::{INVALID_BODY, Problem, UNAUTHORIZED, UNAVAILABLE},
};

pub(crate) type Verdict = Result<Arc<Principal>, Denied>;

/// At most one token is judged at a time.
#[derive(Default)]
pub(super) enum Refresh {
    #[default]
    None,
    /// Wanted by the client; the driver takes it.
    Wanted {
        judged: BoxFuture<'static, Verdict>,
        asked_at: Instant,
    },
    UnderWay {
        asked_at: Instant,
    },
}

impl Session {
    pub(super) fn want_refresh(&mut self, token: String, now: Instant) {
        let Some(tenant) = self.info.tenant.clone() else { return };
        if !matches!(self.refresh, Refresh::None) {
            let problem = Problem::new(&INVALID_BODY, "The token before this one is still being checked.");
            return self.complain(&problem, now);
        }
        let asked_at = Instant::now();
        let judged = self.context.control.reauthenticate(token, self.info.principal.clone(), tenant);
        self.refresh = Refresh::Wanted { judged, asked_at };
    }

    /// A check that the driver is to run; its outcome goes to [`Session::refreshed`].
    pub(crate) fn take_refresh(&mut self) -> Option<BoxFuture<'static, Verdict>> {
        match std::mem::take(&mut self.refresh) {
            Refresh::Wanted { judged, asked_at } => {
                self.refresh = Refresh::UnderWay { asked_at };
                Some(judged)
            }
            other => {
                self.refresh = other;
                None
            }
        }
    }

    pub(crate) fn refreshed(&mut self, verdict: Verdict, now: Instant) {
        let Refresh::UnderWay { asked_at } = std::mem::take(&mut self.refresh) else { return };
        match verdict {
            Ok(principal) if self.may_become(&principal) => {
                self.become_principal(principal, now);
                // What was closed while it was judged did not find this connection under the new credential.
                if let Some(why) = self.context.closed_since(asked_at, &self.info) {
                    self.close(&why, now);
                }
            }
            Ok(_) | Err(Denied::Forbidden) => {
                self.close(
                    &CloseReason::new(CloseCode::Forbidden, "the token may not be used on this connection"),
                    now,
                );
            }
            Err(Denied::Invalid) => {
                self.complain(
                    &Problem::new(&UNAUTHORIZED, "The token is not valid; the one before still holds."),
                    now,
                );
            }
            Err(Denied::Unavailable) => {
                let problem =
                    Problem::new(&UNAVAILABLE, "Tokens cannot be checked at present; send it again later.");
                self.tell(&Notice::Error { problem: &problem }, &Fields::default());
            }
        }
    }

    /// Tenant and user stay, and what the connection was opened for must still be allowed.
    fn may_become(&self, new: &Principal) -> bool {
        let old = &self.info.principal;
        let detailed = match &self.content {
            Content::Stream { encoding, .. } => encoding.verbosity > Verbosity::Minimal,
            Content::Echo => false,
        };
        new.grant.tenants == old.grant.tenants
            && new.user() == old.user()
            && new.reads_events()
            && (!detailed || new.has(Scope::EventsDetail))
    }

    fn become_principal(&mut self, principal: Arc<Principal>, now: Instant) {
        if let Content::Stream { subscription, .. } = &mut self.content {
            subscription.set_audience(principal.audience());
        }
        self.info.principal = principal;
        self.watch_expiry(now);
        let expires_at = self.expires_at();
        self.tell(&Notice::Auth { expires_at }, &Fields::default());
    }
}
