//! A restart without a refused connection: on a port that somebody else keeps, and on one that two processes share.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, JoinHandle},
};

use serde_json::json;
use tidings_tests::{
    Api, Server, ServerOptions, StreamRequest,
    cluster::Cluster,
    http::read_reply,
    server::{binary, signal},
    stream::Live,
    wait::{self, LONG},
    wire::Wire,
};

const CLIENTS: usize = 6;

/// Clients without pause, each request on a connection of its own.
struct Clients {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
    threads: Vec<JoinHandle<Vec<String>>>,
}

impl Clients {
    /// Half of them publish, half ask.
    fn start(api: &Api) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let client = |n: usize| {
            let (api, stop, done) = (api.clone(), stop.clone(), done.clone());
            thread::spawn(move || {
                let mut failures = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let (expected, answer) = match n % 2 {
                        0 => (201, api.post("/api/v1/events", &json!({ "type": "a.b", "data": n }))),
                        _ => (200, api.get("/health/live")),
                    };
                    match answer {
                        Ok(reply) if reply.status == expected => {}
                        Ok(reply) => failures.push(format!("{} {}", reply.status, reply.text())),
                        Err(error) => failures.push(format!("{:?}: {error}", error.kind())),
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                failures
            })
        };
        let threads = (0..CLIENTS).map(client).collect();
        Self { stop, done, threads }
    }

    /// Returns when this many more requests have been answered.
    fn await_more(&self, count: usize) {
        let wanted = self.done.load(Ordering::Relaxed) + count;
        wait::until_true("clients to get answers", LONG, || self.done.load(Ordering::Relaxed) >= wanted);
    }

    /// # Panics
    /// When a request was refused, reset or not answered as it should be.
    #[track_caller]
    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        let ended = self.threads.into_iter().flat_map(|t| t.join().expect("a client ends"));
        let failures: Vec<_> = ended.collect();
        assert!(failures.is_empty(), "{} failed, first: {}", failures.len(), failures[0]);
    }
}

fn listener() -> TcpListener {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port")
}

/// The request is sent, whoever may answer it.
fn asked(addr: SocketAddr) -> Wire {
    let mut wire = Wire::connect(addr, LONG).expect("connects");
    let request = format!("GET /health/live HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\n\r\n");
    wire.write(request.as_bytes()).expect("sends");
    wire
}

#[track_caller]
fn assert_answered(wires: Vec<Wire>) {
    let answers: Vec<io::Result<u16>> =
        wires.into_iter().map(|mut wire| Ok(read_reply(&mut wire, false)?.status)).collect();
    let failed: Vec<_> = answers.iter().filter(|a| !matches!(a, Ok(200))).collect();
    assert!(failed.is_empty(), "{} of {}: {:?}", failed.len(), answers.len(), failed[0]);
}

#[test]
fn a_restart_on_a_passed_socket_refuses_no_connection() {
    let socket = listener();
    let addr = socket.local_addr().expect("an address");
    let mut server = ServerOptions::new().passed(socket, None, "").start();
    assert_eq!(server.addr, addr, "the passed socket, not --listen");
    let api = server.tenant("acme");
    let clients = Clients::start(&api);
    for _ in 0..2 {
        clients.await_more(200);
        server.stop();
        // Nobody listens but the kernel.
        let waiting = (0..20).map(|_| asked(addr)).collect();
        server.resume();
        assert_answered(waiting);
    }
    clients.await_more(200);
    clients.stop();
}

#[test]
fn what_waits_in_a_passed_sockets_backlog_is_for_the_next_process() {
    let socket = listener();
    let addr = socket.local_addr().expect("an address");
    let mut server = ServerOptions::new().passed(socket, None, "tidings.socket").start();
    signal(server.pid(), "STOP");
    let waiting = (0..50).map(|_| asked(addr)).collect();
    server.terminate();
    signal(server.pid(), "CONT");
    assert!(server.wait_exit(LONG).success());
    server.resume();
    assert_answered(waiting);
}

#[test]
fn passed_sockets_are_taken_by_their_names() {
    let (http, ops) = (listener(), listener());
    let addrs = (http.local_addr().expect("an address"), ops.local_addr().expect("an address"));
    let mut server = ServerOptions::new().passed(http, Some(ops), "http:ops").start();
    assert_eq!((server.addr, server.ops_addr), addrs);
    let environment = fs::read(format!("/proc/{}/environ", server.pid())).expect("reads");
    assert!(environment.windows(10).any(|w| w == b"LISTEN_FDS"), "the shell passed it");
    let _ = Api::anonymous(addrs.1).get("/metrics").expect("answers").expect(200);
    server.stop();
    server.set_options({
        let (http, ops) = (listener(), listener());
        ServerOptions::new().passed(ops, Some(http), "ops:http")
    });
    server.resume();
    let _ = Api::anonymous(server.ops_addr).get("/metrics").expect("answers").expect(200);
}

/// The exit status and what it wrote to stderr. One that goes on is killed.
fn ended(command: &mut Command) -> (Option<i32>, String) {
    let mut child = command.stderr(Stdio::piped()).spawn().expect("starts");
    if !wait::is_true_within(LONG, || child.try_wait().expect("a child can be asked").is_some()) {
        child.kill().expect("it runs");
    }
    let output = child.wait_with_output().expect("ends");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn what_is_no_listening_tcp_socket_is_refused_with_a_sentence() {
    let server = Server::plain();
    let folder = server.scratch().join("other");
    let start = |redirect: &str, listen: &str, ops: &str| {
        let mut command = Command::new("sh");
        let script = format!(r#"exec {redirect}; export LISTEN_PID=$$ {listen}; exec "$0" serve "$@""#);
        command.arg("-c").arg(script).arg(binary());
        command.args(["--listen", "127.0.0.1:0", "--ops-listen", ops, "--data"]).arg(&folder);
        command
    };
    let connected = TcpStream::connect(server.addr).expect("connects");
    let datagrams = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let everywhere = TcpListener::bind("0.0.0.0:0").expect("a port");
    let null = || File::open("/dev/null").expect("opens").into();
    let cases: Vec<(&str, &str, &str, OwnedFd, &str)> = vec![
        ("3<&0", "LISTEN_FDS=1", "127.0.0.1:0", null(), "is no socket"),
        ("3<&-", "LISTEN_FDS=1", "127.0.0.1:0", null(), "is not open"),
        ("3<&0", "LISTEN_FDS=1", "127.0.0.1:0", connected.into(), "does not listen"),
        ("3<&0", "LISTEN_FDS=1", "127.0.0.1:0", datagrams.into(), "is no TCP socket"),
        ("3<&0", "LISTEN_FDS=x", "127.0.0.1:0", listener().into(), "LISTEN_FDS"),
        ("3<&0", "LISTEN_FDS=1 LISTEN_PID=", "127.0.0.1:0", listener().into(), "LISTEN_PID"),
        ("3<&0 4<&0", "LISTEN_FDS=2", "127.0.0.1:0", listener().into(), "with 0 names"),
        ("3<&0", "LISTEN_FDS=1 LISTEN_FDNAMES=admin", "127.0.0.1:0", listener().into(), "\"admin\""),
        ("3<&0", "LISTEN_FDS=1 LISTEN_FDNAMES=ops", "127.0.0.1:0", everywhere.into(), "loopback"),
        ("3<&0", "LISTEN_FDS=1 LISTEN_FDNAMES=ops", "off", listener().into(), "is off"),
    ];
    for (redirect, listen, ops, socket, expected) in cases {
        let (status, said) = ended(start(redirect, listen, ops).stdin(socket));
        assert_eq!(status, Some(2), "{listen} {expected}: {said}");
        assert!(said.contains(expected), "{listen}: {said}");
    }
    assert!(!folder.exists(), "it opened its store first");
}

#[test]
fn a_shared_port_needs_postgresql() {
    let server = Server::plain();
    let folder = server.scratch().join("other");
    let mut command = server.command(&["serve", "--listen", "127.0.0.1:0", "--reuse-port", "--data"]);
    let (status, said) = ended(command.arg(&folder));
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("server.reuse_port") && said.contains("tidings.socket"), "{said}");
}

#[test]
fn on_a_shared_port_the_next_process_takes_over_and_nobody_is_refused_or_reset() {
    let mut cluster = Cluster::options().nodes(1).without_redis().set("server.reuse_port", true).start();
    let api = cluster.tenant("acme").remove(0);
    let addr = cluster.nodes[0].addr;
    let clients = Clients::start(&api);
    for _ in 0..2 {
        let mut old = cluster.nodes.remove(0);
        let mut held = StreamRequest::new(Live::Ws).open(&api);
        let next = old.successor();
        assert_eq!(next.addr, addr);
        wait::until_true("the kernel to give connections to both", LONG, || {
            clients.await_more(20);
            next.metric("http_requests_total", "").is_some_and(|n| n > 20.0)
        });
        // While it is stopped, connections lie in its queue.
        signal(old.pid(), "STOP");
        let waiting = (0..64).map(|_| asked(addr)).collect();
        old.terminate();
        signal(old.pid(), "CONT");
        assert_answered(waiting);
        let (_, code) = held.end(LONG);
        assert_eq!(code, Some(1012));
        assert!(old.wait_exit(LONG).success());
        cluster.nodes.push(next);
    }
    clients.await_more(200);
    clients.stop();
}
