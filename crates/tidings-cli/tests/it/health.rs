use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
};

use crate::harness::{Server, tidings};

#[test]
fn a_health_check_needs_no_credential() {
    let mut server = Server::start(&[]);
    for args in [&["health"][..], &["health", "--live"], &["health", "--url", server.url()]] {
        assert_eq!(server.ok(args).trim(), "ok", "{args:?}");
    }
    let url = server.url().to_owned();
    server.stop();
    let gone = server.run(&["health", "--url", &url]);
    assert_eq!(gone.status.code(), Some(5), "{}", String::from_utf8_lossy(&gone.stderr));
}

/// What answers once, and its URL.
fn answering(answer: &'static str) -> (std::thread::JoinHandle<()>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let serving = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("it is asked");
        let _ = socket.read(&mut [0; 1_024]).expect("a request");
        socket.write_all(answer.as_bytes()).expect("it listens");
    });
    (serving, url)
}

#[test]
fn a_health_check_tells_one_that_waits_from_one_that_is_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let unready = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 21\r\n\r\n{\"status\":\"draining\"}";
    let foreign = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi";
    for (answer, status, said) in [(unready, 75, "draining\n"), (foreign, 1, "")] {
        let (serving, url) = answering(answer);
        let output = tidings(folder.path()).args(["health", "--url", &url]).output().expect("it runs");
        serving.join().expect("it answered");
        assert_eq!((output.status.code(), &*String::from_utf8_lossy(&output.stdout)), (Some(status), said));
    }
}
