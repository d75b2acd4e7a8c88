//! What the configuration says to those who deliver.

use tidings_core::Quota;
use tidings_delivery::{DeliveryConfig, MessageLimit};
use tidings_live::{LiveConfig, SlowClients};

use super::{Config, SlowClientsSetting};

impl Config {
    pub(crate) fn to_live(&self) -> LiveConfig {
        LiveConfig {
            lag: self.limits.lag.0,
            slow_clients: match self.live.slow_clients {
                SlowClientsSetting::Disconnect => SlowClients::Disconnect,
                SlowClientsSetting::CatchUp => SlowClients::CatchUp,
            },
            stale: self.live.stale.0,
            stale_close: self.live.stale_close.0,
            ..LiveConfig::default()
        }
    }

    pub(crate) fn to_delivery(&self) -> DeliveryConfig {
        let limits = &self.limits;
        DeliveryConfig {
            heartbeat: self.live.heartbeat.0,
            ping_interval: limits.ping_interval.0.map(|span| span.0),
            pong_deadline: limits.pong_deadline.0,
            idle_timeout: limits.idle_timeout.0.map(|span| span.0),
            messages: limits
                .messages_per_connection
                .0
                .map(|rate| Quota::twice(rate.0))
                .map(|quota| MessageLimit { rate: quota.rate, burst: quota.burst }),
            frame_bytes: limits.frame_bytes,
            message_timeout: limits.request_timeout.0,
            stall: self.live.stall.0,
            ..DeliveryConfig::default()
        }
    }
}
