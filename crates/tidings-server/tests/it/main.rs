//! The HTTP API from outside: a whole server on a folder of its own, asked through its router.
//! The modules mirror the URL tree.

mod access;
mod bodies;
mod cluster;
mod deliveries;
mod descriptors;
mod events;
mod framing;
mod health;
mod isolation;
mod jobs;
mod keys;
mod leases;
mod lifecycle;
mod limits;
mod listener;
mod mount;
mod openapi;
mod outbox;
mod places;
mod proxy_protocol;
mod quotas;
mod receivers;
mod schedules;
mod site;
mod tenants;
mod tickets;
mod webhooks;
