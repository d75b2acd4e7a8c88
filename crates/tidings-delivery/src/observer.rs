use std::time::Duration;

use crate::{ConnectionKind, Ending};

/// Hears what happens to connections, for metrics. Called from the threads that own them: it must not
/// block. Deliveries are told once per wake-up of a shard, never per event and socket.
pub trait Observer: Send + Sync + 'static {
    fn opened(&self, _kind: ConnectionKind) {}
    fn closed(&self, _kind: ConnectionKind, _ending: Ending, _lasted: Duration) {}
    fn written(&self, _kind: ConnectionKind, _written: &Written) {}
    /// `messages` came from clients.
    fn received(&self, _kind: ConnectionKind, _messages: u64) {}
    /// A subscriber fell too far behind and was told where to resume.
    fn lagged(&self, _kind: ConnectionKind) {}
}

/// Observes nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unobserved;

impl Observer for Unobserved {}

/// Upper bounds in seconds of the latency buckets; one more bucket is above them.
pub const LATENCY_BOUNDS: [f64; 14] =
    [0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Upper bounds in bytes of the message size buckets; one more bucket is above them.
pub const SIZE_BOUNDS: [f64; 8] = [128.0, 256.0, 512.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 1_048_576.0];

/// What was handed to sockets since the last telling.
#[derive(Debug, Clone, Default)]
pub struct Written {
    pub messages: u64,
    pub bytes: u64,
    /// System calls that wrote something.
    pub writes: u64,
    /// Deliveries by latency from commit to write, not cumulative. A batch counts as its oldest event.
    pub latency: [u64; LATENCY_BOUNDS.len() + 1],
    pub latency_seconds: f64,
    /// Deliveries by size, not cumulative. A batch counts as its mean.
    pub sizes: [u64; SIZE_BOUNDS.len() + 1],
}

impl Written {
    /// Counts `messages` of one write, `bytes` long together, whose oldest was committed `latency` ago;
    /// `None` while catching up, where the age of an event says nothing of delivery.
    pub(crate) fn count(&mut self, messages: u64, bytes: u64, latency: Option<Duration>) {
        if messages == 0 {
            return;
        }
        self.messages += messages;
        self.bytes += bytes;
        self.sizes[bucket(&SIZE_BOUNDS, bytes as f64 / messages as f64)] += messages;
        if let Some(latency) = latency {
            let seconds = latency.as_secs_f64();
            self.latency[bucket(&LATENCY_BOUNDS, seconds)] += messages;
            self.latency_seconds += seconds * messages as f64;
        }
    }
}

fn bucket(bounds: &[f64], value: f64) -> usize {
    bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_the_last_bound_has_a_bucket_too() {
        let mut written = Written::default();
        written.count(3, 600, Some(Duration::from_mins(1)));
        written.count(1, 128, None);
        assert_eq!(written.messages, 4);
        assert_eq!(written.latency[LATENCY_BOUNDS.len()], 3);
        assert_eq!((written.sizes[0], written.sizes[1]), (1, 3));
    }
}
