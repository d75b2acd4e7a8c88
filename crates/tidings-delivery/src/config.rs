use std::time::Duration;

use tidings_core::Rate;

/// Bounds and timers of live connections.
#[derive(Debug, Clone)]
pub struct DeliveryConfig {
    /// Threads that own sockets; at least one.
    pub shards: usize,
    /// Between two `stream.heartbeat`s of a connection.
    pub heartbeat: Duration,
    /// Between two WebSocket pings; `None`: no pings, and so no pong deadline.
    pub ping_interval: Option<Duration>,
    /// How long after a ping a WebSocket client may be silent; then it is closed.
    pub pong_deadline: Duration,
    /// How long a WebSocket client may be silent, pings or not; then it is closed.
    pub idle_timeout: Option<Duration>,
    /// Messages a WebSocket client may send; `None`: any number.
    pub messages: Option<MessageLimit>,
    /// Bytes of an inbound frame and of a message; beyond it the connection is closed with 1009.
    pub frame_bytes: usize,
    /// How long a WebSocket message, or a frame, may be unfinished; then the connection is closed with 1008.
    pub message_timeout: Duration,
    /// `SO_SNDBUF` as asked of the kernel (which doubles it): what the kernel may hide of a client's lag.
    pub send_buffer_bytes: usize,
    /// How long a socket that has something to write may take nothing; then it is cut. What the kernel has taken and the
    /// client does not acknowledge ends the connection after twice this time.
    pub stall: Duration,
    /// How long a closed connection is read on so that the client gets the reason; then it is cut.
    pub close_drain: Duration,
}

/// A token bucket: `burst` at once, refilled at `rate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageLimit {
    pub rate: Rate,
    pub burst: u32,
}

impl Default for DeliveryConfig {
    fn default() -> Self {
        Self {
            shards: std::thread::available_parallelism().map_or(1, usize::from),
            heartbeat: Duration::from_secs(15),
            ping_interval: Some(Duration::from_secs(30)),
            pong_deadline: Duration::from_mins(1),
            idle_timeout: Some(Duration::from_mins(5)),
            messages: Some(MessageLimit { rate: Rate { count: 20, per: Duration::from_secs(1) }, burst: 40 }),
            frame_bytes: 1 << 20,
            message_timeout: Duration::from_secs(30),
            send_buffer_bytes: 128 << 10,
            stall: Duration::from_secs(30),
            close_drain: Duration::from_secs(5),
        }
    }
}
