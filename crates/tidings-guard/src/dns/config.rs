use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::Duration,
};

use foldhash::HashMap;

/// Whom to ask, and for how long.
#[derive(Debug, Clone)]
pub struct DnsConfig {
    /// Asked one after the other.
    pub servers: Vec<SocketAddr>,
    /// Names that are known without asking.
    pub hosts: HashMap<String, Vec<IpAddr>>,
    /// For one question to one server.
    pub timeout: Duration,
    /// How often all servers are asked.
    pub rounds: u32,
    /// The longest that an answer is remembered.
    pub ttl_max: Duration,
    /// Names that are remembered.
    pub names_max: usize,
    /// Lookups at a time.
    pub lookups_max: usize,
}

impl DnsConfig {
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self {
            servers,
            hosts: HashMap::default(),
            timeout: Duration::from_secs(2),
            rounds: 2,
            ttl_max: Duration::from_mins(5),
            names_max: 4096,
            lookups_max: 256,
        }
    }

    /// A file that cannot be read has nothing in it.
    pub(super) fn from_files(resolv_conf: &Path, hosts_file: &Path) -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let mut config = Self::new(servers(&read(resolv_conf)));
        config.hosts = hosts(&read(hosts_file));
        config
    }
}

/// Three at most, as everywhere; without one, this machine.
fn servers(resolv_conf: &str) -> Vec<SocketAddr> {
    let named = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    };
    let mut servers: Vec<IpAddr> = resolv_conf.lines().filter_map(named).take(3).collect();
    if servers.is_empty() {
        servers.push(Ipv4Addr::LOCALHOST.into());
    }
    servers.into_iter().map(|ip| SocketAddr::new(ip, 53)).collect()
}

fn hosts(text: &str) -> HashMap<String, Vec<IpAddr>> {
    let mut hosts: HashMap<String, Vec<IpAddr>> = HashMap::default();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_ascii_whitespace();
        let Some(ip) = words.next().and_then(|word| word.parse().ok()) else { continue };
        for name in words {
            hosts.entry(name.to_ascii_lowercase()).or_default().push(ip);
        }
    }
    hosts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_files_are_read_as_the_system_reads_them() {
        let found = servers(
            "# ours\nnameserver 10.0.0.2\noptions timeout:1\nnameserver  fe80::1%eth0\nnameserver ::1\n",
        );
        assert_eq!(found, ["10.0.0.2:53".parse().unwrap(), "[::1]:53".parse().unwrap()]);
        assert_eq!(servers(""), ["127.0.0.1:53".parse().unwrap()]);

        let hosts =
            hosts("127.0.0.1 localhost\n10.1.2.3\tDB db.example # the database\n::1 localhost\nnonsense\n");
        assert_eq!(hosts["localhost"].len(), 2);
        assert_eq!(hosts["db"], hosts["db.example"]);
        assert_eq!(hosts.len(), 3);
    }
}
