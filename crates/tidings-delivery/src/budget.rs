use std::time::Instant;

use crate::MessageLimit;

/// How many messages one client may still send.
#[derive(Debug)]
pub(crate) struct Budget {
    tokens: f32,
    at: Instant,
    /// Messages dropped since the bucket was last full.
    dropped: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Take,
    /// The first that is too many: tell the client.
    Warn,
    Drop,
    /// It went on: as many again as a whole burst were dropped.
    Close,
}

impl Budget {
    pub(crate) const fn new(limit: MessageLimit, now: Instant) -> Self {
        Self { tokens: limit.burst as f32, at: now, dropped: 0 }
    }

    pub(crate) fn spend(&mut self, limit: MessageLimit, now: Instant) -> Verdict {
        let burst = limit.burst as f32;
        let refill = now.saturating_duration_since(self.at).as_secs_f32() / limit.rate.per.as_secs_f32()
            * limit.rate.count as f32;
        self.at = now;
        self.tokens = (self.tokens + refill).min(burst);
        if self.tokens >= burst {
            self.dropped = 0;
        }
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return Verdict::Take;
        }
        self.dropped += 1;
        match self.dropped {
            1 => Verdict::Warn,
            n if n > limit.burst => Verdict::Close,
            _ => Verdict::Drop,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Close, Drop, Take, Warn};
    use super::*;
    use std::time::Duration;
    use tidings_core::Rate;

    #[test]
    fn a_burst_is_taken_then_warned_of_then_closed() {
        let limit = MessageLimit { rate: Rate { count: 20, per: Duration::from_secs(1) }, burst: 3 };
        let start = Instant::now();
        let mut budget = Budget::new(limit, start);
        let verdicts: Vec<_> = (0..7).map(|_| budget.spend(limit, start)).collect();
        assert_eq!(verdicts, [Take, Take, Take, Warn, Drop, Drop, Close]);
        assert_eq!(budget.spend(limit, start + Duration::from_millis(60)), Take, "refilled by one");
        let rested = start + Duration::from_secs(9);
        let verdicts: Vec<_> = (0..4).map(|_| budget.spend(limit, rested)).collect();
        assert_eq!(verdicts, [Take, Take, Take, Warn], "a full bucket forgets");
    }
}
