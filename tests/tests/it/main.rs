//! What the whole promises, shown on the real binary over real sockets.

mod catching_up;
mod cluster;
mod crash;
mod credentials;
mod flood;
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
mod webhooks;

/// One after another: tests that load the machine so much that two of them would starve each other.
fn alone() -> std::sync::MutexGuard<'static, ()> {
    static HEAVY: std::sync::Mutex<()> = std::sync::Mutex::new(());
    HEAVY.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
