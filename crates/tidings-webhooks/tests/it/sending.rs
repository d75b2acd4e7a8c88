use std::time::Duration;

use tidings_core::webhook::AttemptFailure;
use tidings_guard::Policy;
use tidings_webhooks::sender::RetryAfter;

use crate::{
    receiver::{OK, Receiver},
    site::{BODY, PATIENT, Site},
};

#[tokio::test]
async fn a_message_arrives_as_it_was_sent_and_its_answer_is_kept() {
    let (site, receiver) = (Site::open(), Receiver::answering(OK));
    let attempt = site.send(&receiver.url(), PATIENT).await;
    assert_eq!((attempt.status, attempt.failure), (Some(200), None));
    assert_eq!((&attempt.answer[..], attempt.answer_bytes, attempt.request_bytes), (&b"ok"[..], 2, 9));

    let [message] = receiver.messages().try_into().unwrap();
    let mut head = message.head;
    head.sort();
    assert_eq!(message.body, BODY);
    assert_eq!(
        head,
        [
            "POST /hook?a=b HTTP/1.1".to_owned(),
            "accept: */*".to_owned(),
            "content-length: 9".to_owned(),
            "content-type: application/json".to_owned(),
            format!("host: {}", receiver.addr),
            "user-agent: tidings-webhook/0.1.0".to_owned(),
            "webhook-id: evt_7".to_owned(),
            "webhook-signature: v1,x".to_owned(),
            "webhook-timestamp: 5".to_owned(),
            "x-team: payments".to_owned(),
            "x-webhook-id: evt_7".to_owned(),
        ],
        "these headers, and no others"
    );
}

#[tokio::test]
async fn success_is_2xx_and_nothing_else() {
    let site = Site::open();
    for (status, failure) in [
        ("204 No Content", None),
        ("302 Found", Some(AttemptFailure::Redirect)),
        ("404 Not Found", Some(AttemptFailure::Status)),
        ("410 Gone", Some(AttemptFailure::Gone)),
        ("500 Oops", Some(AttemptFailure::Status)),
        ("503 Later", Some(AttemptFailure::Throttled)),
    ] {
        let receiver = Receiver::answering(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        let attempt = site.send(&receiver.url(), PATIENT).await;
        assert_eq!(attempt.failure, failure, "{status}");
        assert_eq!(attempt.status.unwrap().to_string(), status[..3]);
    }
}

#[tokio::test]
async fn what_a_receiver_asks_for_is_told() {
    let receiver =
        Receiver::answering("HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n");
    let attempt = Site::open().send(&receiver.url(), PATIENT).await;
    assert_eq!(attempt.failure, Some(AttemptFailure::Throttled));
    assert_eq!(attempt.retry_after, Some(RetryAfter::Delay(Duration::from_secs(7))));
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let (site, elsewhere) = (Site::open(), Receiver::answering(OK));
    for status in ["301", "302", "303", "307", "308"] {
        let to = elsewhere.url();
        let receiver = Receiver::answering(format!(
            "HTTP/1.1 {status} x\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n"
        ));
        let attempt = site.send(&receiver.url(), PATIENT).await;
        assert_eq!(attempt.failure, Some(AttemptFailure::Redirect));
        assert_eq!(receiver.messages().len(), 1);
    }
    assert_eq!(elsewhere.connections(), 0);
}

/// Judged at the connection, too: a policy that has changed since the endpoint was made decides. What was refused has
/// neither an address nor a time in its record.
#[tokio::test]
async fn what_the_guard_refuses_is_not_sent() {
    let (site, receiver) = (Site::open(), Receiver::answering(OK));
    site.send(&receiver.url(), PATIENT).await;
    site.connector.set_policy(Policy::default());
    let attempt = {
        let policy = Policy::default().with_allowed("127.0.0.0/8".parse().unwrap()).unwrap();
        let destination =
            tidings_webhooks::sender::Destination::new(policy.judge_url(&receiver.url()).unwrap()).unwrap();
        let request = tidings_webhooks::sender::Request {
            tenant: &"acme".parse().unwrap(),
            destination: &destination,
            headers: crate::site::headers(),
            body: bytes::Bytes::from_static(BODY),
            timeouts: PATIENT,
        };
        site.sender.send(request).await.unwrap()
    };
    assert_eq!((attempt.failure, attempt.latency), (Some(AttemptFailure::Refused), Duration::ZERO));
    assert_eq!(
        (receiver.connections(), receiver.messages().len()),
        (1, 1),
        "not by the kept connection either"
    );
}

#[tokio::test]
async fn names_that_lead_nowhere_are_told_as_those_that_lead_inside() {
    let site = Site::open();
    for url in ["https://unknown.example/", "http://unknown.example:8080/"] {
        let attempt = site.send(url, PATIENT).await;
        assert_eq!(
            (attempt.failure, attempt.latency),
            (Some(AttemptFailure::Resolve), Duration::ZERO),
            "{url}"
        );
    }
}
