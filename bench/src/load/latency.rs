use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Latencies in microseconds, kept to three digits.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    pub fn new() -> Self {
        Self(Histogram::new(3).expect("three digits are allowed"))
    }

    /// Counts `count` messages that each took `us`.
    pub fn record(&mut self, us: u64, count: u64) {
        self.0.record_n(us.max(1), count).expect("the histogram grows by itself");
    }

    pub fn add(&mut self, others: &Self) {
        self.0.add(&others.0).expect("the histogram grows by itself");
    }

    pub fn summary(&self) -> LatencySummary {
        let ms = |quantile| self.0.value_at_quantile(quantile) as f64 / 1_000.0;
        LatencySummary {
            samples: self.0.len(),
            p50_ms: ms(0.5),
            p95_ms: ms(0.95),
            p99_ms: ms(0.99),
            max_ms: ms(1.0),
        }
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct LatencySummary {
    pub samples: u64,
    pub p50_ms: f64,
    pub p95_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}
