//! A name server that means ill.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tidings_guard::{ConnectError, Refusal, ResolveError};

use crate::{
    name_server::{NameServer, Reply},
    site::{Site, connect, connector, dns, ip, outside_only},
};

const OUTSIDE: &str = "127.0.0.2";
const INSIDE: &str = "127.0.0.1";

fn url(site: &Site) -> String {
    format!("http://attack.example:{}/", site.port)
}

/// The flip between two questions: the second answer is never asked for.
#[tokio::test]
async fn a_name_is_resolved_once_for_a_connection() {
    let site = Site::open();
    let server = NameServer::start(|_, before| {
        Reply::Addresses(0, vec![ip(if before == 0 { OUTSIDE } else { INSIDE })])
    });
    let connector = connector(outside_only(), dns(&[&server]));

    let stream = connect(&connector, &url(&site)).await.unwrap();
    assert_eq!(stream.peer(), site.outside.local_addr().unwrap());
    assert_eq!(server.asked("attack.example"), 1);

    // The next connection asks again, since the TTL was zero, and sees the flip.
    let refused = connect(&connector, &url(&site)).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Refused(Refusal::Address(_))), "{refused:?}");
    assert_eq!(server.asked("attack.example"), 2);
    assert!(site.inside_was_silent());
}

#[tokio::test]
async fn what_was_public_when_it_was_given_is_judged_again_when_it_is_called() {
    let (site, turned) = (Site::open(), Arc::new(AtomicBool::new(false)));
    let told = Arc::clone(&turned);
    let server = NameServer::start(move |_, _| {
        Reply::Addresses(0, vec![ip(if told.load(Ordering::SeqCst) { INSIDE } else { OUTSIDE })])
    });
    let connector = connector(outside_only(), dns(&[&server]));

    let target = connector.check(&url(&site)).await.unwrap();
    turned.store(true, Ordering::SeqCst);
    let refused = connector.connect(&target, crate::site::LONG).await.unwrap_err();
    assert!(matches!(refused, ConnectError::Refused(_)), "{refused:?}");
    assert!(site.inside_was_silent());
}

#[tokio::test]
async fn one_refused_answer_refuses_the_name() {
    let site = Site::open();
    for answers in [
        vec![OUTSIDE, INSIDE],
        vec![INSIDE, OUTSIDE],
        vec![OUTSIDE, "10.0.0.1"],
        vec![OUTSIDE, "::1"],
        vec![OUTSIDE, "::ffff:127.0.0.1"],
        vec![OUTSIDE, "64:ff9b::7f00:1"],
        vec![OUTSIDE, "0.0.0.0"],
    ] {
        let told: Vec<_> = answers.iter().map(|text| ip(text)).collect();
        let server = NameServer::start(move |_, _| Reply::Addresses(60, told.clone()));
        let refused = connect(&connector(outside_only(), dns(&[&server])), &url(&site)).await;
        assert!(
            matches!(refused, Err(ConnectError::Refused(Refusal::Address(_)))),
            "{answers:?}: {refused:?}"
        );
    }
    assert!(site.inside_was_silent());
}

#[tokio::test]
async fn an_alias_is_as_good_as_where_it_leads() {
    let site = Site::open();
    for (alias, address, permitted) in [
        ("inner.example", INSIDE, false),
        ("metadata.google.internal", "169.254.169.254", false),
        ("cdn.example", OUTSIDE, true),
    ] {
        let server = NameServer::start(move |_, _| Reply::Alias(alias, vec![ip(address)]));
        let connected = connect(&connector(outside_only(), dns(&[&server])), &url(&site)).await;
        assert_eq!(connected.is_ok(), permitted, "{alias}: {connected:?}");
    }
    assert!(site.inside_was_silent());
}

#[tokio::test]
async fn a_lookup_that_fails_permits_nothing() {
    let site = Site::open();
    let replies: [(fn() -> Reply, ResolveError); 6] = [
        (|| Reply::NoName, ResolveError::NotFound),
        (|| Reply::Addresses(60, Vec::new()), ResolveError::NotFound),
        (|| Reply::Other("elsewhere.example", vec![ip(OUTSIDE)]), ResolveError::NotFound),
        (|| Reply::Broken, ResolveError::Failed),
        (|| Reply::Nothing, ResolveError::TimedOut),
        (
            || Reply::Addresses(60, (1..=65).map(|n| ip(&format!("127.0.2.{n}"))).collect()),
            ResolveError::Failed,
        ),
    ];
    for (reply, expected) in replies {
        let server = NameServer::start(move |_, _| reply());
        let failed = connect(&connector(outside_only(), dns(&[&server])), &url(&site)).await.unwrap_err();
        assert!(
            matches!(failed, ConnectError::Unresolved(error) if error == expected),
            "{expected:?}: {failed:?}"
        );
        assert_eq!(failed.to_string(), "the host has no address that may be called");
    }
    let refused = ConnectError::Refused(Refusal::Name);
    assert_eq!(
        refused.to_string(),
        "the host has no address that may be called",
        "refused and unresolvable are one"
    );
    assert!(site.inside_was_silent());
}

#[tokio::test]
async fn an_address_in_the_url_never_reaches_a_name_server() {
    let (site, server) = (Site::open(), NameServer::start(|_, _| Reply::NoName));
    let connector = connector(outside_only(), dns(&[&server]));
    for host in ["127.0.0.2", "0x7f.0.0.2", "2130706434"] {
        connect(&connector, &format!("http://{host}:{}/", site.port)).await.unwrap();
    }
    for host in ["127.1", "2130706433", "localhost"] {
        assert!(connect(&connector, &format!("http://{host}:{}/", site.port)).await.is_err());
    }
    assert!(server.was_silent() && site.inside_was_silent());
}
