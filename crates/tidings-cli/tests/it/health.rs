use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use crate::harness::{Server, tidings};

/// One that answers a single request with `answer`, and the request that it got.
fn answering(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let asked = std::thread::spawn(move || {
        let (mut peer, _) = listener.accept().expect("a client");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            peer.read_exact(&mut byte).expect("a whole head");
            head.push(byte[0]);
        }
        peer.write_all(answer.as_bytes()).expect("it reads");
        String::from_utf8(head).expect("text")
    });
    (url, asked)
}

#[test]
fn a_running_server_is_healthy_to_whoever_asks() {
    let mut server = Server::start(&[]);
    // The credential that the data folder has is not looked for.
    std::fs::remove_file(server.data().join("admin.key")).expect("it was there");
    assert_eq!(server.ok(&["health"]), "ok (store ok, bus none)\n");
    assert_eq!(server.ok(&["health", "--live"]), "ok\n");
    let elsewhere = tempfile::tempdir().expect("a folder");
    for url in [server.url().to_owned(), format!("{}/", server.url()), server.ops_url()] {
        let output =
            tidings(elsewhere.path()).arg("health").env("TIDINGS_URL", &url).output().expect("it runs");
        assert!(output.status.success(), "{url}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let url = server.url().to_owned();
    server.stop();
    let output = server.run(&["health", "--url", &url]);
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("Is the server running?"));
}

#[test]
fn the_status_says_why_it_is_not_healthy() {
    let folder = tempfile::tempdir().expect("a folder");
    let cases = [
        (
            "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 50\r\n\r\n{\"status\":\"draining\",\"store\":\"ok\",\"bus\":\"none\"}   ",
            75,
            "draining (store ok, bus none)\n",
        ),
        (
            "HTTP/1.1 200 OK\r\ncontent-length: 54\r\n\r\n{\"status\":\"degraded\",\"store\":\"ok\",\"bus\":\"unavailable\"}",
            0,
            "degraded (store ok, bus unavailable)\n",
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nwelcome", 5, ""),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", 5, ""),
        ("HTTP/1.1 301 Moved\r\nlocation: https://x/\r\ncontent-length: 0\r\n\r\n", 5, ""),
        ("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n", 75, ""),
        ("", 5, ""),
    ];
    for (answer, status, line) in cases {
        let (url, asked) = answering(answer);
        let output = tidings(folder.path())
            .args(["health", "--url", &format!("{url}/prefix/")])
            .env("TIDINGS_TOKEN", "tdk_secret")
            .output()
            .expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(status), "{answer:?}: {said}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), line, "{answer:?}");
        assert_eq!(said.is_empty(), !line.is_empty(), "{answer:?}: {said}");
        let head = asked.join().expect("it was asked").to_ascii_lowercase();
        assert!(head.starts_with("get /prefix/health/ready http/1.1\r\n"), "{head}");
        assert!(!head.contains("authorization") && !head.contains("tdk_secret"), "{head}");
    }
}

#[test]
fn a_url_that_is_none_is_wrong_usage_and_not_shown() {
    let folder = tempfile::tempdir().expect("a folder");
    for url in ["ftp://ana:hunter2@x", "ana:hunter2", "http://"] {
        let output = tidings(folder.path()).args(["health", "--url", url]).output().expect("it runs");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{url}: {said}");
        assert!(said.contains("http://") && !said.contains("hunter2"), "{said}");
    }
}
