use std::time::Duration;

use tidings_guard::{CheckError, ConnectError, Policy, Refusal};

use crate::{
    name_server::{NameServer, Reply},
    site::{LONG, Site, connect, connector, dns, ip, outside_only, silent},
    table::net,
};

fn url(site: &Site) -> String {
    format!("http://partner.example:{}/", site.port)
}

#[tokio::test]
async fn an_address_that_does_not_answer_is_followed_by_the_next() {
    let site = Site::open();
    let server = NameServer::start(|_, _| {
        Reply::Addresses(60, vec![ip("127.0.0.3"), ip("127.0.0.4"), ip("127.0.0.2")])
    });
    let policy = Policy::default().with_allowed(net("127.0.0.0/29")).unwrap();
    let stream = connect(&connector(policy, dns(&[&server])), &url(&site)).await.unwrap();
    assert_eq!(stream.peer(), site.outside.local_addr().unwrap());
}

#[tokio::test]
async fn answers_are_remembered_as_long_as_they_hold() {
    let site = Site::open();
    let server = NameServer::start(|name, _| {
        Reply::Addresses(u32::from(name != "brief.example") * 60, vec![ip("127.0.0.2")])
    });
    let connector = connector(outside_only(), dns(&[&server]));
    for _ in 0..3 {
        connect(&connector, &url(&site)).await.unwrap();
        connect(&connector, &format!("http://brief.example:{}/", site.port)).await.unwrap();
    }
    assert_eq!((server.asked("partner.example"), server.asked("brief.example")), (1, 3));
}

#[tokio::test]
async fn a_server_that_fails_is_followed_by_the_next() {
    let site = Site::open();
    let broken = NameServer::start(|_, _| Reply::Broken);
    let mute = NameServer::start(|_, _| Reply::Nothing);
    let sound = NameServer::start(|_, _| Reply::Addresses(60, vec![ip("127.0.0.2")]));
    connect(&connector(outside_only(), dns(&[&broken, &mute, &sound])), &url(&site)).await.unwrap();
    assert_eq!((broken.asked("partner.example"), mute.asked("partner.example")), (1, 1));
}

#[tokio::test]
async fn a_cut_answer_is_asked_for_by_tcp_and_a_stray_one_passed_over() {
    let site = Site::open();
    let replies: [fn() -> Reply; 5] = [
        || Reply::Plain(vec![ip("127.0.0.2")]),
        || Reply::Cut(vec![ip("127.0.0.2")]),
        || Reply::After(vec![0; 3], vec![ip("127.0.0.2")]),
        || Reply::After(vec![0xff; 512], vec![ip("127.0.0.2")]),
        // A head that announces 65,535 records.
        || Reply::After([&[0; 4][..], &[0xff; 8]].concat(), vec![ip("127.0.0.2")]),
    ];
    for reply in replies {
        let server = NameServer::start(move |_, _| reply());
        connect(&connector(outside_only(), dns(&[&server])), &url(&site)).await.unwrap();
    }
}

#[tokio::test]
async fn a_name_of_this_machine_is_known_without_asking() {
    let (site, server) = (Site::open(), NameServer::start(|_, _| Reply::NoName));
    let mut config = dns(&[&server]);
    config.hosts.insert("partner.example".to_owned(), vec![ip("127.0.0.2")]);
    connect(&connector(outside_only(), config), &url(&site)).await.unwrap();
    assert!(server.was_silent());
}

/// RFC 6761, and of both loopback addresses the one that is permitted.
#[tokio::test]
async fn localhost_is_where_the_allow_list_permits_it() {
    let listener = silent("127.0.0.1:0".parse().unwrap());
    let addr = listener.local_addr().unwrap();
    let policy = Policy::default().with_allowed(net("127.0.0.0/8")).unwrap();
    let connector = connector(policy, dns(&[]));
    let stream = connect(&connector, &format!("http://localhost:{}/", addr.port())).await.unwrap();
    assert_eq!(stream.peer(), addr);
    connect(&connector, &format!("http://app.localhost:{}/", addr.port())).await.unwrap();
}

#[tokio::test]
async fn a_check_tells_of_the_url_and_nothing_of_the_network() {
    let server = NameServer::start(|name, _| match name {
        "inside.example" => Reply::Addresses(60, vec![ip("10.0.0.1")]),
        "outside.example" => Reply::Addresses(60, vec![ip("93.184.216.34")]),
        _ => Reply::NoName,
    });
    let connector = connector(outside_only(), dns(&[&server]));
    let text = |url: &'static str| {
        let connector = connector.clone();
        async move { connector.check(url).await.unwrap_err().to_string() }
    };
    let unknown = text("https://unknown.example/").await;
    assert_eq!(unknown, text("https://inside.example/").await);
    // The same of a URL that only a listed address would excuse, whatever its name leads to.
    for url in ["http://unknown.example/", "http://inside.example/", "http://outside.example/"] {
        assert!(matches!(
            connector.check(url).await,
            Err(CheckError::Url(Refusal::Scheme | Refusal::Address(_)))
        ));
        assert_eq!(
            connector.check(url).await.unwrap_err().to_string(),
            "the URL must begin with https://",
            "{url}"
        );
    }
    assert_eq!(connector.check("https://outside.example/").await.unwrap().port(), 443);
}

#[tokio::test]
async fn a_policy_that_changes_counts_for_what_is_open() {
    let (site, connector) = (Site::open(), connector(outside_only(), dns(&[])));
    let target = connector.policy().judge_url(&format!("http://127.0.0.2:{}/", site.port)).unwrap();
    let stream = connector.connect(&target, LONG).await.unwrap();
    assert!(connector.permits(&target, stream.peer()));
    connector.set_policy(Policy::default());
    assert!(!connector.permits(&target, stream.peer()));
    assert!(matches!(connector.connect(&target, LONG).await, Err(ConnectError::Refused(_))));
}

#[tokio::test]
async fn a_connection_is_given_up_when_its_time_is_up() {
    let server = NameServer::start(|_, _| Reply::Nothing);
    let mut config = dns(&[&server]);
    config.timeout = LONG;
    let connector = connector(outside_only(), config);
    let target = connector.policy().judge_url("https://slow.example/").unwrap();
    let late = connector.connect(&target, Duration::from_millis(50)).await;
    assert!(matches!(late, Err(ConnectError::Unresolved(_))), "{late:?}");
}
