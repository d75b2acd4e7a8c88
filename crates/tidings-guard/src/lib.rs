//! Calls URLs that strangers gave you, and nothing inside your network.
//!
//! A server that posts to its users' URLs can be made to post to itself, to its database, to the cloud's metadata
//! service: server-side request forgery. This crate judges, and connects only where it has judged.
//!
//! - [`Policy`] decides. [`Policy::judge_url`] reads a URL's text and yields a [`Target`], or a [`Refusal`] that says why
//!   not; [`Policy::judge_address`] is the one function that decides on an address, whether it was written in the URL,
//!   came from a name server or stands at the far end of a connection.
//! - [`Connector`] (feature `connect`, on by default) resolves a name once, judges every answer, connects to precisely one
//!   of the judged addresses, judges the peer again, and speaks TLS. Nothing resolves the name a second time, so that a
//!   name server which changes its mind gains nothing.
//! - [`Resolve`] is where its addresses come from: [`Dns`] asks the system's name servers.
//!
//! On any doubt the answer is no: a name with one refused address is refused, a lookup that fails is no permission.
//! Environment variables such as `https_proxy` are never read.
//!
//! ```
//! use tidings_guard::Policy;
//!
//! let policy = Policy::default();
//! assert!(policy.judge_url("https://example.com/hook").is_ok());
//! for inside in ["https://127.1/", "https://[::ffff:10.0.0.1]/", "https://2852039166/", "https://localhost./"] {
//!     assert!(policy.judge_url(inside).is_err());
//! }
//! ```

mod address;
mod embedded;
mod locality;
mod metadata;
mod name;
mod policy;
mod ports;
mod refusal;
mod target;
mod text;

#[cfg(feature = "connect")]
mod connect;
#[cfg(feature = "connect")]
mod dns;
#[cfg(feature = "connect")]
mod resolve;

pub use ipnet::{IpNet, Ipv6Net};
pub use policy::{Grounds, Policy, PolicyError};
pub use ports::{Ports, PortsError};
pub use refusal::{Range, Refusal};
pub use target::{Host, Target};
pub use url::Url;

#[cfg(feature = "connect")]
pub use connect::{CheckError, ConnectError, Connector, ConnectorConfig, EgressProxy, SetupError, Stream};
#[cfg(feature = "connect")]
pub use dns::{Dns, DnsConfig};
#[cfg(feature = "connect")]
pub use resolve::{Answer, Resolve, ResolveError, Resolving};

/// For the fuzz targets: what is read before anything is known of it.
#[cfg(feature = "connect")]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::dns::read_answer;
}

/// The README's code compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
