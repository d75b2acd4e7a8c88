use tidings_core::{EventBody, EventId, JobId, JobRef, NewEvent, RawJson, Seq};
use tokio::time::timeout;

use super::*;

fn event(tenant: &str, event_type: EventType, job_type: &str, data: &str) -> Arc<Event> {
    Arc::new(Event {
        seq: Seq::new(1),
        time: Timestamp::from_secs(100),
        tenant: tenant.parse().expect("valid"),
        fact: NewEvent {
            id: EventId::from_bytes([0; 16]),
            event_type,
            job: Some(JobRef { id: JobId::from_bytes([0; 16]), job_type: job_type.parse().expect("valid") }),
            owner: None,
            subject: None,
            body: EventBody::same_for_all(RawJson::parse(data).expect("valid")),
        },
    })
}

fn queued(tenant: &str, job_type: &str) -> Arc<Event> {
    event(tenant, EventType::JOB_QUEUED, job_type, "{}")
}

fn place(desk: &Desk, tenant: &str, types: &[&str]) -> Place {
    let types = types.iter().map(|t| t.parse().expect("valid")).collect();
    desk.take_place(Tenants::One(tenant.parse().expect("valid")), types)
}

/// Whether the place is rung before anything else can happen.
async fn rung(place: &Place) -> bool {
    timeout(Duration::ZERO, place.wait(None)).await.is_ok()
}

#[tokio::test]
async fn one_job_wakes_the_one_that_has_waited_longest() {
    let desk = Desk::default();
    let (first, second) = (place(&desk, "acme", &["a"]), place(&desk, "acme", &["b", "a"]));
    assert!(!rung(&first).await && !rung(&second).await);
    desk.committed(&[queued("acme", "a")]);
    assert!(!rung(&second).await, "one job, one worker");
    assert!(rung(&first).await);
    desk.committed(&[queued("acme", "b"), queued("other", "a"), queued("acme", "c")]);
    assert!(rung(&second).await);
    assert!(!rung(&first).await);
}

#[tokio::test]
async fn a_job_that_is_committed_while_a_worker_looks_is_not_missed() {
    let desk = Desk::default();
    let looking = place(&desk, "acme", &["a"]);
    desk.committed(&[queued("acme", "a")]);
    assert!(rung(&looking).await, "it looks once more");
    assert!(!rung(&looking).await);
}

#[tokio::test]
async fn what_another_server_committed_wakes_one_of_each_group_and_not_all_the_time() {
    let desk = Desk::default();
    let (first, second) = (place(&desk, "acme", &["a"]), place(&desk, "acme", &["a"]));
    let (other_type, elsewhere) = (place(&desk, "acme", &["b"]), place(&desk, "rival", &["a"]));
    for place in [&first, &second, &other_type, &elsewhere] {
        assert!(!rung(place).await);
    }
    let (moved, now) = (["acme".parse().expect("valid")], Instant::now());
    desk.moved(&moved, now);
    assert!(rung(&first).await && rung(&other_type).await, "the types are not known");
    assert!(!rung(&second).await && !rung(&elsewhere).await);
    assert!(!rung(&first).await && !rung(&other_type).await);
    desk.moved(&moved, now + Duration::from_millis(249));
    assert!(!rung(&first).await && !rung(&second).await, "it was a moment ago");
    desk.moved(&moved, now + Duration::from_millis(250));
    assert!(rung(&first).await && !rung(&second).await);
}

#[tokio::test]
async fn a_worker_that_leaves_passes_its_turn_on() {
    let desk = Desk::default();
    let (first, second) = (place(&desk, "acme", &["a"]), place(&desk, "acme", &["a"]));
    assert!(!rung(&first).await && !rung(&second).await);
    desk.committed(&[queued("acme", "a")]);
    drop(first);
    assert!(rung(&second).await);
    drop(second);
    assert_eq!(desk.waiting(), 0);
    assert!(desk.0.groups.lock().list.is_empty());
}

#[tokio::test]
async fn a_worker_whose_look_got_no_answer_passes_its_turn_on() {
    let desk = Desk::default();
    let (first, second) = (place(&desk, "acme", &["a"]), place(&desk, "acme", &["a"]));
    assert!(!rung(&first).await && !rung(&second).await);
    desk.committed(&[queued("acme", "a")]);
    assert!(rung(&first).await, "it looks");
    drop(first);
    assert!(rung(&second).await);
    second.leave_served(false, None);
    assert_eq!(desk.waiting(), 0);
}

#[tokio::test]
async fn who_takes_all_it_may_wakes_the_next() {
    let desk = Desk::default();
    let (first, second) = (place(&desk, "acme", &["a"]), place(&desk, "acme", &["a"]));
    assert!(!rung(&second).await);
    first.leave_served(true, None);
    assert!(rung(&second).await);
}

#[tokio::test]
async fn what_is_scheduled_rings_when_it_is_due() {
    let desk = Desk::default();
    let waiting = place(&desk, "acme", &["a"]);
    assert!(!rung(&waiting).await);
    let at = Timestamp::from_secs(105);
    desk.committed(&[event("acme", EventType::JOB_SCHEDULED, "a", &format!(r#"{{"run_at":"{at}"}}"#))]);
    assert!(!rung(&waiting).await);
    assert_eq!(desk.next_due(), Some(at));
    desk.ring_due(Timestamp::from_secs(104));
    assert!(!rung(&waiting).await);
    desk.ring_due(at);
    assert!(rung(&waiting).await);
    assert_eq!(desk.next_due(), None);
    desk.committed(&[event("acme", EventType::JOB_SCHEDULED, "a", r#"{"run_at":"1970-01-01T00:01:40Z"}"#)]);
    assert!(rung(&waiting).await, "a released job is there at once");
}

#[tokio::test]
async fn an_end_makes_room_only_where_room_is_limited() {
    let desk = Desk::new(vec!["slow".parse().expect("valid")]);
    let waiting = place(&desk, "acme", &["slow", "fast"]);
    assert!(!rung(&waiting).await);
    desk.committed(&[event("acme", EventType::JOB_COMPLETED, "fast", "{}")]);
    assert!(!rung(&waiting).await);
    desk.committed(&[event("acme", EventType::JOB_COMPLETED, "slow", "{}")]);
    assert!(rung(&waiting).await);
}

#[tokio::test]
async fn who_waits_looks_again_when_limits_change() {
    let desk = Desk::default();
    let waiting = place(&desk, "acme", &["slow"]);
    assert!(!rung(&waiting).await);
    desk.limit(vec!["slow".parse().expect("valid")]);
    assert!(rung(&waiting).await);
    assert!(!rung(&waiting).await);
    desk.committed(&[event("acme", EventType::JOB_COMPLETED, "slow", "{}")]);
    assert!(rung(&waiting).await, "it is limited now");
}

#[tokio::test]
async fn a_turn_goes_to_another_interest_where_nobody_shares_its_own() {
    let desk = Desk::default();
    let (first, second) = (place(&desk, "acme", &["a", "b"]), place(&desk, "acme", &["a"]));
    let (third, elsewhere) = (place(&desk, "acme", &["b"]), place(&desk, "rival", &["a", "b"]));
    for place in [&first, &second, &third, &elsewhere] {
        assert!(!rung(place).await);
    }
    desk.committed(&[queued("acme", "a")]);
    drop(first);
    assert!(rung(&second).await, "it can take what the first was woken for");
    assert!(rung(&third).await, "which of the two is not known");
    assert!(!rung(&elsewhere).await);
}

#[tokio::test]
async fn who_took_one_of_two_jobs_leaves_the_other_to_whoever_can_take_it() {
    let desk = Desk::default();
    let (first, second) = (place(&desk, "acme", &["a", "b"]), place(&desk, "acme", &["a"]));
    assert!(!rung(&first).await && !rung(&second).await);
    desk.committed(&[queued("acme", "a")]);
    desk.committed(&[queued("acme", "b")]);
    assert!(rung(&first).await);
    first.leave_served(true, None);
    assert!(rung(&second).await);
}

/// Any order of arrivals, jobs, looks and departures, with interests that overlap: while a worker waits
/// unrung, there is no job for it.
#[tokio::test]
async fn no_job_waits_while_a_worker_does() {
    const TYPES: [&str; 2] = ["a", "b"];
    const INTERESTS: [&[usize]; 3] = [&[0], &[1], &[0, 1]];
    for seed in 0..400_u64 {
        let desk = Desk::default();
        let (mut state, mut jobs) = (seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1, [0_u32; 2]);
        let mut draw = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 8) as usize % below
        };
        let mut places: Vec<(Place, &[usize])> = Vec::new();
        for step in 0..60 {
            let what = draw(4);
            if what == 0 {
                let types = INTERESTS[draw(INTERESTS.len())];
                let names: Vec<_> = types.iter().map(|t| TYPES[*t]).collect();
                places.push((place(&desk, "acme", &names), types));
            }
            if what == 1 || what == 2 {
                for _ in 0..=draw(3) {
                    let job_type = draw(TYPES.len());
                    jobs[job_type] += 1;
                    desk.committed(&[queued("acme", TYPES[job_type])]);
                }
            }
            // Some give up in the very moment in which they were woken.
            if what >= 2 && !places.is_empty() {
                drop(places.remove(draw(places.len())));
            }
            // Everyone who is rung, or new, looks and leaves with a job where there is one.
            let mut i = 0;
            while i < places.len() {
                let (place, types) = &places[i];
                if !place.is_looking() && !rung(place).await {
                    i += 1;
                    continue;
                }
                let there: Vec<_> = types.iter().filter(|t| jobs[**t] > 0).collect();
                if !there.is_empty() {
                    jobs[*there[draw(there.len())]] -= 1;
                    let more = types.iter().any(|t| jobs[*t] > 0);
                    places.remove(i).0.leave_served(more, None);
                    i = 0;
                } else if !rung(place).await {
                    i += 1;
                }
            }
            for (_, types) in &places {
                let left: Vec<_> = types.iter().filter(|t| jobs[**t] > 0).collect();
                assert!(
                    left.is_empty(),
                    "seed {seed}, step {step}: a worker of {types:?} waits beside {left:?}"
                );
            }
        }
    }
}
