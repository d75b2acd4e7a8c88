//! An egress proxy: what it is asked for, and what is not asked of it at all.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex},
    thread,
};

use tidings_guard::{ConnectError, Connector, ConnectorConfig, EgressProxy, Policy};

use crate::{
    name_server::{NameServer, Reply},
    site::{LONG, connect, dns},
};

/// Answers each request with `answer`, and remembers what it was asked.
fn proxy(answer: &'static str) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (addr, asked) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let head: Vec<String> = BufReader::new(&stream)
                .lines()
                .map_while(Result::ok)
                .take_while(|line| !line.is_empty())
                .collect();
            log.lock().unwrap().push(head.join("|"));
            let _ = (&stream).write_all(answer.as_bytes());
        }
    });
    (addr, asked)
}

fn connector(proxy: SocketAddr, policy: Policy, server: &NameServer) -> Connector {
    let mut config = ConnectorConfig::new(policy.with_http());
    config.resolver = Arc::new(tidings_guard::Dns::new(dns(&[server])));
    config.proxy =
        Some(EgressProxy { address: proxy.to_string(), authorization: Some("Basic c2VjcmV0".to_owned()) });
    Connector::new(config).unwrap()
}

#[tokio::test]
async fn names_go_to_the_proxy_and_what_is_refused_does_not() {
    let (addr, asked) = proxy("HTTP/1.1 200 Connection established\r\n\r\n");
    let server = NameServer::start(|_, _| Reply::NoName);
    let connector = connector(addr, Policy::default(), &server);
    let stream = connect(&connector, "http://partner.example:8080/hook").await.unwrap();
    assert_eq!(stream.peer(), addr);
    connect(&connector, "http://93.184.216.34:8080/").await.unwrap();
    for url in [
        "http://10.0.0.1:8080/",
        "http://localhost:8080/",
        "http://[::1]:8080/",
        "http://partner.example:22/",
    ] {
        assert!(matches!(connect(&connector, url).await, Err(ConnectError::Refused(_))), "{url}");
    }
    let expected =
        |host: &str| format!("CONNECT {host} HTTP/1.1|Host: {host}|Proxy-Authorization: Basic c2VjcmV0");
    assert_eq!(*asked.lock().unwrap(), [expected("partner.example:8080"), expected("93.184.216.34:8080")]);
    assert!(server.was_silent());
    assert!(!format!("{connector:?}").contains("c2VjcmV0"));
}

#[tokio::test]
async fn whatever_the_proxy_says_is_told_alike() {
    let server = NameServer::start(|_, _| Reply::NoName);
    for answer in [
        "HTTP/1.1 403 Forbidden\r\n\r\n",
        "HTTP/1.1 502 Bad Gateway\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "SSH-2.0-OpenSSH\r\n\r\n",
        "",
    ] {
        let (addr, _) = proxy(answer);
        let error = connect(&connector(addr, Policy::default(), &server), "http://partner.example:8080/")
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectError::Proxy(_)), "{answer:?}: {error:?}");
        assert_eq!(error.to_string(), "the proxy did not connect to the host");
    }
}

/// An address of the inside cannot be seen behind a name: the allow-list excuses none.
#[tokio::test]
async fn behind_a_proxy_an_allow_list_excuses_no_name() {
    let (addr, asked) = proxy("HTTP/1.1 200 OK\r\n\r\n");
    let server = NameServer::start(|_, _| Reply::NoName);
    let policy = Policy::default().with_allowed(crate::table::net("10.0.0.0/8")).unwrap();
    let connector = connector(addr, policy, &server);
    let target = connector.policy().judge_url("https://partner.internal/").unwrap();
    assert!(matches!(connector.connect(&target, LONG).await, Err(ConnectError::Refused(_))));
    assert!(connector.check("https://partner.internal/").await.is_err());
    assert!(connector.check("https://partner.example/").await.is_ok());
    assert!(asked.lock().unwrap().is_empty());
}
