use std::time::Instant;

/// Monotonic microseconds for one run. They start at [`Ticker::BASE`], so that each has 16 digits and
/// can be patched into a message without moving its other bytes.
#[derive(Debug, Clone, Copy)]
pub struct Ticker(Instant);

impl Ticker {
    pub const BASE: u64 = 1_000_000_000_000_000;

    pub fn start() -> Self {
        Self(Instant::now())
    }

    pub fn now_us(self) -> u64 {
        Self::BASE + self.0.elapsed().as_micros() as u64
    }
}
