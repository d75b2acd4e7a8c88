//! New ids, from the injected clock and randomness.

use std::{fmt, sync::Arc};

use tidings_core::{Clock, Entropy, EventId, JobId, Timestamp};

#[derive(Clone)]
pub(crate) struct Ids {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl Ids {
    pub(crate) fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>) -> Self {
        Self { clock, entropy }
    }

    pub(crate) fn job(&self) -> JobId {
        JobId::generate(self.clock.now(), &*self.entropy)
    }

    pub(crate) fn event(&self) -> EventId {
        EventId::generate(self.clock.now(), &*self.entropy)
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids")
    }
}
