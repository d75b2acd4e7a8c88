//! Random tests say which seed they ran with; `TIDINGS_TEST_SEED` repeats one.

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};

/// A generator for `test`, whose seed is printed.
pub fn rng(test: &str) -> StdRng {
    let seed = std::env::var("TIDINGS_TEST_SEED")
        .ok()
        .map_or_else(|| rand::rng().random(), |text| text.parse().expect("TIDINGS_TEST_SEED is a number"));
    println!("{test}: TIDINGS_TEST_SEED={seed}");
    StdRng::seed_from_u64(seed)
}
