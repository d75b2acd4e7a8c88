use std::{fmt, sync::Arc};

use arc_swap::ArcSwap;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{MetricType, gauge::ConstGauge},
    registry::Registry,
};

use crate::config::Bound;

/// The limits that are in force, each family in one unit. They change as a whole: what is asked beside a reload sees the old ones or
/// the new ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Limits(Arc<ArcSwap<Vec<(String, Bound)>>>);

/// A family of gauges: its name, what it is, and what of a bound belongs to it.
type Family = (&'static str, &'static str, fn(Bound) -> Option<f64>);

const FAMILIES: [Family; 5] = [
    ("limit", "Limits in force that are a number, by their key; one that is off is absent", count),
    ("limit_bytes", "Limits in force that are a size, by their key", bytes),
    ("limit_seconds", "Limits in force that are a time, by their key; one that is off is absent", seconds),
    (
        "limit_per_second",
        "Limits in force that are a rate, by their key; one that is off is absent",
        per_second,
    ),
    ("limit_burst", "How much a limit that is a rate takes at once, by its key", burst),
];

impl Limits {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let limits = Self::default();
        registry.register_collector(Box::new(limits.clone()));
        limits
    }

    /// These are in force, and no others.
    pub(crate) fn set(&self, bounds: Vec<(String, Bound)>) {
        self.0.store(Arc::new(bounds));
    }
}

impl Collector for Limits {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let bounds = self.0.load();
        for (name, help, value_of) in FAMILIES {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (key, bound) in bounds.iter() {
                if let Some(value) = value_of(*bound) {
                    ConstGauge::new(value).encode(family.encode_family(&[("limit", key.as_str())])?)?;
                }
            }
        }
        Ok(())
    }
}

fn count(bound: Bound) -> Option<f64> {
    if let Bound::Count(count) = bound { Some(count as f64) } else { None }
}

fn bytes(bound: Bound) -> Option<f64> {
    if let Bound::Bytes(bytes) = bound { Some(bytes as f64) } else { None }
}

fn seconds(bound: Bound) -> Option<f64> {
    if let Bound::Time(time) = bound { Some(time.as_secs_f64()) } else { None }
}

fn per_second(bound: Bound) -> Option<f64> {
    let Bound::Rate(quota) = bound else { return None };
    Some(f64::from(quota.rate.count) / quota.rate.per.as_secs_f64())
}

fn burst(bound: Bound) -> Option<f64> {
    if let Bound::Rate(quota) = bound { Some(f64::from(quota.burst)) } else { None }
}
