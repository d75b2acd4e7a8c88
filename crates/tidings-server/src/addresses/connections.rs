use std::{net::IpAddr, sync::Arc, time::Duration};

use super::{
    Address,
    held::{Held, Place},
};
use crate::{
    problem::{Kind, Problem},
    settings::Settings,
};

/// The connections of each address that are no streams: whoever opens many and says nothing must leave places to others.
#[derive(Debug)]
pub(crate) struct Connections {
    settings: Settings,
    held: Arc<Held<Address>>,
}

/// One connection of its address, until it is dropped.
#[derive(Debug)]
pub(crate) struct Connected {
    _place: Place<Address>,
}

impl Connections {
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, held: Arc::default() }
    }

    /// A place for one more of `client`. A trusted proxy speaks for many and has all it likes; so has everybody where
    /// `limits.connections_per_ip` is lifted, by which addresses are not told from one another.
    pub(crate) fn admit(&self, client: IpAddr) -> Result<Connected, Problem> {
        let settings = self.settings.get();
        let client = client.to_canonical();
        let limits = &settings.limits;
        let is_limited = limits.connections_per_ip.0.is_some() && !settings.server.trusts(client);
        let most = limits.listener_connections_per_ip.0.filter(|_| is_limited);
        let place = self.held.take(Address::of(client), most);
        place.map(|place| Connected { _place: place }).ok_or_else(|| too_many(most.unwrap_or_default()))
    }
}

fn too_many(most: u32) -> Problem {
    const SOON: Duration = Duration::from_secs(1);
    let detail = format!(
        "An address may have {most} connections at one time that are no live ones (limits.listener_connections_per_ip), and they are \
         all open. Close one of them."
    );
    Problem::new(Kind::ConnectionsLimited, detail)
        .with("limit", "limits.listener_connections_per_ip")
        .retry_after(SOON)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Off};

    fn connections(change: impl FnOnce(&mut Config)) -> Connections {
        let mut config = Config::default();
        config.server.trusted_proxies = vec![serde_json::from_value("10.0.0.0/8".into()).expect("a network")];
        config.limits.listener_connections_per_ip = Off::at(3);
        change(&mut config);
        Connections::new(Settings::new(config))
    }

    /// How many of five are let in at one time.
    fn admitted(connections: &Connections, client: &str) -> usize {
        let client = client.parse().expect("an address");
        let places: Vec<_> = (0..5).map(|_| connections.admit(client)).collect();
        places.iter().filter(|place| place.is_ok()).count()
    }

    #[test]
    fn an_address_has_its_share_and_gives_it_back() {
        let connections = connections(|_| {});
        let other = connections.admit("192.0.2.2".parse().expect("an address"));
        assert_eq!(admitted(&connections, "192.0.2.1"), 3);
        assert_eq!(admitted(&connections, "::ffff:192.0.2.1"), 3, "they were given back");
        drop(other);
        assert!(connections.held.is_empty());
        let mut config = Config::clone(&connections.settings.get());
        config.limits.listener_connections_per_ip = Off::at(4);
        connections.settings.reload(&config);
        assert_eq!(admitted(&connections, "192.0.2.1"), 4, "a reload counts at once");
    }

    #[test]
    fn a_refusal_speaks_of_the_connections_that_it_is_about() {
        let problem: serde_json::Value =
            serde_json::from_slice(&too_many(3).to_json(None)).expect("a JSON object");
        assert_eq!(problem["title"], "Too many connections of one user, tenant or address");
        let detail = problem["detail"].as_str().expect("a text");
        assert!(detail.contains("3 connections") && detail.contains("no live ones"), "{detail}");
    }

    #[test]
    fn a_trusted_proxy_has_all_and_so_has_everybody_where_addresses_are_not_limited() {
        assert_eq!(admitted(&connections(|_| {}), "10.0.0.1"), 5);
        let lifted: [fn(&mut Config); 2] = [
            |config| config.limits.listener_connections_per_ip = Off::OFF,
            |config| config.limits.connections_per_ip = Off::OFF,
        ];
        for lift in lifted {
            assert_eq!(admitted(&connections(lift), "192.0.2.1"), 5);
        }
    }
}
