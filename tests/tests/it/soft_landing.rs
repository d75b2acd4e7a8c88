//! A server stops under thousands of live clients, and has all of them back without loss and without a stampede.

use std::time::{Duration, Instant};

use serde_json::json;
use tidings_tests::{
    Api, Server, ServerOptions, StreamRequest,
    cluster::Cluster,
    crowd::{Crowd, Record},
    history::Log,
    server::Scrape,
    stream::Live,
    wait::{LONG, pause},
};

use crate::flood::{address, take_descriptors};

/// In which all must be back, from the signal on.
const BACK_MAX: Duration = Duration::from_mins(1);
const BETWEEN_EVENTS: Duration = Duration::from_millis(200);

#[derive(Debug, Clone, Copy)]
struct Size {
    /// Of each transport.
    clients: usize,
    drain: &'static str,
}

/// In a soak, a thousand and the shipped window.
fn size(short: usize) -> Size {
    if crate::soak().is_some() {
        Size { clients: 1_000, drain: "30s" }
    } else {
        Size { clients: short, drain: "3s" }
    }
}

fn settings(size: Size) -> [(&'static str, String); 4] {
    [
        ("limits.connections", (2 * size.clients).to_string()),
        ("limits.connections_per_ip", "10".to_owned()),
        // All are one user, who is counted in the store. What one node gives back, another hears of a moment later.
        ("limits.connections_per_user", (4 * size.clients).to_string()),
        ("drain.timeout", size.drain.to_owned()),
    ]
}

/// As many on each transport.
fn gather(nodes: &[Api], size: Size) -> Crowd {
    take_descriptors(8_192);
    let request = |n: usize| {
        let live = if n.is_multiple_of(2) { Live::Ws } else { Live::Sse };
        StreamRequest::new(live).since(0).from(address(n / 2))
    };
    Crowd::gather(nodes, (0..2 * size.clients).map(request))
}

/// `None`: it does not answer, or stops.
fn publish(api: &Api) -> Option<u64> {
    let reply = api.post("/api/v1/events", &json!({ "type": "a.b", "data": 1 })).ok()?;
    match reply.status {
        201 => reply.json()["seq"].as_u64(),
        503 => None,
        _ => panic!("{} {}", reply.status, reply.text()),
    }
}

/// Each was told to go and when to come back, in its transport's own words.
fn assert_told(records: &[Record]) {
    for (n, record) in records.iter().enumerate() {
        let [parting] = &*record.partings else { panic!("{n} parted {:?}", record.partings) };
        let told = (parting.code, parting.close, parting.retry);
        assert!(parting.hint.is_some(), "{n}: no hint");
        let own = if n.is_multiple_of(2) { (Some(1012), None) } else { (None, parting.hint) };
        assert_eq!(told, (Some(1012), own.0, own.1), "{n}");
    }
}

/// In no second, wherever it begins, are there more than twice as many attempts as in the mean second of those in which there are any. Those
/// of who was refused, or found nobody, count too.
fn assert_flat(records: &[Record], sent_away: Instant) {
    const MOST: f64 = 2.0;
    let attempts = records.iter().flat_map(|record| &record.attempts);
    let mut moments: Vec<_> = attempts.filter_map(|a| a.at.checked_duration_since(sent_away)).collect();
    moments.sort_unstable();
    let (first, last) = (moments[0], moments[moments.len() - 1]);
    let window = last.as_secs_f64() - first.as_secs_f64();
    let mean = moments.len() as f64 / window;
    let ends = moments.iter().map(|from| moments.partition_point(|at| *at < *from + Duration::from_secs(1)));
    let busiest = ends.enumerate().map(|(begin, end)| end - begin).max().expect("some");
    println!(
        "{} attempts from {first:.1?} to {last:.1?} after the signal: {mean:.0} a second, {busiest} in the busiest",
        moments.len()
    );
    assert!(busiest as f64 <= MOST * mean, "{busiest} in a second, {mean:.0} in the mean one");
    assert!(last <= BACK_MAX, "the last came back after {last:?}");
}

/// What a server says that has done nothing before `since` and has taken all clients since then: each was looked at and let in once, and its store had no
/// more to do than it has when they are all there and nobody does anything.
fn assert_no_spike(server: &Server, size: Size, published: usize, since: Instant) {
    const QUIET: Duration = Duration::from_secs(2);
    let all = server.scrape();
    let took = since.elapsed();
    let count = |name: &str, labels: &str| all.get(name, labels).unwrap_or_default() as usize;
    for transport in ["websocket", "sse"] {
        let name = format!("{transport}_connections_total");
        assert_eq!((count(&name, ""), count(&name, "success")), (size.clients, size.clients), "{name}");
    }
    let looks = 2 * size.clients + published;
    let counted = ["", "success"].map(|result| count("auth_results_total", result));
    assert_eq!(counted, [looks, looks], "credentials looked at");
    assert_eq!(count("events_published_total", ""), published);
    assert_eq!(count("log_commit_batch_events_sum", ""), published, "events of any kind");
    let quiet = Instant::now();
    pause(QUIET);
    let commands = |scrape: &Scrape| scrape.get("log_commit_batch_commands_sum", "").unwrap_or_default();
    let at_rest = (commands(&server.scrape()) - commands(&all)) / quiet.elapsed().as_secs_f64();
    let busy = (commands(&all) - published as f64) / took.as_secs_f64();
    println!("{busy:.1} commands a second beside what was published, {at_rest:.1} at rest");
    assert!(busy <= at_rest * 1.5 + 5.0, "{busy} commands a second, {at_rest} at rest");
}

/// It stops and starts again under its clients, on its port and its store.
fn restart_under_clients(server: &mut Server, size: Size) {
    let api = server.tenant("acme");
    let crowd = gather(std::slice::from_ref(&api), size);
    let mut acknowledged = Vec::new();
    acknowledged.extend((0..20).filter_map(|_| publish(&api)));
    crowd.await_event(20, LONG);
    let signal = Instant::now();
    server.terminate();
    // It takes requests until it has ended.
    while let Some(seq) = publish(&api) {
        acknowledged.push(seq);
        pause(BETWEEN_EVENTS);
    }
    assert!(server.wait_exit(LONG).success());
    println!("ended after {:.1?}", signal.elapsed());
    assert!(acknowledged.len() > 20, "it took requests while it drained");
    let resumed = Instant::now();
    server.resume();
    println!("ready after {:.1?}", signal.elapsed());
    let mut since = 0;
    while !crowd.has_moved() {
        assert!(signal.elapsed() < BACK_MAX, "not all are back");
        acknowledged.push(publish(&api).expect("it runs again"));
        since += 1;
        pause(BETWEEN_EVENTS);
    }
    let back = signal.elapsed();
    let last = publish(&api).expect("it runs again");
    crowd.await_event(last, LONG);
    assert_no_spike(server, size, since + 1, resumed);
    let records = crowd.records();
    assert_told(&records);
    assert_flat(&records, signal);
    // Nobody was told to come while it still drained: that would have been a refusal.
    let statuses = records.iter().flat_map(|record| &record.attempts).filter_map(|attempt| attempt.status);
    let refusals: Vec<_> = statuses.filter(|status| !matches!(status, 101 | 200)).collect();
    assert_eq!(refusals, [] as [u16; 0], "told to come too early");
    let head = Log::read(&api, "acme", "").events.len() as u64;
    assert_eq!(head, last);
    assert!(acknowledged.iter().all(|seq| *seq <= head), "what was acknowledged is there");
    println!("all back after {back:.1?}");
}

#[test]
fn a_restart_sends_everybody_away_and_has_them_back_in_a_flat_line() {
    let _alone = crate::alone();
    let size = size(300);
    let options = settings(size)
        .into_iter()
        .fold(ServerOptions::new(), |options, (key, value)| options.set(key, value));
    restart_under_clients(&mut options.start(), size);
}

#[test]
fn so_does_a_restart_of_the_only_node_on_postgresql() {
    let _alone = crate::alone();
    let size = size(150);
    let mut cluster = cluster(1, size);
    restart_under_clients(&mut cluster.nodes[0], size);
}

fn cluster(nodes: usize, size: Size) -> Cluster {
    let options = Cluster::options().nodes(nodes).without_redis();
    settings(size).into_iter().fold(options, |options, (key, value)| options.set(key, value)).start()
}

#[test]
fn where_another_node_runs_they_go_there_while_the_first_still_drains() {
    let _alone = crate::alone();
    let (size, started) = (size(150), Instant::now());
    let mut cluster = cluster(2, size);
    let nodes = cluster.tenant("acme");
    let crowd = gather(&nodes, size);
    let first = publish(&nodes[0]).expect("it runs");
    crowd.await_event(first, LONG);
    let signal = Instant::now();
    cluster.nodes[0].terminate();
    let mut published = 0;
    while !crowd.has_moved() {
        assert!(signal.elapsed() < BACK_MAX, "not all have moved");
        let _ = publish(&nodes[1]).expect("it runs");
        published += 1;
        pause(BETWEEN_EVENTS);
    }
    assert!(cluster.nodes[0].wait_exit(LONG).success());
    let last = publish(&nodes[1]).expect("it runs");
    crowd.await_event(last, LONG);
    assert_no_spike(&cluster.nodes[1], size, published + 1, started);
    let records = crowd.records();
    assert_told(&records);
    assert_flat(&records, signal);
    let soonest = records.iter().filter_map(|record| record.partings[0].hint).min();
    assert!(soonest.is_some_and(|ms| ms < 1_000), "the first to go is back within a second: {soonest:?}");
    cluster.nodes[0].resume();
}
