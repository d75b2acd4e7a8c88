use std::time::Duration;

use tidings_client::{Backoff, ClientError, Item, Selection, Start, StreamError, StreamRequest, Transport};
use tidings_core::{Cursor, Seq, Verbosity};

use crate::fake::{Answer, Fake};

const OPEN: &str =
    r#"{"type":"stream.open","connection_id":"c","epoch":"abc","head":9,"oldest":1,"heartbeat_s":15}"#;

fn event(seq: u64) -> String {
    format!(
        r#"{{"seq":{seq},"id":"01010101-0101-0101-0101-010101010101","type":"note.created","time":"2026-11-23T07:12:09.123456Z","tenant_id":"acme","data":{seq}}}"#
    )
}

fn record(id: &str, text: &str) -> String {
    format!("id: {id}\r\nevent: x\r\ndata: {text}\r\n\r\n")
}

/// Soon back, so that the tests are.
fn request(transport: Transport) -> StreamRequest {
    let backoff = Backoff { base: Duration::from_millis(1), max: Duration::from_millis(5), tries: Some(3) };
    StreamRequest {
        start: Start::After(Cursor::bare(Seq::ZERO)),
        transport,
        backoff,
        ..StreamRequest::default()
    }
}

async fn until_the_end(fake: &Fake, request: &StreamRequest) -> (Vec<u64>, StreamError) {
    let mut stream = fake.client().stream(request);
    let mut seqs = Vec::new();
    loop {
        match stream.next().await.expect("an error comes last") {
            Ok(Item::Event(event)) => seqs.push(event.seq.get()),
            Ok(_) => {}
            Err(error) => return (seqs, error),
        }
    }
}

#[tokio::test]
async fn a_websocket_resumes_after_a_cut_and_after_a_close() {
    let page = format!(r#"{{"events":[{},{}],"next":"abc:5","head":9,"oldest":1}}"#, event(4), event(5));
    let fake = Fake::scripted([
        Answer::WebSocket(vec![OPEN.into(), event(1), event(2)], 0),
        Answer::WebSocket(vec![OPEN.into(), event(2), event(3), event(6)], 1012),
        Answer::Json(200, page),
        Answer::WebSocket(vec![OPEN.into(), event(7)], 4403),
    ])
    .await;
    let (seqs, error) = until_the_end(&fake, &request(Transport::WebSocket)).await;
    assert_eq!(seqs, [1, 2, 3, 4, 5, 6, 7]);
    assert!(matches!(error, StreamError::Closed { code: 4403, .. }), "{error}");
    assert_eq!(
        fake.lines(),
        [
            "GET /api/v1/ws?since=0",
            "GET /api/v1/ws?since=abc%3A2",
            "GET /api/v1/events?since=abc%3A3&limit=1000",
            "GET /api/v1/ws?since=abc%3A6",
        ]
    );
    let first = &fake.seen()[0];
    assert_eq!(first.header("authorization"), Some("Bearer secret"));
    assert_eq!(first.header("sec-websocket-protocol"), Some("tidings.v1"));
}

#[tokio::test]
async fn sse_resumes_by_its_last_event_id() {
    let fake = Fake::scripted([
        Answer::Sse(["retry: 2\r\n\r\n", &record("abc:0", OPEN), &record("abc:1", &event(1))].concat()),
        Answer::Sse(
            [record("abc:1", OPEN), record("abc:2", &event(2)), "id: abc:3\r\ndata: {\"cut".into()].concat(),
        ),
        Answer::Sse([record("abc:2", OPEN), record("abc:3", &event(3))].concat()),
        Answer::Json(403, r#"{"type":"urn:tidings:problem:forbidden","title":"No","status":403}"#.into()),
    ])
    .await;
    let (seqs, error) = until_the_end(&fake, &request(Transport::Sse)).await;
    assert_eq!(seqs, [1, 2, 3]);
    assert!(error.problem().expect("the server's").is("forbidden"));
    let cursors: Vec<_> =
        fake.seen().iter().map(|r| r.header("last-event-id").expect("sent").to_owned()).collect();
    assert_eq!(cursors, ["0", "abc:1", "abc:2", "abc:3"]);
}

#[tokio::test]
async fn a_refused_upgrade_tells_the_problem() {
    let body = r#"{"type":"urn:tidings:problem:bad-filter","title":"The filter is not valid","status":400,"detail":"d"}"#;
    for transport in [Transport::WebSocket, Transport::Sse] {
        let fake = Fake::start(|_| Answer::Json(400, body.into())).await;
        let selection = Selection::default().with("types", ["job.*", "a b"]).at(Some(Verbosity::Detail));
        let (_, error) = until_the_end(&fake, &StreamRequest { selection, ..request(transport) }).await;
        let problem = error.problem().expect("the server's");
        assert_eq!((problem.status, problem.detail.as_str()), (400, "d"));
        let asked = &fake.lines()[0];
        assert!(asked.contains("types=job.*&types=a+b&verbosity=detail"), "{asked}");
        assert_eq!(fake.lines().len(), 1, "it is not tried again");
    }
}

#[tokio::test]
async fn nobody_there_is_tried_again_and_given_up() {
    let fake = Fake::start(|_| Answer::Cut).await;
    for transport in [Transport::WebSocket, Transport::Sse] {
        let (_, error) = until_the_end(&fake, &request(transport)).await;
        assert!(matches!(error, StreamError::GaveUp { tries: 3, .. }), "{error}");
    }
}

#[tokio::test]
async fn a_proxys_page_is_no_answer_of_ours() {
    let fake = Fake::start(|_| Answer::Json(200, "<html>".into())).await;
    assert!(matches!(fake.client().queues().await, Err(ClientError::Unreadable { .. })));
    let fake = Fake::start(|_| Answer::Json(502, "<html>".into())).await;
    let error = fake.client().queues().await.expect_err("refused");
    assert!(error.is_temporary() && error.status() == Some(502));
}
