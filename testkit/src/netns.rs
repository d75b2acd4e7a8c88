//! A network of its own for one program.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::Once,
};

use crate::{Port, process::is_alive, program};

const PREFIX: &str = "tdg";

/// A network namespace, joined to ours by a pair of virtual links. Dropping it removes both.
///
/// What runs in it reaches ours at [`Netns::outside`] only, where nothing listens but what a test puts there:
/// a [`Proxy::between`](crate::Proxy::between) to a server on the loopback interface.
#[derive(Debug)]
pub struct Netns {
    name: String,
    outside: Ipv4Addr,
    inside: Ipv4Addr,
    /// Makes our addresses nobody else's.
    _number: Port,
}

impl Netns {
    /// # Panics
    /// When this machine does not permit it (it takes root, or `CAP_NET_ADMIN` and `CAP_SYS_ADMIN`), or the programs are
    /// missing: with the command that installs them.
    pub fn start() -> Self {
        static SWEEP: Once = Once::new();
        SWEEP.call_once(sweep);
        let number = Port::claim();
        let n = u32::from(number.index()) * 4;
        let addr = |host: u32| Ipv4Addr::from(u32::from(Ipv4Addr::new(10, 231, 0, 0)) + n + host);
        // An interface's name has 15 letters at most.
        let name = format!("{PREFIX}{:x}-{:x}", std::process::id(), number.index());
        let netns = Self { name, outside: addr(1), inside: addr(2), _number: number };
        ip(&format!("netns add {}", netns.name));
        netns.join();
        netns
    }

    fn join(&self) {
        let Self { name, outside, inside, .. } = self;
        let link = self.link();
        ip(&format!("link add {link} type veth peer name eth0 netns {name}"));
        ip(&format!("addr add {outside}/30 dev {link}"));
        ip(&format!("link set {link} up"));
        ip(&format!("-n {name} addr add {inside}/30 dev eth0"));
        ip(&format!("-n {name} link set eth0 up"));
        ip(&format!("-n {name} link set lo up"));
    }

    /// Our end, as the namespace sees it.
    pub const fn outside(&self) -> Ipv4Addr {
        self.outside
    }

    /// Its end, as we see it.
    pub const fn inside(&self) -> Ipv4Addr {
        self.inside
    }

    /// A program to run in it.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program::find("ip", "iproute2"));
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Gives it an address, any one, that leads no further than itself.
    pub fn add_address(&self, address: IpAddr) {
        ip(&format!("-n {} addr add {address} dev lo", self.name));
    }

    /// Gives it routes to everywhere, which lead to us and no further: what is sent anywhere leaves its sender.
    pub fn route_everything(&self) {
        ip(&format!("-n {} route add default via {}", self.name, self.outside));
        ip(&format!("-n {} -6 route add default dev eth0", self.name));
    }

    /// The programs that start in it from now on ask the name server at [`Netns::outside`], port 53.
    pub fn ask_outside(&self) {
        let folder = files(&self.name);
        fs::create_dir_all(&folder).expect("/etc/netns can be written");
        let text = format!("nameserver {}\n", self.outside);
        fs::write(folder.join("resolv.conf"), text).expect("/etc/netns can be written");
    }

    /// From now on [`Netns::calls`] counts.
    pub fn count_calls(&self) {
        self.nft(&["add", "table", "inet", "calls"]);
        self.nft(&["add", "counter", "inet", "calls", "begun"]);
        self.nft(&["add", "chain", "inet", "calls", "output", "{ type filter hook output priority -10; }"]);
        let ours = self.outside;
        for rule in [
            &*format!("ip daddr {ours} udp dport 53 accept"),
            &*format!("ip daddr {ours} tcp dport 53 accept"),
            "tcp flags & (syn | ack) == syn counter name begun",
            "meta l4proto udp counter name begun",
        ] {
            self.nft(&["add", "rule", "inet", "calls", "output", rule]);
        }
    }

    /// How many connections were begun in it, and datagrams sent, to wherever; questions to our name server not counted.
    pub fn calls(&self) -> u64 {
        let mut list = self.command(program::find("nft", "nftables"));
        let told = program::text(list.args(["list", "counter", "inet", "calls", "begun"]));
        let mut words = told.split_whitespace().skip_while(|word| *word != "packets").skip(1);
        words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("no count: {told}"))
    }

    /// Drops every packet between the namespace and `peer`, silently: a partition.
    pub fn cut(&self, peer: SocketAddr) {
        let (addr, port) = (peer.ip(), peer.port());
        self.nft(&["add", "table", "inet", "cut"]);
        for (hook, from) in [("output", "d"), ("input", "s")] {
            let chain = ["add", "chain", "inet", "cut", hook];
            let kind = format!("{{ type filter hook {hook} priority 0; }}");
            self.nft(&[&chain[..], &[&kind]].concat());
            let rule = format!("ip {from}addr {addr} tcp {from}port {port} drop");
            self.nft(&["add", "rule", "inet", "cut", hook, &rule]);
        }
    }

    /// Ends all cuts.
    pub fn heal(&self) {
        self.nft(&["delete", "table", "inet", "cut"]);
    }

    /// Takes our end of the link down, or up again.
    pub fn plug(&self, up: bool) {
        ip(&format!("link set {} {}", self.link(), if up { "up" } else { "down" }));
    }

    fn nft(&self, args: &[&str]) {
        let nft = program::find("nft", "nftables");
        program::run(self.command(nft).args(args));
    }

    fn link(&self) -> &str {
        &self.name
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

fn ip(args: &str) {
    program::run(Command::new(program::find("ip", "iproute2")).args(args.split(' ')));
}

/// What its programs have in `/etc`, by the convention of `ip netns exec`.
fn files(name: &str) -> PathBuf {
    Path::new("/etc/netns").join(name)
}

/// The links go with it.
fn remove(name: &str) {
    let _ = fs::remove_dir_all(files(name));
    let _ = Command::new(program::find("ip", "iproute2")).args(["netns", "delete", name]).output();
}

/// Removes the namespaces of processes that are gone.
fn sweep() {
    let list = program::text(Command::new(program::find("ip", "iproute2")).args(["netns", "list"]));
    for name in list.lines().filter_map(|line| line.split(' ').next()) {
        let owner =
            name.strip_prefix(PREFIX).and_then(|rest| u32::from_str_radix(rest.split_once('-')?.0, 16).ok());
        if owner.is_some_and(|pid| !is_alive(pid)) {
            remove(name);
        }
    }
}
