//! The HTTP API as methods of [`Client`](crate::Client), one file per resource.

pub(crate) mod events;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod leases;
pub(crate) mod queues;
pub(crate) mod schedules;
pub(crate) mod tenants;
pub(crate) mod tickets;
pub(crate) mod webhooks;
