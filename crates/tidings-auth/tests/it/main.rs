//! The authenticator against a real store in a temporary folder.

mod api_keys;
mod cluster;
mod forged_tokens;
mod issuers;
mod outages;
mod revocations;
mod server_keys;
mod shared_keys;
mod signer;
mod tickets;
mod world;
