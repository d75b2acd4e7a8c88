//! The log's live end, in memory: what is due to whom. Knows no socket.
//!
//! - A **feed** is one tenant's tail: a [`Hub`] opens it, commits append to its ring, and it outlives
//!   its last [`FeedHandle`] a little. It appends only the next seq; anything else is a hint that the
//!   head has moved, and the gap is read from the store.
//! - A [`Slot`] is one event with its frames, each encoded once and shared by all.
//! - A [`Subscription`] is a cursor with a filter. It owns no queue: [`Subscription::next`] hands out
//!   what is due as a [`Batch`], from the ring where it reaches back far enough and else from pages of
//!   the log, which the [`Pager`] reads once for everybody. A [`Batcher`] lets the subscriptions of
//!   one thread that are at the same place share one ready-made buffer.
//! - A [`Watcher`] hears that a feed has moved. Nothing here waits for a reader.
//!
//! **Locks.** The registry of feeds, a feed's ring, its watchers, the page cache and the table of
//! views have a lock each. No two are ever held at once, none is held across an await, an encoding, a
//! system call or a call to a watcher; so there is no order to keep.

mod batch;
mod bus;
mod config;
mod encoding;
mod feed;
mod gauge;
mod hub;
mod lag_limit;
#[cfg(test)]
mod model;
mod node;
mod pager;
mod poller;
mod slot;
mod subscription;
#[cfg(test)]
mod testing;
mod view;
mod watch;

pub use batch::{Batch, Batcher, FrameEnd};
pub use bus::{
    Bus, BusKind, BusState, Histories, Listener, Local, News, PlacesError, RedisBus, RedisConfig,
    RedisConfigError,
};
pub use config::{LiveConfig, SlowClients};
pub use encoding::{Encoding, Transport};
pub use feed::{Ended, FeedHandle, FeedId};
pub use hub::{Hub, LiveStats};
pub use pager::{Page, PageRequest, Pager};
pub use poller::MoveSink;
pub use slot::Slot;
pub use subscription::{
    Collected, Due, Form, Next, Reset, ResetReason, Start, Subscription, SubscriptionSpec,
};
pub use watch::{Watch, Watcher};
