//! Places among live connections: how many a user, or a whole tenant, has on all nodes together.
//!
//! Each node says how many it keeps, as a number and not as a difference, so that what is lost or said twice
//! does no harm.

use tidings_core::{TenantId, UserId};

/// Whose live connections are counted together.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Holder {
    pub tenant: TenantId,
    /// `None`: the tenant as a whole.
    pub user: Option<UserId>,
}

/// What one node says of a holder, and asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacesAsked {
    pub holder: Holder,
    /// Those that it has here: never taken away, also where they are more than the limit.
    pub kept: u32,
    /// Those that it asks for besides.
    pub asked: u32,
    /// How many it may have on all nodes; `None`: any number.
    pub limit: Option<u32>,
}

/// The answer to a [`PlacesAsked`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacesGiven {
    /// Of those that were asked for. The node now has these and those that it kept.
    pub given: u32,
    /// What the other nodes that are alive have.
    pub elsewhere: u32,
}
