//! What the whole promises, shown on the real binary over real sockets.

mod busy;
mod catching_up;
mod cluster;
mod crash;
mod credentials;
mod flood;
mod hand_over;
mod handshakes;
mod image;
mod interop;
mod isolation;
mod leases;
mod limits;
mod malformed_http;
mod malformed_ws;
mod places;
mod readme;
mod restart;
mod sequence;
mod slow;
mod soft_landing;
mod webhooks;

/// How long a soak is: `make soak` says so by `TIDINGS_SOAK`, in seconds.
fn soak() -> Option<std::time::Duration> {
    let seconds = std::env::var("TIDINGS_SOAK").ok()?;
    Some(std::time::Duration::from_secs(seconds.parse().expect("TIDINGS_SOAK is a number of seconds")))
}

/// One after another: tests that load the machine so much that two of them would starve each other.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static HEAVY: std::sync::Mutex<()> = std::sync::Mutex::new(());
    HEAVY.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
