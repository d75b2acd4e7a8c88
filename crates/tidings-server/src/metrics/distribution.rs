use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use prometheus_client::{
    encoding::{EncodeMetric, MetricEncoder, NoLabelSet},
    metrics::{MetricType, TypedMetric},
};

/// A histogram that takes many observations at once, without a lock: deliveries are counted per
/// wake-up, not one by one.
#[derive(Debug, Clone)]
pub(crate) struct Distribution(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    bounds: &'static [f64],
    /// One more than bounds: the last has no upper bound.
    counts: Box<[AtomicU64]>,
    /// The bits of an `f64`.
    sum: AtomicU64,
}

/// From a tenth of a millisecond to ten seconds.
pub(crate) const LATENCY_SECONDS: &[f64] =
    &[0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// From a second to a day.
pub(crate) const LIFETIME_SECONDS: &[f64] =
    &[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 43_200.0, 86_400.0];

pub(crate) const COUNTS: &[f64] =
    &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1_024.0, 4_096.0];

impl Distribution {
    /// `bounds` rise.
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Inner { bounds, counts, sum: AtomicU64::new(0) }))
    }

    pub(crate) fn observe(&self, value: f64) {
        let bucket = self.0.bounds.partition_point(|bound| *bound < value);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.add(value);
    }

    /// Takes counts by bucket, the last being above every bound, and the sum of what they counted.
    pub(crate) fn observe_all(&self, counts: &[u64], sum: f64) {
        debug_assert_eq!(counts.len(), self.0.counts.len(), "the buckets are the same");
        for (total, count) in self.0.counts.iter().zip(counts).filter(|(_, count)| **count > 0) {
            total.fetch_add(*count, Ordering::Relaxed);
        }
        self.add(sum);
    }

    fn add(&self, add: f64) {
        let _ = self.0.sum.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bits| {
            Some((f64::from_bits(bits) + add).to_bits())
        });
    }
}

impl TypedMetric for Distribution {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Distribution {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        let bounds = self.0.bounds.iter().copied().chain([f64::INFINITY]);
        let buckets: Vec<_> = bounds.zip(self.0.counts.iter().map(|c| c.load(Ordering::Relaxed))).collect();
        let count = buckets.iter().map(|(_, n)| n).sum();
        let sum = f64::from_bits(self.0.sum.load(Ordering::Relaxed));
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prometheus_client::{encoding::text, registry::Registry};

    #[test]
    fn buckets_add_up() {
        let sizes = Distribution::new(&[1.0, 2.0]);
        sizes.observe(1.0);
        sizes.observe_all(&[0, 3, 0], 4.5);
        sizes.observe(9.0);
        let mut registry = Registry::default();
        registry.register("sizes", "Sizes", sizes);
        let mut out = String::new();
        text::encode(&mut out, &registry).expect("encodes");
        for line in ["sizes_sum 14.5", "sizes_count 5", "{le=\"1.0\"} 1", "{le=\"2.0\"} 4", "{le=\"+Inf\"} 5"]
        {
            assert!(out.contains(line), "{line} is not in\n{out}");
        }
    }
}
