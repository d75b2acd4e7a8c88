//! A client far behind catches up while live clients stay live.

use serde_json::json;
use tidings_tests::{Message, ServerOptions, StreamRequest, stream::Live, wait::LONG};

/// How far behind the late clients are.
const BEHIND: u64 = 1_000_000;

#[test]
fn a_client_a_million_events_behind_catches_up_while_a_live_one_stays_live() {
    let _alone = crate::alone();
    let server = ServerOptions::new().set("retention.events_per_tenant", "off").start();
    let api = server.tenant("acme");
    let mut live = StreamRequest::new(Live::Ws).query("types=live.*").open(&api);
    let _ = live.control("stream.open");
    let old: Vec<_> = (0..1_000).map(|n| json!({ "type": "old.made", "data": n })).collect();
    let mut session = api.session().expect("connects");
    for _ in 0..BEHIND / 1_000 {
        let _ = session.post("/api/v1/events", &old).expect("answers").expect(201);
    }
    let mut late = [Live::Ws, Live::Sse].map(|live| StreamRequest::new(live).since(0).open(&api));
    let mut reached = [0_u64; 2];
    let (mut pings, mut last) = (0, BEHIND);
    // While the two catch up, one event after another goes out live: each must arrive before the next is made.
    while reached.iter().any(|seq| *seq < last) {
        if reached.iter().any(|seq| *seq < BEHIND) {
            let event = json!({ "type": "live.made", "data": pings });
            last = session.post("/api/v1/events", &event).expect("answers").expect(201).json()["seq"]
                .as_u64()
                .expect("a seq");
            assert_eq!(live.event().0, last, "the live client is live");
            pings += 1;
        }
        for (stream, reached) in late.iter_mut().zip(&mut reached) {
            for _ in 0..20_000.min(last - *reached) {
                match stream.next(LONG).expect("a message") {
                    Message::Event { seq, .. } => {
                        assert_eq!(seq, *reached + 1, "no event twice, none missed");
                        *reached = seq;
                    }
                    Message::Control(value) => assert!(
                        value["type"] == "stream.open" || value["type"] == "stream.heartbeat",
                        "a replay is paced, not cut: {value}"
                    ),
                    Message::Closed(code) => panic!("cut with {code:?} at {reached}"),
                }
            }
        }
    }
    assert!(pings > 10, "{pings}");
}
