//! A scripted server under paused time: each fault by itself, and all of them at random.

mod script;

use std::time::Duration;

use tidings_core::{Cursor, Seq};
use tokio::time::Instant;

use super::super::{EventStream, Item, Selection, Start, StreamError, StreamRequest};
use crate::{ClientError, Credential, Problem, Token};
use script::{Script, Step, close, event, heartbeat, open, refused, reset};

fn since(cursor: &str) -> StreamRequest {
    StreamRequest { start: Start::After(cursor.parse().expect("valid")), ..StreamRequest::default() }
}

/// Seqs until the script has nothing more to say.
async fn seqs(stream: &mut EventStream, count: usize) -> Vec<u64> {
    let mut seqs = Vec::new();
    while seqs.len() < count {
        if let Item::Event(event) = stream.next().await.expect("goes on").expect("no error") {
            seqs.push(event.seq.get());
        }
    }
    seqs
}

async fn items(stream: &mut EventStream, count: usize) -> Vec<Item> {
    let mut items = Vec::new();
    while items.len() < count {
        items.push(stream.next().await.expect("goes on").expect("no error"));
    }
    items
}

#[tokio::test(start_paused = true)]
async fn a_cut_connection_goes_on_after_the_last_event() {
    let script = Script::default()
        .connection([open("abc", 2, 1), event(1), event(2), Step::Cut])
        .connection([open("abc", 4, 1), event(3), event(4)]);
    let dialled = script.dialled();
    let mut stream = EventStream::over(script, &since("0"));
    assert_eq!(seqs(&mut stream, 4).await, [1, 2, 3, 4]);
    assert_eq!(stream.cursor().expect("known").to_string(), "abc:4");
    assert_eq!(*dialled.lock().expect("held by nobody"), ["0", "abc:2"]);
}

#[tokio::test(start_paused = true)]
async fn duplicates_are_dropped_and_gaps_are_replayed() {
    let script = Script::with_log(1..=9).connection([
        open("abc", 9, 1),
        event(1),
        event(1),
        event(2),
        // 3 to 5 are missing.
        event(6),
        event(4),
        event(7),
        // 8 and 9 are missing, and only the heartbeat shows it.
        heartbeat("abc:9", 9),
    ]);
    let mut stream = EventStream::over(script, &since("0"));
    assert_eq!(seqs(&mut stream, 9).await, [1, 2, 3, 4, 5, 6, 7, 8, 9]);
}

#[tokio::test(start_paused = true)]
async fn holes_that_the_replay_confirms_are_no_loss() {
    let script = Script::with_log([2, 5, 9]).connection([
        open("abc", 9, 1),
        event(2),
        event(5),
        heartbeat("abc:8", 8),
        event(9),
    ]);
    let replays = script.replays();
    let mut stream = EventStream::over(script, &since("0"));
    assert_eq!(seqs(&mut stream, 3).await, [2, 5, 9]);
    assert_eq!(replays.lock().expect("held by nobody").len(), 1, "one replay tells that holes mean nothing");
}

#[tokio::test(start_paused = true)]
async fn a_filtered_stream_advances_by_heartbeats() {
    let script = Script::default()
        .connection([open("abc", 9, 1), event(3), heartbeat("abc:8", 9), Step::Cut])
        .connection([open("abc", 9, 1), event(12)]);
    let (dialled, replays) = (script.dialled(), script.replays());
    let selection = Selection::default().with("types", ["note.*"]);
    let mut stream = EventStream::over(script, &StreamRequest { selection, ..since("abc:1") });
    assert_eq!(seqs(&mut stream, 2).await, [3, 12]);
    assert_eq!(*dialled.lock().expect("held by nobody"), ["abc:1", "abc:8"]);
    assert!(replays.lock().expect("held by nobody").is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_replay_that_fails_leads_back_to_the_cursor() {
    let script = Script::default().connection([open("abc", 9, 1), event(1), event(5)]).connection([
        open("abc", 9, 1),
        event(2),
        event(3),
        event(4),
        event(5),
    ]);
    let mut stream = EventStream::over(script, &since("0"));
    assert_eq!(seqs(&mut stream, 5).await, [1, 2, 3, 4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_reset_is_told_and_moves_the_cursor() {
    let script =
        Script::default().connection([open("new", 7, 5), reset("epoch", "new", 5), event(5), event(6)]);
    let mut stream = EventStream::over(script, &since("abc:90"));
    let told = items(&mut stream, 4).await;
    assert!(
        matches!(&told[1], Item::Reset { reason, oldest, .. } if reason == "epoch" && *oldest == Seq::new(5))
    );
    assert!(matches!(&told[3], Item::Event(e) if e.seq == Seq::new(6)));
    assert_eq!(stream.cursor().expect("known").to_string(), "new:6");
}

#[tokio::test(start_paused = true)]
async fn another_epoch_is_told_even_where_the_server_does_not() {
    let script = Script::default().connection([open("new", 7, 5), event(5)]);
    let mut stream = EventStream::over(script, &since("abc:90"));
    let told = items(&mut stream, 3).await;
    assert!(matches!(&told[1], Item::Reset { .. }) && matches!(&told[2], Item::Event(_)), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn lag_is_told_and_the_stream_goes_on_from_its_cursor() {
    let lagged = Step::Say(r#"{"type":"stream.lagged","resume_from":"abc:1"}"#.into());
    let script = Script::default()
        .connection([open("abc", 2_000, 1), event(1), lagged, close(4408)])
        .connection([open("abc", 2_000, 1), event(2)]);
    let mut stream = EventStream::over(script, &since("0"));
    let told = items(&mut stream, 6).await;
    assert!(
        matches!(&told[2], Item::Lagged { resume_from } if *resume_from == "abc:1".parse::<Cursor>().expect("valid"))
    );
    assert!(matches!(&told[3], Item::Reconnecting { .. }));
    assert!(matches!(&told[5], Item::Event(e) if e.seq == Seq::new(2)));
}

#[tokio::test(start_paused = true)]
async fn it_gives_up_after_ten_tries_in_a_row() {
    let mut stream = EventStream::over(Script::default(), &since("0"));
    let mut waits = Vec::new();
    let error = loop {
        match stream.next().await.expect("an error comes last") {
            Ok(Item::Reconnecting { delay, .. }) => waits.push(delay),
            Ok(other) => panic!("{other:?}"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StreamError::GaveUp { tries: 10, .. }), "{error}");
    // The script's entropy is all ones: full jitter at its upper end.
    let seconds: Vec<_> = waits.iter().map(|w| w.as_secs_f64().round() as u64).collect();
    assert_eq!(seconds, [1, 2, 4, 8, 16, 30, 30, 30, 30]);
    assert!(stream.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn an_event_starts_the_count_of_tries_anew() {
    let mut script = Script::default();
    for n in 1..=30 {
        script = script.connection([open("abc", 30, 1), event(n), Step::Cut]);
    }
    let mut stream = EventStream::over(script, &since("0"));
    assert_eq!(seqs(&mut stream, 30).await, (1..=30).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn what_the_server_asks_for_is_waited() {
    let closing = Step::Say(
        r#"{"type":"stream.closing","code":1012,"reason":"restart","reconnect_after_ms":7000}"#.into(),
    );
    let busy = ClientError::Refused(Box::new(Problem::read(503, Some(Duration::from_secs(20)), b"{}")));
    let script = Script::default()
        .connection([open("abc", 1, 1), event(1), closing, close(1012)])
        .refusal(busy)
        .connection([open("abc", 2, 1), event(2)]);
    let began = Instant::now();
    let mut stream = EventStream::over(script, &since("0"));
    assert_eq!(seqs(&mut stream, 2).await, [1, 2]);
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(27) && took < Duration::from_secs(30), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_dead() {
    let script = Script::default()
        .connection([open("abc", 1, 1), event(1), Step::Hang])
        .connection([open("abc", 2, 1), event(2)]);
    let mut stream = EventStream::over(script, &since("0"));
    assert_eq!(seqs(&mut stream, 2).await, [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_trying_again_does_not_mend_ends_it() {
    let mut stream = EventStream::over(Script::default().refusal(refused(403)), &since("0"));
    let error = stream.next().await.expect("an error").expect_err("refused");
    assert_eq!(error.problem().expect("the server's").status, 403);
    let script = Script::default().connection([open("abc", 1, 1), close(4403)]);
    let mut stream = EventStream::over(script, &since("0"));
    assert!(matches!(stream.next().await, Some(Ok(Item::Open { .. }))));
    assert!(matches!(stream.next().await, Some(Err(StreamError::Closed { code: 4403, .. }))));
}

#[tokio::test(start_paused = true)]
async fn a_refused_credential_is_renewed_once() {
    let script = Script::default()
        .refusal(refused(401))
        .connection([open("abc", 1, 1), event(1)])
        .credential(tokens(None));
    let used = script.tokens();
    let mut stream = EventStream::over(script, &since("0"));
    assert_eq!(seqs(&mut stream, 1).await, [1]);
    assert_eq!(*used.lock().expect("held by nobody"), ["token-1", "token-2"]);
    let mut stream = EventStream::over(Script::default().refusal(refused(401)), &since("0"));
    assert!(matches!(stream.next().await, Some(Err(StreamError::Refused(_)))), "a fixed token has no other");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_renewed_in_band_before_it_ends() {
    let wait = Step::Wait(Duration::from_secs(250));
    let script = Script::default()
        .connection([open("abc", 1, 1), event(1), wait, event(2)])
        .credential(tokens(Some(Duration::from_secs(100))));
    let handed = script.handed();
    let mut stream = EventStream::over(script.beating(), &since("0"));
    assert_eq!(seqs(&mut stream, 2).await, [1, 2]);
    assert_eq!(*handed.lock().expect("held by nobody"), ["token-2", "token-3", "token-4"]);
}

/// `token-1`, `token-2`, …, each good for `ttl`.
fn tokens(ttl: Option<Duration>) -> Credential {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicU32::new(0));
    Credential::refreshing(move || {
        let n = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        Box::pin(async move { Ok(Token::new(format!("token-{n}"), ttl.map(|ttl| script::now() + ttl))) })
    })
}

/// Whatever a connection leaves out, repeats or cuts off, every event comes once and in order.
#[tokio::test(start_paused = true)]
async fn no_fault_loses_or_doubles_an_event() {
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or_else(rand_seed);
    eprintln!("SEED={seed}");
    for round in 0..300 {
        let seed = seed + round;
        let total = 40;
        let script = Script::random(seed, total);
        let mut stream = EventStream::over(script, &since("0"));
        let got = seqs(&mut stream, total as usize).await;
        assert_eq!(got, (1..=total).collect::<Vec<_>>(), "SEED={seed}");
    }
}

fn rand_seed() -> u64 {
    let mut bytes = [0; 4];
    tidings_core::Entropy::fill(&tidings_core::SystemEntropy, &mut bytes);
    u64::from(u32::from_le_bytes(bytes))
}
