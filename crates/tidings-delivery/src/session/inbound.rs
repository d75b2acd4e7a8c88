//! What the client sends.

use std::time::Instant;

use tidings_live::Transport;

use super::{Content, Phase, Session};
use crate::{
    CloseCode, CloseReason, Ending,
    budget::Verdict,
    codec::{CloseFrame, Message, Opcode, Violation, close_frame, frame},
    notice::{Fields, Notice},
    problem::{BAD_FILTER, FORBIDDEN, Problem, RATE_LIMITED, UNSUPPORTED_MEDIA_TYPE},
    request::Request,
};

/// The message that is not understood after which the connection is closed.
const ERRORS_MAX: u8 = 10;

impl Session {
    /// Whether the client is to be read: one that does not take its answers is not, and so waits.
    pub(crate) fn wants_input(&self) -> bool {
        self.outbox.held() < super::Outbox::CONTROL_HIGH
    }

    /// Takes bytes of the client. Returns how many messages came.
    pub(crate) fn receive(&mut self, mut input: &[u8], now: Instant) -> u64 {
        let mut messages = 0;
        if self.times.received_at.is_some() {
            self.times.received_at = Some(now);
            self.times.pinged_at = None;
        }
        while self.phase == Phase::Open {
            // An SSE client has nothing to say.
            let Some(decoder) = &mut self.decoder else { break };
            let next = decoder.next(&mut input);
            if !decoder.is_unfinished() {
                self.times.unfinished_at = None;
            } else if self.times.unfinished_at.is_none() {
                self.times.unfinished_at = Some(now);
            }
            match next {
                Ok(Some(message)) => {
                    messages += 1;
                    self.handle(message, now);
                }
                Ok(None) => break,
                Err(violation) => self.refuse(violation, now),
            }
        }
        messages
    }

    fn refuse(&mut self, violation: Violation, now: Instant) {
        let reason = match violation.code() {
            CloseCode::InvalidData => "text that is not UTF-8",
            CloseCode::TooBig => "the message is too big",
            _ => "the WebSocket protocol was broken",
        };
        tracing::debug!(connection_id = %self.info.id, %violation, "closing");
        self.close(&CloseReason::new(violation.code(), reason), now);
    }

    fn handle(&mut self, message: Message, now: Instant) {
        if let Message::Close(close) = message {
            return self.answer_close(close, now);
        }
        if !self.within_budget(now) {
            return;
        }
        match (message, &self.content) {
            (Message::Ping(payload), _) => frame(Opcode::Pong, &payload, self.outbox.control()),
            (Message::Pong | Message::Close(_), _) => {}
            (Message::Text(text), Content::Echo) => {
                frame(Opcode::Text, text.as_bytes(), self.outbox.control());
            }
            (Message::Binary(bytes), Content::Echo) => frame(Opcode::Binary, &bytes, self.outbox.control()),
            (Message::Text(text), Content::Stream { .. }) => match Request::parse(&text) {
                Ok(request) => self.perform(request, now),
                Err(problem) => self.complain(&problem, now),
            },
            (Message::Binary(_), Content::Stream { .. }) => {
                let problem =
                    Problem::new(&UNSUPPORTED_MEDIA_TYPE, "Messages are JSON in text frames, never binary.");
                self.complain(&problem, now);
            }
        }
    }

    fn answer_close(&mut self, close: CloseFrame, now: Instant) {
        debug_assert_eq!(self.transport(), Transport::WebSocket, "only a WebSocket has a decoder");
        close_frame(close.code, "", self.outbox.control());
        self.end(Ending::Client, now);
    }

    /// Pings and pongs count too: a flood of them is a flood.
    fn within_budget(&mut self, now: Instant) -> bool {
        let (Some(budget), Some(limit)) = (&mut self.budget, self.config.messages) else {
            return true;
        };
        match budget.spend(limit, now) {
            Verdict::Take => return true,
            Verdict::Drop => {}
            Verdict::Warn => {
                let detail = format!(
                    "At most {} messages are taken, {} at once; this one was not.",
                    limit.rate, limit.burst
                );
                let problem = Problem::new(&RATE_LIMITED, detail);
                self.tell(&Notice::Error { problem: &problem }, &Fields::default());
            }
            Verdict::Close => self.close(&CloseReason::new(CloseCode::RateLimited, "too many messages"), now),
        }
        false
    }

    fn perform(&mut self, request: Request, now: Instant) {
        match request {
            Request::Ping => self.tell(&Notice::Pong, &Fields::default()),
            Request::Auth(token) => self.want_refresh(token, now),
            Request::Filter(request) => {
                let principal = &self.info.principal;
                let filter = match request.resolve(principal.user()) {
                    Ok(filter) => filter,
                    Err(e) => return self.complain(&Problem::new(&BAD_FILTER, format!("{e}.")), now),
                };
                if let Some(owner) = filter.owners().find(|owner| !principal.may_act_for(Some(owner))) {
                    let detail = format!("The credential may name only its own user as owner, not {owner}.");
                    return self.complain(&Problem::new(&FORBIDDEN, detail), now);
                }
                let Content::Stream { subscription, .. } = &mut self.content else { return };
                subscription.set_filter(filter.clone());
                let cursor = subscription.cursor();
                self.tell(&Notice::Filter { filter: &filter, cursor: &cursor }, &Fields::default());
            }
        }
    }

    /// Says what was wrong; the tenth time it is the last thing said.
    pub(super) fn complain(&mut self, problem: &Problem, now: Instant) {
        self.tell(&Notice::Error { problem }, &Fields::default());
        self.errors += 1;
        if self.errors >= ERRORS_MAX {
            self.close(
                &CloseReason::new(CloseCode::Policy, "too many messages that were not understood"),
                now,
            );
        }
    }
}
