use tidings_core::{Epoch, TenantId};

/// Which history each tenant's events of one commit went into. Asked in about the order of the list, it
/// finds each at once.
#[derive(Debug)]
pub struct Histories<'a> {
    epochs: &'a [(TenantId, Epoch)],
    /// Where the last one was.
    at: usize,
}

impl<'a> Histories<'a> {
    pub const fn new(epochs: &'a [(TenantId, Epoch)]) -> Self {
        Self { epochs, at: 0 }
    }

    pub fn of(&mut self, tenant: &TenantId) -> Option<&'a Epoch> {
        let order = (self.at..self.epochs.len()).chain(0..self.at);
        let at = order.into_iter().find(|at| self.epochs[*at].0 == *tenant)?;
        self.at = at;
        Some(&self.epochs[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_them_in_any_order() {
        let tenant = |name: &str| TenantId::new(name).expect("valid");
        let epochs = ["a", "b", "c"].map(|name| (tenant(name), Epoch::parse(name).expect("valid")));
        let mut histories = Histories::new(&epochs);
        let mut of = |name: &str| histories.of(&tenant(name)).map(Epoch::as_str);
        assert_eq!(
            ["b", "c", "a", "a", "x", "c"].map(&mut of),
            [Some("b"), Some("c"), Some("a"), Some("a"), None, Some("c")]
        );
    }
}
