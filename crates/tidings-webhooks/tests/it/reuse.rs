//! Connections that are kept.

use std::time::Duration;

use tidings_core::webhook::AttemptFailure;
use tidings_testkit::wait;
use tidings_webhooks::sender::{Busy, SenderConfig};

use crate::{
    receiver::{OK, Receiver},
    site::{BODY, PATIENT, SHORT, Site, timeouts},
};

#[tokio::test]
async fn one_connection_serves_one_message_after_the_other() {
    let (site, receiver) = (Site::open(), Receiver::answering(OK));
    for _ in 0..10 {
        assert_eq!(site.send(&receiver.url(), PATIENT).await.failure, None);
    }
    assert_eq!((receiver.connections(), receiver.messages().len(), site.sender.connections()), (1, 10, 1));
}

#[tokio::test]
async fn a_body_within_the_bound_leaves_its_connection_fit_and_a_longer_one_does_not() {
    for (length, connections) in [(4096, 1), (1 << 20, 2)] {
        let receiver = Receiver::answering(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{}",
            "x".repeat(length)
        ));
        let site = Site::open();
        for _ in 0..2 {
            assert_eq!(site.send(&receiver.url(), PATIENT).await.answer.len(), 4096);
        }
        assert_eq!(receiver.connections(), connections, "{length}");
    }
}

#[tokio::test]
async fn one_that_the_receiver_closes_is_not_used_again() {
    let closing = Receiver::answering("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
    let site = Site::open();
    for _ in 0..3 {
        assert_eq!(site.send(&closing.url(), PATIENT).await.failure, None);
    }
    assert_eq!((closing.connections(), site.sender.connections()), (3, 0));

    // Without a word, while it was idle.
    let silent = Receiver::start(|line| line.message().and_then(|()| line.say(OK)));
    for _ in 0..3 {
        assert_eq!(site.send(&silent.url(), PATIENT).await.failure, None);
    }
    assert_eq!((silent.connections(), silent.messages().len()), (3, 3));
}

/// It took the second message and hung up, as a receiver does that restarts: once more, on a new connection.
#[tokio::test]
async fn a_message_that_met_a_closing_connection_is_sent_once_more() {
    let receiver = Receiver::start(|line| {
        line.message()?;
        line.say(OK)?;
        line.message()
    });
    let site = Site::open();
    for _ in 0..2 {
        assert_eq!(site.send(&receiver.url(), PATIENT).await.failure, None);
    }
    assert_eq!((receiver.connections(), receiver.messages().len()), (2, 3));
}

#[tokio::test]
async fn a_host_has_no_more_connections_than_its_bound_and_the_last_is_another_tenants() {
    let receiver = Receiver::start(|line| line.message().and_then(|()| line.hang()));
    let other = Receiver::answering(OK);
    let site = Site::with(SenderConfig { per_host_max: 3, ..SenderConfig::default() }, None);
    let url = receiver.url();
    let held = timeouts(3_000);
    let rest = async {
        while receiver.messages().len() < 2 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            site.try_send(&url, BODY, PATIENT).await,
            Err(Busy),
            "it has as many as are left, or more"
        );
        assert_eq!(site.send(&other.url(), PATIENT).await.failure, None, "another host has its own");
        let globex = site.try_send_for("globex", &url, BODY, held);
        let full = async {
            while receiver.messages().len() < 3 {
                tokio::task::yield_now().await;
            }
            assert_eq!(site.try_send_for("initech", &url, BODY, PATIENT).await, Err(Busy));
        };
        let (globex, ()) = tokio::join!(globex, full);
        globex
    };
    let (first, second, globex) = tokio::join!(site.send(&url, held), site.send(&url, held), rest);
    let all = [first, second, globex.unwrap()].map(|attempt| attempt.failure);
    assert_eq!(all, [Some(AttemptFailure::Timeout); 3]);
    assert_eq!((receiver.connections(), site.sender.connections()), (3, 1));
    // They are given back.
    assert_eq!(site.send(&url, SHORT).await.failure, Some(AttemptFailure::Timeout));
}

#[tokio::test]
async fn a_new_host_takes_an_idle_place_where_all_are_taken() {
    let site = Site::with(SenderConfig { connections_max: 2, ..SenderConfig::default() }, None);
    let receivers = [Receiver::answering(OK), Receiver::answering(OK), Receiver::answering(OK)];
    for receiver in receivers.iter().cycle().take(9) {
        assert_eq!(site.send(&receiver.url(), PATIENT).await.failure, None);
        assert!(site.sender.connections() <= 2);
    }
}

#[tokio::test]
async fn what_nobody_uses_is_closed() {
    let config = SenderConfig { idle: Duration::from_millis(100), ..SenderConfig::default() };
    let (site, receiver) = (Site::with(config, None), Receiver::answering(OK));
    site.send(&receiver.url(), PATIENT).await;
    assert_eq!(site.sender.connections(), 1);
    let closed = async {
        while site.sender.connections() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(wait::LONG, closed).await.unwrap();
}

#[tokio::test]
async fn one_that_is_too_old_is_not_used_again() {
    let config = SenderConfig { age_max: Duration::ZERO, ..SenderConfig::default() };
    let (site, receiver) = (Site::with(config, None), Receiver::answering(OK));
    for _ in 0..3 {
        assert_eq!(site.send(&receiver.url(), PATIENT).await.failure, None);
    }
    assert_eq!(receiver.connections(), 3);
}

#[tokio::test]
async fn an_attempt_that_is_given_up_leaves_nothing_behind() {
    let (site, receiver) = (Site::open(), Receiver::start(|line| line.message().and_then(|()| line.hang())));
    let url = receiver.url();
    let given_up = tokio::time::timeout(Duration::from_millis(200), site.send(&url, PATIENT)).await;
    assert!(given_up.is_err());
    assert_eq!(site.sender.connections(), 0);
    assert_eq!(site.send(&url, SHORT).await.failure, Some(AttemptFailure::Timeout));
}
