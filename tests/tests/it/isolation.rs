//! No tenant learns anything of another, and `:own` sees only its own user's events.

use std::{io, time::Duration};

use serde_json::{Value, json};
use tidings_tests::{
    Api, Follower, Message, Reply, Server, StreamRequest, Transport,
    follower::{Page, Step},
    history::Log,
    stream::Live,
    wait::LONG,
};

const NEVER: &str = "019ab0c4-0000-7000-8000-000000000000";

/// What a tenant has that another might ask for.
struct Belongings {
    waiting: String,
    running: String,
    finished: String,
    lease: String,
    key: String,
}

fn belongings(api: &Api) -> Belongings {
    let enqueue = |name: &str| {
        let job = json!({ "type": name, "payload": { "secret": "bens-payload" }, "owner": "ben", "subject": "ben/1" });
        let job = api.post("/api/v1/jobs", &job).expect("answers").expect(201).json();
        job["id"].as_str().expect("an id").to_owned()
    };
    let lease = |name: &str| {
        let body = json!({ "worker": "w", "types": [name], "max": 1, "wait_s": 0 });
        let leases = api.post("/api/v1/leases", &body).expect("answers").expect(200).json();
        leases["leases"][0]["lease"].as_str().expect("a lease").to_owned()
    };
    let (waiting, running, finished) = (enqueue("waits"), enqueue("runs"), enqueue("ends"));
    let done = lease("ends");
    let _ = api.post(&format!("/api/v1/leases/{done}/complete"), &json!({})).expect("answers").expect(200);
    let key = json!({ "name": "bens", "scopes": ["events:read"] });
    let key = api.post("/api/v1/keys", &key).expect("answers").expect(201).json();
    let key = key["id"].as_str().expect("an id").to_owned();
    Belongings { waiting, running, finished, lease: lease("runs"), key }
}

/// Every operation on an id: method, path with `{}` for the id, and a body.
fn job_operations() -> Vec<(&'static str, &'static str, Option<Value>)> {
    vec![
        ("GET", "/api/v1/jobs/{}", None),
        ("GET", "/api/v1/jobs/{}/events", None),
        ("GET", "/api/v1/jobs/{}/events?since=0&limit=10", None),
        ("POST", "/api/v1/jobs/{}/cancel", None),
        ("POST", "/api/v1/jobs/{}/retry", None),
    ]
}

fn lease_operations() -> Vec<(&'static str, &'static str, Option<Value>)> {
    vec![
        ("POST", "/api/v1/leases/{}/heartbeat", Some(json!({}))),
        ("POST", "/api/v1/leases/{}/progress", Some(json!({ "percent": 1 }))),
        ("POST", "/api/v1/leases/{}/complete", Some(json!({ "result": 1 }))),
        ("POST", "/api/v1/leases/{}/fail", Some(json!({ "message": "no" }))),
        ("POST", "/api/v1/leases/{}/release", Some(json!({}))),
    ]
}

fn key_operations() -> Vec<(&'static str, &'static str, Option<Value>)> {
    vec![("GET", "/api/v1/keys/{}", None), ("DELETE", "/api/v1/keys/{}", None)]
}

fn ask(api: &Api, method: &str, path: &str, body: Option<&Value>) -> Reply {
    let mut session = api.session().expect("connects");
    match (method, body) {
        ("POST", Some(body)) => session.post(path, body),
        (method, _) => session.send(method, path, &[("Accept", "application/json")], None),
    }
    .expect("answers")
}

/// An answer as bytes, less what differs between any two requests: the id asked for, the request's id, the date.
fn likeness(reply: &Reply, id: &str) -> String {
    let request_id = reply.header("x-request-id").unwrap_or("none").to_owned();
    let mut headers: Vec<_> = reply
        .headers
        .iter()
        .filter(|(name, _)| name != "date" && name != "x-request-id")
        .map(|(name, value)| format!("{name}: {value}"))
        .collect();
    headers.sort();
    format!("{} {headers:?} {}", reply.status, reply.text()).replace(id, "ID").replace(&request_id, "REQUEST")
}

/// Asks for `theirs` and for what never was, and wants 404 and the same bytes.
fn assert_alike(api: &Api, operations: &[(&str, &str, Option<Value>)], theirs: &str, never: &str) {
    for (method, path, body) in operations {
        let answer = |id: &str| ask(api, method, &path.replace("{}", id), body.as_ref());
        let (to_theirs, to_never) = (answer(theirs), answer(never));
        let what = format!("{method} {path}");
        assert_eq!(to_theirs.status, 404, "{what}: {}", to_theirs.text());
        let _ = to_theirs.expect_problem(404);
        assert_eq!(likeness(&to_theirs, theirs), likeness(&to_never, never), "{what}");
    }
}

#[test]
fn another_tenants_ids_are_as_if_they_never_were() {
    let server = Server::plain();
    let (ana, ben) = (server.tenant("ana-co"), server.tenant("ben-co"));
    let bens = belongings(&ben);
    let before = Log::read(&ben, "ben-co", "verbosity=detail");
    for job in [&bens.waiting, &bens.running, &bens.finished] {
        assert_alike(&ana, &job_operations(), job, NEVER);
        // The lease that a stranger would make up from a job's id, in its own tenant's name.
        assert_alike(&ana, &lease_operations(), &format!("ana-co~{job}~1"), &format!("ana-co~{NEVER}~1"));
    }
    assert_alike(&ana, &lease_operations(), &bens.lease, &bens.lease.replace(&bens.running, NEVER));
    assert_alike(&ana, &lease_operations(), &bens.lease, &format!("ghost-co~{NEVER}~1"));
    assert_alike(&ana, &key_operations(), &bens.key, NEVER);
    let after = Log::read(&ben, "ben-co", "verbosity=detail");
    assert_eq!(before.events, after.events, "nothing of it moved anything");
    // The same operations of the owner work: the refusals above are no locked door for everyone.
    for (method, path, body) in lease_operations().into_iter().take(3) {
        let reply = ask(&ben, method, &path.replace("{}", &bens.lease), body.as_ref());
        assert!(matches!(reply.status, 200 | 202), "{path}: {} {}", reply.status, reply.text());
    }
    let _ = ask(&ben, "GET", &format!("/api/v1/jobs/{}", bens.waiting), None).expect(200);
    let _ = ask(&ben, "POST", &format!("/api/v1/jobs/{}/cancel", bens.waiting), None).expect(200);
    let _ = ask(&ben, "POST", &format!("/api/v1/jobs/{}/retry", bens.finished), None).expect(201);
    assert!(ask(&ben, "DELETE", &format!("/api/v1/keys/{}", bens.key), None).status < 300);
}

#[test]
fn lists_streams_and_numbers_hold_nothing_of_another_tenant() {
    let server = Server::plain();
    let (ana, ben) = (server.tenant("ana-co"), server.tenant("ben-co"));
    let mut live = [Live::Ws, Live::Sse].map(|live| StreamRequest::new(live).since(0).open(&ana));
    let bens = belongings(&ben);
    for path in [
        "/api/v1/jobs",
        "/api/v1/jobs?owner=ben",
        "/api/v1/jobs?subject=ben/1",
        "/api/v1/queues",
        "/api/v1/keys",
    ] {
        let reply = ask(&ana, "GET", path, None).expect(200);
        assert!(!reply.text().contains("ben"), "{path}: {}", reply.text());
        let lists = reply.json();
        let list = lists.as_object().expect("an object").values().find_map(Value::as_array).expect("a list");
        assert!(list.is_empty(), "{path}: {lists}");
    }
    // Filters that name the other's things are filters that match nothing.
    for filter in [
        format!("job_id={}", bens.waiting),
        "owner=ben".into(),
        "subject=ben/*".into(),
        "job_type=waits".into(),
    ] {
        let reply = ask(&ana, "GET", &format!("/api/v1/events?since=0&{filter}"), None).expect(200);
        let page = Page::parse(&reply.body).expect("a page");
        assert_eq!((page.events.len(), page.head, page.oldest), (0, 0, 1), "{filter}");
    }
    // The first event of this tenant has the number 1, whatever others did, and the streams hold it alone.
    let own =
        ana.post("/api/v1/events", &json!({ "type": "own.first", "data": 1 })).expect("answers").expect(201);
    assert_eq!(own.json()["seq"], 1);
    for stream in &mut live {
        let (seq, raw) = stream.event();
        assert!(seq == 1 && raw.contains("own.first"), "{raw}");
    }
    // A worker of this tenant that takes any type gets none of the other's jobs.
    let body = json!({ "worker": "w", "types": ["waits", "runs", "ends"], "max": 10, "wait_s": 0 });
    let leases = ana.post("/api/v1/leases", &body).expect("answers").expect(200).json();
    assert_eq!(leases["leases"], json!([]));
}

#[test]
fn keys_of_idempotency_and_uniqueness_are_per_tenant() {
    let server = Server::plain();
    let (ana, ben) = (server.tenant("ana-co"), server.tenant("ben-co"));
    let job = json!({ "type": "export", "unique_key": "nightly" });
    let ids: Vec<_> = [&ana, &ben]
        .map(|api| {
            let mut session = api.session().expect("connects");
            let reply =
                session.post_with("/api/v1/jobs", &[("Idempotency-Key", "same")], &job).expect("answers");
            assert_eq!(reply.status, 201, "{}", reply.text());
            reply.json()["id"].as_str().expect("an id").to_owned()
        })
        .into();
    assert_ne!(ids[0], ids[1]);
    let again = ana.post("/api/v1/jobs", &job).expect("answers").expect(200);
    assert_eq!(again.json()["id"], ids[0].as_str());
}

#[test]
fn a_tenants_credential_reaches_no_other_and_nothing_of_the_operators() {
    let server = Server::plain();
    let ana = server.tenant("ana-co");
    let _ = server.tenant("ben-co");
    let posing = Api { tenant: Some("ben-co".into()), ..ana.clone() };
    let unknown = Api { tenant: Some("never-co".into()), ..ana.clone() };
    for api in [posing, unknown] {
        let _ = ask(&api, "GET", "/api/v1/events?since=0", None).expect_problem(403);
    }
    for path in ["/api/v1/tenants", "/api/v1/tenants/ben-co", "/api/v1/tenants/never-co"] {
        let _ = ask(&ana, "GET", path, None).expect_problem(403);
    }
    let _ = ana.post("/api/v1/tenants", &json!({ "id": "new-co" })).expect("answers").expect_problem(403);
    let _ = ask(&ana, "DELETE", "/api/v1/tenants/ben-co", None).expect_problem(403);
}

#[test]
fn own_sees_only_its_own_users_events_on_every_transport() {
    let server = Server::plain();
    let backend = server.tenant("acme");
    let own = server.user("acme", "ana", "jobs:read:own events:read");
    let mut streams = [Live::Ws, Live::Sse].map(|live| StreamRequest::new(live).since(0).open(&own));
    let mut bens = Vec::new();
    for owner in [Some("ana"), Some("ben"), None] {
        let (mut job, mut event) = (json!({ "type": "embed" }), json!({ "type": "note.made", "data": {} }));
        if let Some(owner) = owner {
            job["owner"] = json!(owner);
            event["owner"] = json!(owner);
        }

        let job = backend.post("/api/v1/jobs", &job).expect("answers").expect(201).json();
        let _ = backend.post("/api/v1/events", &event).expect("answers").expect(201);
        if owner != Some("ana") {
            bens.push(job["id"].as_str().expect("an id").to_owned());
        }
    }
    let log = Log::read(&backend, "acme", "");
    let anas = |e: &Value| e["owner"] == "ana";
    assert_eq!(log.reads().filter(|e| anas(&e.value)).count(), 2);
    for transport in [Transport::Ws, Transport::Sse, Transport::Replay { limit: 2 }] {
        for query in ["", "owner=me", "types=job.*,note.*"] {
            let mut follower = Follower::from_start(own.clone(), transport, query);
            while follower.events.len() < 2 {
                assert_ne!(follower.step(LONG).expect("documented"), Step::Disconnected);
            }
            let more = follower.step(Duration::from_millis(100)).expect("documented");
            assert!(!matches!(more, Step::Events(n) if n > 0), "{transport:?} {query}");
            log.assert_delivered(&format!("{transport:?} {query}"), &follower.events, anas);
        }
    }
    for stream in &mut streams {
        let got = [stream.event(), stream.event()];
        log.assert_delivered("live", &got, anas);
        assert_eq!(
            stream.next(Duration::from_millis(100)).map_err(|e| e.kind()),
            Err(io::ErrorKind::TimedOut)
        );
    }
    for job in &bens {
        assert_alike(&own, &job_operations()[..3], job, NEVER);
    }
    let jobs = ask(&own, "GET", "/api/v1/jobs", None).expect(200).json();
    assert_eq!(jobs["jobs"].as_array().map(Vec::len), Some(1), "{jobs}");
    let _ = ask(&own, "GET", "/api/v1/events?since=0&owner=ben", None).expect_problem(403);
    let refused = StreamRequest::new(Live::Ws).query("owner=ben").try_open(&own).expect("answers");
    assert_eq!(refused.err().map(|r| r.status), Some(403));
}

#[test]
fn subjects_narrow_a_credential_on_every_transport() {
    let server = Server::plain();
    let backend = server.tenant("acme");
    let key = json!({ "name": "notes", "scopes": ["events:read", "events:publish"], "subjects": ["note/*"] });
    let key = backend.post("/api/v1/keys", &key).expect("answers").expect(201).json();
    let narrow = server.anonymous().with_token(key["key"].as_str().expect("the key's text"));
    let mut streams = [Live::Ws, Live::Sse].map(|live| StreamRequest::new(live).since(0).open(&narrow));
    for subject in ["page/1", "note/1", "note/2"] {
        let event = json!({ "type": "x.made", "subject": subject, "data": subject });
        let _ = backend.post("/api/v1/events", &event).expect("answers").expect(201);
    }
    for stream in &mut streams {
        assert_eq!([stream.event().0, stream.event().0], [2, 3]);
    }
    let about = |subject: &str| json!({ "type": "x.made", "subject": subject, "data": 1 });
    let _ = narrow.post("/api/v1/events", &about("note/9")).expect("answers").expect(201);
    let _ = narrow.post("/api/v1/events", &about("page/9")).expect("answers").expect_problem(403);
    for stream in &mut streams {
        assert!(matches!(stream.next(LONG).expect("a message"), Message::Event { seq: 4, .. }));
    }
}
