//! The system's files, which change while a server runs.

use std::{
    fs, mem,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::DnsConfig;

/// How often the files are looked at, at most.
const EVERY: Duration = Duration::from_secs(5);

/// A configuration that follows its files.
#[derive(Debug)]
pub(super) struct System {
    resolv_conf: PathBuf,
    hosts: PathBuf,
    every: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Arc<DnsConfig>,
    looked: Instant,
    changed: Changed,
}

type Changed = [Option<SystemTime>; 2];

impl System {
    pub(super) fn new() -> Self {
        Self::of("/etc/resolv.conf".into(), "/etc/hosts".into(), EVERY)
    }

    fn of(resolv_conf: PathBuf, hosts: PathBuf, every: Duration) -> Self {
        let changed = changed(&resolv_conf, &hosts);
        let config = Arc::new(DnsConfig::from_files(&resolv_conf, &hosts));
        let state = Mutex::new(State { config, looked: Instant::now(), changed });
        Self { resolv_conf, hosts, every, state }
    }

    /// Looking takes two system calls on files that are in memory.
    pub(super) fn config(&self) -> Arc<DnsConfig> {
        let mut state = self.state.lock();
        if state.looked.elapsed() >= self.every {
            state.looked = Instant::now();
            let changed = changed(&self.resolv_conf, &self.hosts);
            if mem::replace(&mut state.changed, changed) != changed {
                state.config = Arc::new(DnsConfig::from_files(&self.resolv_conf, &self.hosts));
            }
        }
        Arc::clone(&state.config)
    }
}

fn changed(resolv_conf: &PathBuf, hosts: &PathBuf) -> Changed {
    [resolv_conf, hosts].map(|path| fs::metadata(path).and_then(|file| file.modified()).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_in_the_files_counts_at_the_next_look() {
        let folder = tempfile::tempdir().unwrap();
        let (resolv_conf, hosts) = (folder.path().join("resolv.conf"), folder.path().join("hosts"));
        fs::write(&hosts, "10.0.0.1 partner.example\n").unwrap();
        let system = System::of(resolv_conf.clone(), hosts.clone(), Duration::ZERO);
        let seldom = System::of(resolv_conf.clone(), hosts.clone(), Duration::from_hours(1));
        assert_eq!(system.config().servers, ["127.0.0.1:53".parse().unwrap()]);
        assert_eq!(
            system.config().hosts["partner.example"],
            ["10.0.0.1".parse::<std::net::IpAddr>().unwrap()]
        );

        fs::write(&resolv_conf, "nameserver 10.0.0.2\n").unwrap();
        fs::remove_file(&hosts).unwrap();
        assert_eq!(system.config().servers, ["10.0.0.2:53".parse().unwrap()]);
        assert!(system.config().hosts.is_empty());
        assert_eq!(seldom.config().hosts.len(), 1);
    }
}
