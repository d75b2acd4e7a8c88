//! Where webhooks must not go, by the real binary: it is refused when it is given, or at delivery with a record that says so,
//! and no packet leaves.
//!
//! The server runs in a network of its own that has routes to everywhere, where everything that it begins is counted, and asks a
//! name server of the test.

// The guard's own tests have it, and use more of it.
#[allow(dead_code, clippy::unwrap_used)]
#[path = "../../../../crates/tidings-guard/tests/it/name_server.rs"]
mod name_server;
mod table;

use std::{
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use serde_json::{Value, json};
use tidings_testkit::Netns;
use tidings_tests::{Api, Server, ServerOptions, cluster::Cluster, wait};

use super::{PATIENCE, publish};
use name_server::{NameServer, Reply};
use table::{ADDRESSES, METADATA, NAMES, SPELLINGS, TEXTS, TURNING};

const PUBLIC: [&str; 2] = ["93.184.216.34", "2606:2800:220:1::1"];
const PORT: u16 = 8_443;

fn create(api: &Api, url: &str) -> tidings_tests::Reply {
    let given = json!({ "url": url, "retries": [], "jitter": 0 });
    api.post("/api/v1/webhooks", &given).expect("answers")
}

fn created(api: &Api, url: &str) -> String {
    let reply = create(api, url);
    assert_eq!(reply.status, 201, "{url}: {}", reply.text());
    reply.json()["id"].as_str().expect("an id").to_owned()
}

#[track_caller]
fn assert_refused(api: &Api, url: &str) {
    let reply = create(api, url);
    assert_eq!(reply.status, 400, "{url:?}: {}", reply.text());
    let problem = reply.expect_problem(400);
    let kind = problem["type"].as_str().unwrap_or_default();
    assert!(kind.ends_with("url-refused"), "{url:?}: {problem}");
}

/// The one attempt that was made.
fn attempt(api: &Api, endpoint: &str) -> Value {
    let path = format!("/api/v1/webhooks/{endpoint}/deliveries");
    wait::until("an attempt", PATIENCE, || {
        let told = api.get(&path).expect("answers").expect(200).json();
        told["deliveries"].as_array()?.first().cloned()
    })
}

fn url_of(ip: &str) -> String {
    let ip: IpAddr = ip.parse().expect("an address");
    format!("https://{}/hook", SocketAddr::new(ip, PORT))
}

/// A server in a namespace, and a name server that turns.
struct Trap {
    server: Server,
    netns: Arc<Netns>,
    turned: Arc<AtomicBool>,
    _names: NameServer,
}

impl Trap {
    fn set() -> Self {
        let netns = Arc::new(Netns::start());
        for ip in PUBLIC {
            netns.add_address(ip.parse().expect("an address"));
        }
        netns.route_everything();
        netns.ask_outside();
        netns.count_calls();
        let turned = Arc::<AtomicBool>::default();
        let told = Arc::clone(&turned);
        let names = NameServer::at((netns.outside(), 53).into(), move |name, _| {
            let inward = TURNING.iter().find(|(known, _)| *known == name && told.load(Ordering::SeqCst));
            let addresses = inward.map_or(&PUBLIC[..1], |(_, addresses)| *addresses);
            let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
            match (inward, name) {
                (Some(_), "alias.example") => Reply::Alias("inner.example", addresses),
                (None, "nowhere.example") => Reply::NoName,
                _ => Reply::Addresses(0, addresses),
            }
        });
        // Every address of the table is permitted at first.
        let listed: Vec<_> = ADDRESSES
            .iter()
            .map(|ip| format!("\"{ip}/{}\"", if ip.contains(':') { 128 } else { 32 }))
            .collect();
        let listed = format!("[{}]", listed.join(","));
        let options = ServerOptions::new().inside(&netns).set("webhooks.rate_per_tenant", "off");
        let server = options.set("webhooks.allow_cidrs", listed).start();
        Self { server, netns, turned, _names: names }
    }

    /// Starts the server anew with no allow-list.
    fn close_the_list(&mut self) {
        self.server.stop();
        self.server
            .set_options(ServerOptions::new().inside(&self.netns).set("webhooks.rate_per_tenant", "off"));
        self.server.resume();
    }
}

#[test]
fn nothing_goes_where_it_must_not_and_the_record_says_so() {
    let mut trap = Trap::set();
    trap.server.tenant("acme");
    let api = trap.server.admin_for("acme");
    let listed: Vec<_> = ADDRESSES.iter().map(|ip| (*ip, created(&api, &url_of(ip)))).collect();
    trap.close_the_list();
    let api = trap.server.admin_for("acme");

    let addresses: Vec<_> = ADDRESSES.iter().chain(METADATA).map(|ip| url_of(ip)).collect();
    let hosts = SPELLINGS.iter().chain(NAMES).map(|host| format!("https://{host}:{PORT}/hook"));
    let texts = TEXTS.iter().map(|text| (*text).to_owned());
    for url in addresses.into_iter().chain(hosts).chain(texts) {
        assert_refused(&api, &url);
    }
    assert_refused(&api, "https://nowhere.example/hook");

    let name = |name: &&'static str| (*name, created(&api, &format!("https://{name}:{PORT}/hook")));
    let turning: Vec<_> = TURNING.iter().map(|(name, _)| name).map(name).collect();
    trap.turned.store(true, Ordering::SeqCst);
    for (name, _) in &turning {
        assert_refused(&api, &format!("https://{name}:{PORT}/other"));
    }
    publish(&api, 1);
    for (what, failure) in [(&listed, "refused"), (&turning, "resolve")] {
        for (host, endpoint) in what {
            let attempt = attempt(&api, endpoint);
            let told = (&attempt["failure"], &attempt["latency_ms"], attempt.get("status"));
            assert_eq!(told, (&json!(failure), &json!(0), None), "{host}");
        }
    }
    assert_eq!(trap.netns.calls(), 0, "something was called");

    // The same server calls what is public: the count would have moved.
    let public: Vec<_> = PUBLIC.iter().map(|ip| created(&api, &url_of(ip))).collect();
    let named = created(&api, &format!("https://partner.example:{PORT}/hook"));
    publish(&api, 1);
    for endpoint in public.iter().chain([&named]) {
        assert_eq!(attempt(&api, endpoint)["failure"], "connect", "nobody listens there");
    }
    assert_eq!(trap.netns.calls(), 3);
}

#[test]
fn no_list_permits_metadata_or_what_the_server_itself_stands_on() {
    let wide = ["127", "169", "100", "192", "168"].map(|first| format!("\"{first}.0.0.0/8\""));
    let cluster = Cluster::options()
        .nodes(1)
        .set("webhooks.allow_cidrs", format!("[{},\"fd00::/8\"]", wide.join(",")))
        .start();
    cluster.tenant("acme");
    let (node, api) = (&cluster.nodes[0], cluster.nodes[0].admin_for("acme"));
    let redis = cluster.redis.as_ref().expect("it was started").addr();
    for own in [node.addr, node.ops_addr, cluster.postgres.addr(), redis] {
        let port = own.port();
        for host in ["127.0.0.1", "127.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0"] {
            assert_refused(&api, &format!("http://{host}:{port}/hook"));
        }
    }
    for ip in METADATA {
        assert_refused(&api, &url_of(ip));
    }
    let beside = tidings_tests::Partner::taking();
    created(&api, &beside.url());
}
