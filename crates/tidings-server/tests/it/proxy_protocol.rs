//! PROXY protocol: who it is that a trusted proxy speaks for, and nobody else's word.

use std::net::SocketAddr;

use tidings_server::Server;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::site::{PATIENCE, configured, folder};

/// Connects as the proxy, or as somebody else on this machine.
async fn connect(from: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{from}:0").parse().expect("an address")).expect("an address of loopback");
    socket.connect(to).await.expect("connects")
}

/// The first bytes of the answer; none where the connection is closed without one.
async fn answer(tcp: &mut TcpStream) -> String {
    let mut buffer = [0; 4_096];
    let read = tokio::time::timeout(PATIENCE, tcp.read(&mut buffer)).await.expect("in time");
    String::from_utf8_lossy(&buffer[..read.unwrap_or_default()]).into_owned()
}

fn v2(source: [u8; 4]) -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend(source);
    bytes.extend([127, 0, 0, 1, 0x30, 0x39, 1, 187]);
    bytes
}

#[tokio::test]
async fn trusted_proxies_name_their_clients_in_both_versions_and_nobody_else_does() {
    let folder = folder();
    let settings = [
        "server.proxy_protocol=true",
        "server.trusted_proxies=127.0.0.1",
        "limits.connections_per_ip=1",
        "limits.connections_per_user=off",
    ];
    let server = Server::start(configured(&folder, &settings)).await.expect("starts");
    let key = std::fs::read_to_string(server.new_admin_key().expect("made")).expect("reads");
    let stream = format!(
        "GET /api/v1/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAuthorization: Bearer {}\r\nX-Tidings-Tenant: acme\r\n\r\n",
        key.trim()
    );
    let begin = async |from: &str, header: &[u8]| {
        let mut tcp = connect(from, server.address()).await;
        tcp.write_all(&[header, stream.as_bytes()].concat()).await.expect("sends");
        let head = answer(&mut tcp).await;
        (tcp, head)
    };
    let mut open = Vec::new();
    for (header, status) in [
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 12345 443\r\n".to_vec(), "HTTP/1.1 200"),
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 12346 443\r\n".to_vec(), "HTTP/1.1 429"),
        (v2([192, 0, 2, 1]), "HTTP/1.1 429"),
        (v2([192, 0, 2, 2]), "HTTP/1.1 200"),
        (b"PROXY TCP4 192.0.2.2 127.0.0.1 12345 443\r\n".to_vec(), "HTTP/1.1 429"),
        (b"PROXY TCP6 2001:db8::1 ::1 12345 443\r\n".to_vec(), "HTTP/1.1 200"),
        (b"PROXY TCP6 2001:db8::2 ::1 12345 443\r\n".to_vec(), "HTTP/1.1 429"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "HTTP/1.1 200"),
    ] {
        let (tcp, head) = begin("127.0.0.1", &header).await;
        assert!(head.starts_with(status), "{}: {head}", header.escape_ascii());
        open.push(tcp);
    }
    // Where the proxy names nobody, the client's own word is not the proxy's.
    let mut local = v2([192, 0, 2, 7]);
    local[12] = 0x20;
    for header in [b"PROXY UNKNOWN\r\n".to_vec(), local] {
        let mut tcp = connect("127.0.0.1", server.address()).await;
        let forged = stream.replace("\r\n\r\n", "\r\nX-Forwarded-For: 198.51.100.1\r\n\r\n");
        tcp.write_all(&[&header[..], forged.as_bytes()].concat()).await.expect("sends");
        let head = answer(&mut tcp).await;
        assert!(head.starts_with("HTTP/1.1 429"), "{}: {head}", header.escape_ascii());
    }
    // A trusted proxy that says nothing, or nothing that reads, is not answered.
    let mut third = v2([192, 0, 2, 9]);
    third[12] = 0x31;
    let broken: [&[u8]; 3] = [b"", b"PROXY TCP4 192.0.2.9\r\n", &third];
    for header in broken {
        let (_, head) = begin("127.0.0.1", header).await;
        assert_eq!(head, "", "{}", header.escape_ascii());
    }
    let metrics = server.app().scrape();
    assert!(metrics.contains("listener_proxies_refused_total 3\n"), "{metrics}");
    // Who is no proxy speaks HTTP, and counts as itself.
    for header in [b"PROXY TCP4 192.0.2.3 127.0.0.1 12345 443\r\n".to_vec(), v2([192, 0, 2, 3])] {
        let (_, head) = begin("127.0.0.2", &header).await;
        assert!(head.starts_with("HTTP/1.1 400") && head.contains("bad-request"), "{head}");
    }
    let (_direct, head) = begin("127.0.0.2", b"").await;
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    server.stop().await;
    std::fs::remove_dir_all(&folder).expect("the folder can go");
}
