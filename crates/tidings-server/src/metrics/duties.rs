use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};
use tidings_store::Duty;

use crate::duties;

/// Which duties this node leads.
#[derive(Debug)]
pub(crate) struct Duties(Family<Label, Gauge>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Label {
    duty: &'static str,
}

/// Counts a duty as led until it is dropped.
#[derive(Debug)]
pub(crate) struct Leading(Gauge);

impl Duties {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let leading = Family::<Label, Gauge>::default();
        registry.register("duty_leading", "1 where this node leads the duty", leading.clone());
        for duty in duties::all() {
            leading.get_or_create_owned(&Label { duty: duty.as_str() }).set(0);
        }
        Self(leading)
    }

    pub(crate) fn leading(&self, duty: Duty) -> Leading {
        let gauge = self.0.get_or_create_owned(&Label { duty: duty.as_str() });
        gauge.set(1);
        Leading(gauge)
    }
}

impl Drop for Leading {
    fn drop(&mut self) {
        self.0.set(0);
    }
}
