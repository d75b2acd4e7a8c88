use sha2::{Digest as _, Sha256};

use crate::{EndpointId, TenantId};

/// The share of all endpoints that one node delivers to at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Partition(u8);

impl Partition {
    /// How many there are, in every release: where an endpoint belongs is stored.
    pub const COUNT: u8 = 16;

    /// Where an endpoint belongs, for good.
    pub fn of(tenant: &TenantId, endpoint: EndpointId) -> Self {
        let digest = Sha256::new()
            .chain_update(tenant.as_str())
            .chain_update([0])
            .chain_update(endpoint.as_bytes())
            .finalize();
        Self(digest[0] % Self::COUNT)
    }

    pub fn new(number: u8) -> Option<Self> {
        (number < Self::COUNT).then_some(Self(number))
    }

    pub const fn number(self) -> u8 {
        self.0
    }

    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_belongs_where_it_always_did() {
        let tenant = TenantId::new("acme").expect("valid");
        let partition = |n| Partition::of(&tenant, EndpointId::from_bytes([n; 16])).number();
        assert_eq!((0..6).map(partition).collect::<Vec<_>>(), [8, 11, 13, 14, 0, 11]);
        assert_eq!(Partition::all().count(), 16);
        assert_eq!(Partition::new(16), None);
    }
}
