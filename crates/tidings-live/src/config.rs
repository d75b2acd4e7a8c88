use std::time::Duration;

/// How much of the log a node keeps in memory, and how far behind a live subscriber may fall.
#[derive(Debug, Clone)]
pub struct LiveConfig {
    /// Events in one feed's ring; at least one.
    pub ring_events: usize,
    /// Bytes of events in one feed's ring, frames not counted; the newest event stays whatever its size.
    pub ring_bytes: usize,
    /// Bytes of all rings together, encoded frames counted; past it the node's oldest events go first.
    pub budget_bytes: usize,
    /// Bytes of cached catch-up pages, encoded frames counted; past it the least recently used go first.
    pub page_cache_bytes: usize,
    /// Events that one feed keeps while those before them are on their way.
    pub early_events: usize,
    /// Bytes of those events.
    pub early_bytes: usize,
    /// Events in one catch-up page; pages begin at multiples of it. At least one.
    pub page_events: usize,
    /// Bytes of events in one catch-up page; a page has at least one event.
    pub page_bytes: usize,
    /// Page reads at one time, all tenants together; at least one.
    pub page_readers: usize,
    /// How many events a live subscription may fall behind; `None`: any number.
    pub lag: Option<u64>,
    pub slow_clients: SlowClients,
    /// How long a feed outlives its last handle: between this and a quarter more.
    pub linger: Duration,
    /// How long a gap may fill itself before it is read from the store. Where the store is shared and no
    /// bus connected, nothing else would fill it, and it is read at once.
    pub repair_delay: Duration,
    /// Gaps read at one time, all feeds together; at least one. The feeds take turns.
    pub repair_readers: usize,
    /// How often a shared store is asked what moved, with a connected bus and without one.
    pub poll: Duration,
    pub poll_without_bus: Duration,
    /// How long a feed's head may be unconfirmed before its subscribers are told, on a shared store.
    pub stale: Duration,
    /// How long before the feed ends; more than `stale`.
    pub stale_close: Duration,
}

/// What happens to a live subscription that is further behind than the lag limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SlowClients {
    /// It gets [`Next::Lagged`](crate::Next::Lagged), and its connection is closed.
    #[default]
    Disconnect,
    /// It counts as catching up until it has reached the ring again.
    CatchUp,
}

impl Default for LiveConfig {
    fn default() -> Self {
        Self {
            ring_events: 1_024,
            ring_bytes: 1 << 20,
            budget_bytes: 256 << 20,
            page_cache_bytes: 64 << 20,
            early_events: 256,
            early_bytes: 256 << 10,
            page_events: 512,
            page_bytes: 512 << 10,
            page_readers: 2,
            lag: Some(1_000),
            slow_clients: SlowClients::default(),
            linger: Duration::from_secs(30),
            repair_delay: Duration::from_millis(20),
            repair_readers: 8,
            poll: Duration::from_secs(1),
            poll_without_bus: Duration::from_millis(50),
            stale: Duration::from_secs(5),
            stale_close: Duration::from_secs(30),
        }
    }
}
