use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use tidings_client::{
    Backoff,
    worker::{Outcome, StopReason, Unobserved, Worker, WorkerConfig, WorkerError},
};
use tidings_core::{Clock as _, JobType, RawJson, SystemClock, WorkerName};
use tokio_util::sync::CancellationToken;

use crate::fake::{Answer, Fake, Request};

fn config() -> WorkerConfig {
    let types = vec![JobType::new("work").expect("valid")];
    WorkerConfig {
        wait: Duration::ZERO,
        grace: Duration::from_millis(200),
        backoff: Backoff { base: Duration::from_millis(1), max: Duration::from_millis(20), tries: None },
        ..WorkerConfig::new(WorkerName::new("w").expect("valid"), types)
    }
}

fn ok() -> Answer {
    Answer::Json(200, "{}".into())
}

fn leased(length: Duration) -> Answer {
    Answer::Json(200, lease(length))
}

/// One lease of `length`.
fn lease(length: Duration) -> String {
    let expires = SystemClock.now() + length;
    let job = r#"{"id":"02020202-0202-0202-0202-020202020202","tenant_id":"acme","type":"work","state":"running","seq":2,"created_at":"2026-11-23T07:12:09Z","payload":1}"#;
    format!(r#"{{"leases":[{{"lease":"acme~j~1","attempt":1,"expires_at":"{expires}","job":{job}}}]}}"#)
}

fn beat(more: &str) -> Answer {
    let expires = SystemClock.now() + Duration::from_millis(600);
    Answer::Json(200, format!(r#"{{"expires_at":"{expires}"{more}}}"#))
}

/// The first poll gets a job, later ones nothing; what else is asked is answered by `rest`.
async fn server(length: Duration, rest: impl Fn(&str, &Request) -> Answer + Send + Sync + 'static) -> Fake {
    let polls = AtomicU32::new(0);
    Fake::start(move |request| match request.line.as_str() {
        "POST /api/v1/leases" if polls.fetch_add(1, Ordering::SeqCst) == 0 => leased(length),
        "POST /api/v1/leases" => Answer::Json(503, r#"{"title":"no more"}"#.into()),
        line => rest(line.rsplit('/').next().unwrap_or_default(), request),
    })
    .await
}

fn asked(fake: &Fake, what: &str) -> Vec<Request> {
    fake.seen().into_iter().filter(|r| r.line.ends_with(&format!("/{what}"))).collect()
}

/// Until the server was asked for that.
async fn until_asked(fake: &Fake, what: &str) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while asked(fake, what).is_empty() {
        assert!(tokio::time::Instant::now() < deadline, "nobody asked for {what}: {:?}", fake.lines());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

type Job = Arc<tidings_client::LeasedJob>;

/// A handler that runs until it is told to stop, and says why it was.
fn until_stopped(
    told: tokio::sync::mpsc::UnboundedSender<StopReason>,
) -> impl tidings_client::worker::Handler {
    move |_: Job,
          context: tidings_client::worker::JobContext|
          -> futures_util::future::BoxFuture<'static, Outcome> {
        let told = told.clone();
        Box::pin(async move {
            let reason = context.stopped().await;
            told.send(reason).expect("the test listens");
            Outcome::stopped(reason)
        })
    }
}

#[tokio::test]
async fn a_lease_is_kept_and_the_report_repeated_until_it_is_answered() {
    let completes = AtomicU32::new(0);
    let fake = server(Duration::from_millis(600), move |what, _| match what {
        "heartbeat" => beat(""),
        "complete" if completes.fetch_add(1, Ordering::SeqCst) < 2 => Answer::Cut,
        _ => ok(),
    })
    .await;
    let handler = |_: Job,
                   context: tidings_client::worker::JobContext|
     -> futures_util::future::BoxFuture<'static, Outcome> {
        Box::pin(async move {
            for percent in 0..=100 {
                context.progress(percent, None);
            }
            tokio::time::sleep(Duration::from_millis(900)).await;
            Outcome::Complete(Some(RawJson::parse("[1]").expect("valid")))
        })
    };
    let shutdown = CancellationToken::new();
    let work = tokio::spawn(Worker::new(fake.client(), config(), handler, Unobserved).run(shutdown.clone()));
    until_asked(&fake, "complete").await;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
    while asked(&fake, "complete").len() < 3 {
        assert!(tokio::time::Instant::now() < deadline, "{:?}", fake.lines());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    shutdown.cancel();
    work.await.expect("no panic").expect("no error");
    assert!(asked(&fake, "heartbeat").len() >= 3, "{:?}", fake.lines());
    let progress = asked(&fake, "progress");
    assert!(progress.len() <= 3, "a hundred reports in one go are few requests: {}", progress.len());
    assert_eq!(progress.last().expect("some").body, r#"{"percent":100}"#);
    assert!(asked(&fake, "complete").iter().all(|r| r.body == r#"{"result":[1]}"#));
}

#[tokio::test]
async fn a_lost_lease_stops_the_handler_and_nothing_is_reported() {
    let fake = server(Duration::from_millis(600), |what, _| match what {
        "heartbeat" => {
            Answer::Json(409, r#"{"type":"urn:tidings:problem:lease-lost","title":"lost"}"#.into())
        }
        _ => ok(),
    })
    .await;
    let (told, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    let shutdown = CancellationToken::new();
    let work = tokio::spawn(
        Worker::new(fake.client(), config(), until_stopped(told), Unobserved).run(shutdown.clone()),
    );
    assert_eq!(reasons.recv().await, Some(StopReason::LeaseLost));
    shutdown.cancel();
    work.await.expect("no panic").expect("no error");
    for report in ["complete", "fail", "release"] {
        assert!(asked(&fake, report).is_empty(), "{report}");
    }
}

#[tokio::test]
async fn a_server_that_is_gone_for_a_whole_lease_means_that_it_is_lost() {
    let fake = server(Duration::from_millis(400), |_, _| Answer::Cut).await;
    let (told, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    let shutdown = CancellationToken::new();
    let work = tokio::spawn(
        Worker::new(fake.client(), config(), until_stopped(told), Unobserved).run(shutdown.clone()),
    );
    assert_eq!(reasons.recv().await, Some(StopReason::LeaseLost));
    shutdown.cancel();
    work.await.expect("no panic").expect("no error");
}

#[tokio::test]
async fn a_cancelled_job_is_told_and_reported_as_such() {
    let fake = server(Duration::from_millis(600), |what, _| match what {
        "heartbeat" => beat(r#","cancel":true"#),
        _ => ok(),
    })
    .await;
    let (told, mut reasons) = tokio::sync::mpsc::unbounded_channel();
    let shutdown = CancellationToken::new();
    let work = tokio::spawn(
        Worker::new(fake.client(), config(), until_stopped(told), Unobserved).run(shutdown.clone()),
    );
    assert_eq!(reasons.recv().await, Some(StopReason::Cancelled));
    until_asked(&fake, "fail").await;
    shutdown.cancel();
    work.await.expect("no panic").expect("no error");
    assert!(asked(&fake, "fail")[0].body.contains(r#""category":"cancelled","retry":false"#));
}

#[tokio::test]
async fn stopping_gives_jobs_back_even_where_the_handler_does_not_stop() {
    let fake = server(Duration::from_secs(30), |_, _| ok()).await;
    let stubborn =
        |_: Job, _| -> futures_util::future::BoxFuture<'static, Outcome> { Box::pin(std::future::pending()) };
    let shutdown = CancellationToken::new();
    let work = tokio::spawn(Worker::new(fake.client(), config(), stubborn, Unobserved).run(shutdown.clone()));
    until_asked(&fake, "leases").await;
    shutdown.cancel();
    work.await.expect("no panic").expect("no error");
    assert_eq!(asked(&fake, "release").len(), 1, "{:?}", fake.lines());
}

#[tokio::test]
async fn a_handler_that_panics_fails_its_job_alone() {
    let fake = server(Duration::from_secs(30), |_, _| ok()).await;
    let panics = |_: Job, _| -> futures_util::future::BoxFuture<'static, Outcome> {
        Box::pin(async { panic!("oh no") })
    };
    let shutdown = CancellationToken::new();
    let work = tokio::spawn(Worker::new(fake.client(), config(), panics, Unobserved).run(shutdown.clone()));
    until_asked(&fake, "fail").await;
    shutdown.cancel();
    work.await.expect("no panic").expect("no error");
    assert!(asked(&fake, "fail")[0].body.contains("oh no"));
}

#[tokio::test]
async fn a_result_that_is_not_taken_fails_the_job() {
    let fake = server(Duration::from_secs(30), |what, _| match what {
        "complete" => Answer::Json(413, r#"{"title":"too large"}"#.into()),
        _ => ok(),
    })
    .await;
    let completes = |_: Job, _| -> futures_util::future::BoxFuture<'static, Outcome> {
        Box::pin(async { Outcome::Complete(None) })
    };
    let shutdown = CancellationToken::new();
    let work =
        tokio::spawn(Worker::new(fake.client(), config(), completes, Unobserved).run(shutdown.clone()));
    until_asked(&fake, "fail").await;
    shutdown.cancel();
    work.await.expect("no panic").expect("no error");
    assert!(asked(&fake, "fail")[0].body.contains("too large"));
}

#[tokio::test]
async fn a_worker_that_may_not_work_ends() {
    let fake = Fake::start(|_| Answer::Json(403, r#"{"title":"no"}"#.into())).await;
    let idle =
        |_: Job, _| -> futures_util::future::BoxFuture<'static, Outcome> { Box::pin(std::future::pending()) };
    let ended = Worker::new(fake.client(), config(), idle, Unobserved).run(CancellationToken::new()).await;
    assert!(matches!(ended, Err(WorkerError::Refused(_))));
}

fn never_run() -> impl tidings_client::worker::Handler {
    |_: Job, _: tidings_client::worker::JobContext| -> futures_util::future::BoxFuture<'static, Outcome> {
        panic!("a job came after the worker was told to stop")
    }
}

#[tokio::test]
async fn a_lease_that_comes_as_the_worker_stops_goes_back() {
    let told = Arc::new(tokio::sync::Notify::new());
    let held = Answer::Held(told.clone(), lease(Duration::from_secs(30)));
    let fake = Fake::start(move |request| match request.line.as_str() {
        "POST /api/v1/leases" => held.clone(),
        "POST /api/v1/leases/stop" => {
            assert_eq!(request.body, r#"{"worker":"w"}"#);
            told.notify_one();
            Answer::Json(200, r#"{"polls":1}"#.into())
        }
        _ => ok(),
    })
    .await;
    let shutdown = CancellationToken::new();
    let work =
        tokio::spawn(Worker::new(fake.client(), config(), never_run(), Unobserved).run(shutdown.clone()));
    until_asked(&fake, "leases").await;
    shutdown.cancel();
    work.await.expect("no panic").expect("stops in order");
    assert_eq!(asked(&fake, "release").len(), 1, "{:?}", fake.lines());
}

/// Behind a load balancer the poll waits at one node, and the first words come to others.
#[tokio::test]
async fn a_worker_that_stops_asks_over_new_connections_until_its_poll_is_answered() {
    let (told, words) = (Arc::new(tokio::sync::Notify::new()), AtomicU32::new(0));
    let held = Answer::Held(told.clone(), lease(Duration::from_secs(30)));
    let fake = Fake::start(move |request| match request.line.as_str() {
        "POST /api/v1/leases" => held.clone(),
        "POST /api/v1/leases/stop" if words.fetch_add(1, Ordering::SeqCst) < 2 => {
            Answer::Json(200, r#"{"polls":0}"#.into())
        }
        "POST /api/v1/leases/stop" => {
            told.notify_one();
            Answer::Json(200, r#"{"polls":1}"#.into())
        }
        _ => ok(),
    })
    .await;
    let shutdown = CancellationToken::new();
    let work =
        tokio::spawn(Worker::new(fake.client(), config(), never_run(), Unobserved).run(shutdown.clone()));
    until_asked(&fake, "leases").await;
    shutdown.cancel();
    work.await.expect("no panic").expect("stops in order");
    let stops = asked(&fake, "stop");
    assert_eq!((stops.len(), asked(&fake, "release").len()), (3, 1), "{:?}", fake.lines());
    assert!(stops.iter().all(|stop| stop.header("connection") == Some("close")));
}

#[tokio::test]
async fn a_server_that_cannot_be_told_to_answer_is_not_waited_for() {
    let held = Answer::Held(Arc::default(), lease(Duration::from_secs(30)));
    let fake = Fake::start(move |request| match request.line.as_str() {
        "POST /api/v1/leases" => held.clone(),
        _ => Answer::Json(404, r#"{"title":"Not found"}"#.into()),
    })
    .await;
    let shutdown = CancellationToken::new();
    let work =
        tokio::spawn(Worker::new(fake.client(), config(), never_run(), Unobserved).run(shutdown.clone()));
    until_asked(&fake, "leases").await;
    shutdown.cancel();
    work.await.expect("no panic").expect("stops in order");
    assert_eq!(fake.lines(), ["POST /api/v1/leases", "POST /api/v1/leases/stop"]);
}
