use std::{
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use tidings_testkit::{Proxy, socket, wait};

/// Sends everything back, on as many connections as come.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || io::copy(&mut &stream, &mut &stream));
        }
    });
    addr
}

fn open(proxy: &Proxy) -> TcpStream {
    let stream = TcpStream::connect(proxy.addr()).unwrap();
    stream.set_read_timeout(Some(wait::LONG)).unwrap();
    stream
}

fn say(stream: &mut TcpStream, text: &str) -> io::Result<String> {
    stream.write_all(text.as_bytes())?;
    let mut answer = vec![0; text.len()];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8(answer).unwrap())
}

/// What a reset is to whoever reads: not an end.
fn is_reset<T: std::fmt::Debug>(result: io::Result<T>) -> bool {
    matches!(result.unwrap_err().kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

#[test]
fn it_passes_ends_and_counts() {
    let proxy = Proxy::to(echo());
    let mut stream = open(&proxy);
    assert_eq!(say(&mut stream, "hello").unwrap(), "hello");
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!(socket::read(&mut stream, &mut [0]).unwrap(), 0, "the end passes too, both ways");
    wait::until_true("the connection to be forgotten", wait::LONG, || proxy.open() == 0);
    let counts = proxy.counts();
    assert_eq!((counts.accepted, counts.asked, counts.answered, counts.cut), (1, 5, 5, 0));
}

#[test]
fn a_cut_resets_what_is_open_and_what_comes() {
    let proxy = Proxy::to(echo());
    let mut stream = open(&proxy);
    say(&mut stream, "a").unwrap();
    proxy.cut();
    assert!(is_reset(socket::read(&mut stream, &mut [0])));
    assert!(is_reset(say(&mut open(&proxy), "b")));
    proxy.pass();
    assert_eq!(say(&mut open(&proxy), "c").unwrap(), "c");
    assert_eq!(proxy.counts().cut, 2);
    proxy.cut_once();
    assert_eq!(say(&mut open(&proxy), "d").unwrap(), "d");
}

#[test]
fn a_black_hole_holds_everything_back_until_it_passes() {
    let proxy = Proxy::to(echo());
    let mut stream = open(&proxy);
    say(&mut stream, "a").unwrap();
    proxy.black_hole();
    stream.write_all(b"b").unwrap();
    let mut new = open(&proxy);
    new.write_all(b"c").unwrap();
    for stream in [&stream, &new] {
        stream.set_read_timeout(Some(Duration::from_millis(50))).unwrap();
        assert_eq!(stream.peek(&mut [0]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        stream.set_read_timeout(Some(wait::LONG)).unwrap();
    }
    proxy.pass();
    let mut answer = [0; 1];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"b");
    new.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"c");
    proxy.black_hole();
    stream.write_all(b"d").unwrap();
    proxy.cut();
    assert!(is_reset(socket::read(&mut stream, &mut answer)), "a cut reaches what is held back");
}

#[test]
fn an_answer_is_cut_after_so_many_bytes_once() {
    let proxy = Proxy::to(echo());
    let mut stream = open(&proxy);
    say(&mut stream, "before").unwrap();
    proxy.cut_after_answered(3);
    stream.write_all(b"abcdef").unwrap();
    let mut got = Vec::new();
    assert!(is_reset(stream.read_to_end(&mut got)));
    assert_eq!(got, b"abc");
    assert!(!proxy.is_armed());
    assert_eq!(say(&mut open(&proxy), "abcdef").unwrap(), "abcdef");
}

#[test]
fn an_answer_with_a_marker_never_arrives() {
    let proxy = Proxy::to(echo());
    let mut stream = open(&proxy);
    proxy.cut_at_answer(b"COMMIT");
    assert_eq!(say(&mut stream, "BEGIN COM").unwrap(), "BEGIN COM");
    assert!(proxy.is_armed());
    assert!(is_reset(say(&mut stream, "MIT")), "the marker lay across two pieces");
    assert!(!proxy.is_armed());
}

#[test]
fn a_delay_holds_each_piece() {
    let proxy = Proxy::to(echo());
    let mut stream = open(&proxy);
    let each = Duration::from_millis(30);
    proxy.delay(each);
    let start = Instant::now();
    assert_eq!(say(&mut stream, "a").unwrap(), "a");
    assert!(start.elapsed() >= each * 2, "there and back");
}

#[test]
fn a_target_that_refuses_is_a_reset() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let proxy = Proxy::to(nobody);
    assert!(is_reset(socket::read(open(&proxy), &mut [0])));
}
