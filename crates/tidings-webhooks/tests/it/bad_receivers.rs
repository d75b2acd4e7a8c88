//! Whatever a receiver does costs no more than the deadlines and the bounds.

use std::{
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tidings_core::webhook::AttemptFailure;
use tidings_testkit::{Certificates, wait};
use tidings_webhooks::sender::{SenderConfig, Timeouts};

use crate::{
    receiver::Receiver,
    site::{PATIENT, SHORT, Site},
};

async fn failure(receiver: &Receiver, timeouts: Timeouts) -> Option<AttemptFailure> {
    let site = Site::open();
    let attempt = site.send(&receiver.url(), timeouts).await;
    assert_eq!(site.sender.connections(), 0, "what went wrong is not kept");
    attempt.failure
}

/// The queue of its listener is full: the kernel answers nothing.
#[tokio::test]
async fn one_that_never_accepts() {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&"127.0.0.1:0".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
    socket.listen(0).unwrap();
    let listener = TcpListener::from(socket);
    let addr = listener.local_addr().unwrap();
    let connect = || std::net::TcpStream::connect_timeout(&addr, Duration::from_millis(200));
    let queue: Vec<_> = (0..8).map_while(|_| connect().ok()).collect();
    assert!(queue.len() < 8, "the queue has an end");
    let attempt = Site::open().send(&format!("http://{addr}/"), SHORT).await;
    assert_eq!((attempt.status, attempt.failure), (None, Some(AttemptFailure::Timeout)));
}

/// It takes the connection and says nothing of TLS.
#[tokio::test]
async fn one_with_which_no_connection_comes_about() {
    let receiver = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/", receiver.local_addr().unwrap());
    let connect = Timeouts { connect: Duration::from_millis(200), ..PATIENT };
    let attempt = Site::open().send(&url, connect).await;
    assert_eq!((attempt.status, attempt.failure), (None, Some(AttemptFailure::Timeout)));
}

#[tokio::test]
async fn one_that_is_not_there() {
    let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let attempt = Site::open().send(&format!("http://{addr}/"), PATIENT).await;
    assert_eq!(attempt.failure, Some(AttemptFailure::Connect));
}

#[tokio::test]
async fn one_that_never_answers() {
    let receiver = Receiver::start(|line| line.message().and_then(|()| line.hang()));
    assert_eq!(failure(&receiver, SHORT).await, Some(AttemptFailure::Timeout));
    assert_eq!(receiver.messages().len(), 1);
    let first_byte = Timeouts { first_byte: Duration::from_millis(200), ..PATIENT };
    assert_eq!(failure(&receiver, first_byte).await, Some(AttemptFailure::Timeout));
}

#[tokio::test]
async fn one_that_says_continue_for_ever() {
    let receiver = Receiver::start(|line| {
        line.message()?;
        loop {
            line.say("HTTP/1.1 100 Continue\r\n\r\n")?;
        }
    });
    assert_eq!(failure(&receiver, SHORT).await, Some(AttemptFailure::Timeout));
}

#[tokio::test]
async fn one_that_trickles_its_head() {
    let receiver = Receiver::start(|line| {
        line.message()?;
        line.say("HTTP/1.1 200 OK\r\nX-A: ")?;
        loop {
            line.say("a")?;
            wait::pause(Duration::from_millis(20));
        }
    });
    assert_eq!(failure(&receiver, SHORT).await, Some(AttemptFailure::Timeout));
}

#[tokio::test]
async fn one_that_sends_ten_megabytes_of_headers() {
    let written = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&written);
    let receiver = Receiver::start(move |line| {
        line.message()?;
        line.say("HTTP/1.1 200 OK\r\n")?;
        for n in 0..10_000 {
            line.say(&format!("X-{n}: {}\r\n", "a".repeat(1000)))?;
            told.fetch_add(1000, Ordering::SeqCst);
        }
        line.say("Content-Length: 0\r\n\r\n")
    });
    assert_eq!(failure(&receiver, PATIENT).await, Some(AttemptFailure::Protocol));
    assert!(written.load(Ordering::SeqCst) < 10_000_000, "it was cut off");
}

#[tokio::test]
async fn one_that_speaks_something_else() {
    for nonsense in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 abc\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: x\r\n\r\n",
    ] {
        let receiver = Receiver::start(move |line| line.message().and_then(|()| line.say(nonsense)));
        assert_eq!(failure(&receiver, PATIENT).await, Some(AttemptFailure::Protocol), "{nonsense:?}");
    }
}

#[tokio::test]
async fn one_that_hangs_up_before_it_answers() {
    for part in ["", "HTTP/1.1 200 OK\r\nX-"] {
        let receiver = Receiver::start(move |line| line.message().and_then(|()| line.say(part)));
        assert_eq!(failure(&receiver, PATIENT).await, Some(AttemptFailure::Closed), "{part:?}");
        assert_eq!(receiver.messages().len(), 1, "a new connection is not tried again");
    }
    let receiver = Receiver::start(|line| line.message().and_then(|()| line.reset()));
    assert_eq!(failure(&receiver, PATIENT).await, Some(AttemptFailure::Closed));
}

/// It has acknowledged; what becomes of its body is its own affair, and costs no more than the deadline.
#[tokio::test]
async fn one_whose_answer_never_ends() {
    let heads = ["Content-Length: 100000000", "Transfer-Encoding: chunked", "Connection: close"];
    for head in heads {
        let written = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&written);
        let receiver = Receiver::start(move |line| {
            line.message()?;
            line.say(&format!("HTTP/1.1 200 OK\r\n{head}\r\n\r\n"))?;
            let part = format!("400\r\n{}\r\n", "x".repeat(1024));
            for _ in 0..100_000 {
                line.say(&part)?;
                told.fetch_add(1024, Ordering::SeqCst);
            }
            Ok(())
        });
        let site = Site::open();
        let attempt = site.send(&receiver.url(), PATIENT).await;
        assert_eq!((attempt.failure, attempt.answer.len()), (None, 4096), "{head}");
        assert!(attempt.answer_bytes < 64 * 1024, "{head}: {} bytes were read", attempt.answer_bytes);
        assert_eq!(site.sender.connections(), 0, "{head}: the rest is not waited for");
        wait::until_true("it to be cut off", wait::LONG, || {
            Arc::strong_count(&written) == 1 || {
                let before = written.load(Ordering::SeqCst);
                wait::pause(Duration::from_millis(50));
                before == written.load(Ordering::SeqCst)
            }
        });
        assert!(written.load(Ordering::SeqCst) < 50_000_000, "{head}");
    }
}

#[tokio::test]
async fn one_whose_body_trickles_or_hangs() {
    let trickling = Receiver::start(|line| {
        line.message()?;
        line.say("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")?;
        loop {
            line.say("x")?;
            wait::pause(Duration::from_millis(20));
        }
    });
    let hanging = Receiver::start(|line| {
        line.message()?;
        line.say("HTTP/1.1 500 Oops\r\nContent-Length: 10\r\n\r\nabc")?;
        line.hang()
    });
    assert_eq!(failure(&trickling, SHORT).await, None);
    let attempt = Site::open().send(&hanging.url(), SHORT).await;
    assert_eq!((attempt.failure, &attempt.answer[..]), (Some(AttemptFailure::Status), &b"abc"[..]));
}

#[tokio::test]
async fn one_that_resets_after_its_head() {
    let receiver = Receiver::start(|line| {
        line.message()?;
        line.say("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")?;
        line.reset()
    });
    assert_eq!(failure(&receiver, PATIENT).await, None);
}

/// Ten kilobytes that would be ten megabytes: kept as they came.
#[tokio::test]
async fn one_that_answers_with_a_bomb() {
    let mut bomb = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    bomb.resize(10_000, 0);
    let answer = bomb.clone();
    let receiver = Receiver::start(move |line| {
        line.message()?;
        line.say("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10000\r\n\r\n")?;
        line.write(&answer)
    });
    let attempt = Site::open().send(&receiver.url(), PATIENT).await;
    assert_eq!(attempt.answer, bomb[..4096]);
    assert!(receiver.messages()[0].header("accept-encoding").is_none());
}

#[tokio::test]
async fn one_whose_certificate_is_not_its_own() {
    let (wrong_name, stranger) =
        (Certificates::new("DNS:elsewhere.example"), Certificates::new("IP:127.0.0.1"));
    for (served, trusted) in [(&wrong_name, &wrong_name), (&stranger, &wrong_name)] {
        let addr = crate::http2::serve(served, &["http/1.1"]);
        let site = Site::with(SenderConfig::default(), Some(&trusted.authority()));
        let attempt = site.send(&format!("https://{addr}/"), PATIENT).await;
        assert_eq!(attempt.failure, Some(AttemptFailure::Tls));
    }
}

/// A body that a receiver does not read to its end does not hold its answer back.
#[tokio::test]
async fn one_that_answers_before_it_has_read() {
    let receiver = Receiver::start(|line| {
        line.glance()?;
        line.say("HTTP/1.1 413 Too Much\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")?;
        line.hang()
    });
    let body: &'static [u8] = Box::leak(vec![b'x'; 8 << 20].into_boxed_slice());
    let attempt = Site::open().try_send(&receiver.url(), body, PATIENT).await.unwrap();
    assert_eq!((attempt.status, attempt.failure), (Some(413), Some(AttemptFailure::Status)));
}
