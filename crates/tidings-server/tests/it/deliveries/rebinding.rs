//! A name server that means ill, and a server that asks it: what listens inside hears nothing.

// The guard's own tests have it, and use more of it.
#[allow(dead_code, clippy::unwrap_used)]
#[path = "../../../../tidings-guard/tests/it/name_server.rs"]
mod name_server;

use std::{
    io::ErrorKind,
    net::{IpAddr, TcpListener},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use http::Method;
use serde_json::json;
use tidings_guard::{Dns, DnsConfig};

use super::publish;
use crate::{cluster::until, site::Site};
use name_server::{NameServer, Reply};

const PUBLIC: &str = "93.184.216.34";
/// What each name leads to once it has turned.
const INWARD: [(&str, &[&str]); 6] = [
    ("flips.example", &["127.0.0.1"]),
    ("several.example", &[PUBLIC, "127.0.0.1"]),
    ("mapped.example", &["::ffff:127.0.0.1"]),
    ("both.example", &[PUBLIC, "::1"]),
    ("alias.example", &["127.0.0.1"]),
    ("metadata.example", &["169.254.169.254"]),
];

fn inward(name: &str) -> Reply {
    let (_, addresses) = INWARD.iter().find(|(known, _)| *known == name).expect("nothing else is asked for");
    let addresses = addresses.iter().map(|text| text.parse().expect("an address")).collect();
    if name == "alias.example" {
        Reply::Alias("inner.example", addresses)
    } else {
        Reply::Addresses(0, addresses)
    }
}

struct Trap {
    site: Site,
    server: NameServer,
    turned: Arc<AtomicBool>,
    inside: TcpListener,
}

impl Trap {
    /// Names are public until `turned`.
    async fn set(turned: bool) -> Self {
        let turned = Arc::new(AtomicBool::new(turned));
        let told = Arc::clone(&turned);
        let server = NameServer::start(move |name, _| {
            let public: IpAddr = PUBLIC.parse().expect("an address");
            if told.load(Ordering::SeqCst) { inward(name) } else { Reply::Addresses(0, vec![public]) }
        });
        let inside = TcpListener::bind("127.0.0.1:0").expect("a port");
        inside.set_nonblocking(true).expect("it can be");
        let resolver = Arc::new(Dns::new(DnsConfig::new(vec![server.addr])));
        Self { site: Site::resolving(resolver, &[]).await, server, turned, inside }
    }

    fn url(&self, name: &str) -> String {
        format!("https://{name}:{}/hook", self.inside.local_addr().expect("bound").port())
    }

    fn assert_silent(&self) {
        let accepted = self.inside.accept();
        assert!(matches!(&accepted, Err(error) if error.kind() == ErrorKind::WouldBlock), "{accepted:?}");
    }
}

#[tokio::test]
async fn a_name_that_turns_inward_after_it_was_given_is_refused_at_each_delivery() {
    let trap = Trap::set(false).await;
    let who = trap.site.operator("acme");
    let mut endpoints = Vec::new();
    for (name, _) in INWARD {
        let given = json!({"url": trap.url(name), "retries": ["1s"], "jitter": 0});
        let made = trap.site.post("/api/v1/webhooks", &who, &given).await.ok(201);
        endpoints.push((name, format!("/api/v1/webhooks/{}", made["id"].as_str().expect("an id"))));
    }
    trap.turned.store(true, Ordering::SeqCst);
    let asked = INWARD.map(|(name, _)| trap.server.asked(name));
    publish(&trap.site, &who, 1).await;
    for ((name, endpoint), asked) in endpoints.iter().zip(asked) {
        let attempts = async || trap.site.get(&format!("{endpoint}/deliveries"), &who).await.ok(200);
        until("it is tried again, and given up", async || {
            attempts().await["deliveries"].as_array().map(Vec::len) == Some(2)
        })
        .await;
        let told = attempts().await;
        for attempt in told["deliveries"].as_array().expect("a list") {
            // As a name that leads nowhere: the refusal shows nothing of the inside.
            assert_eq!(
                (&attempt["failure"], &attempt["latency_ms"]),
                (&json!("resolve"), &json!(0)),
                "{name}"
            );
            assert!(attempt.get("status").is_none(), "{name}: {attempt}");
        }
        // The alias is remembered, as inward as it is; every other name's TTL is 0, so that each attempt asks.
        let again = if name == &"alias.example" { 1 } else { 2 };
        assert!(trap.server.asked(name) >= asked + again, "{name}");
        let tried = trap.site.act(&format!("{endpoint}/test"), &who).await.ok(200);
        assert_eq!((&tried["delivered"], &tried["failure"]), (&json!(false), &json!("resolve")), "{name}");
    }
    trap.assert_silent();
    trap.site.close().await;
}

#[tokio::test]
async fn a_name_that_leads_inward_is_refused_when_it_is_given_and_changed_to() {
    let trap = Trap::set(true).await;
    let who = trap.site.operator("acme");
    let public = json!({"url": "https://93.184.216.34/hook"});
    let made = trap.site.post("/api/v1/webhooks", &who, &public).await.ok(201);
    let path = format!("/api/v1/webhooks/{}", made["id"].as_str().expect("an id"));
    for (name, _) in INWARD {
        let url = json!({"url": trap.url(name)});
        let given = trap.site.post("/api/v1/webhooks", &who, &url).await;
        assert_eq!(given.problem(400), "url-refused", "{name}");
        let changed = trap.site.send(Method::PATCH, &path, Some(&who), &[], Some(&url.to_string())).await;
        assert_eq!(changed.problem(400), "url-refused", "{name}");
    }
    trap.assert_silent();
    trap.site.close().await;
}
