//! Nodes start at once, and on what others made.

use serde_json::json;
use tidings_tests::{cluster::Cluster, history::Log};

#[test]
fn ten_nodes_at_once_on_an_empty_database_migrate_it_once() {
    let _alone = crate::alone();
    // That exactly one administrator key was made is asserted when they have started.
    let cluster = Cluster::options().nodes(10).start();
    let migrations =
        cluster.sql("SELECT count(*), count(DISTINCT version), max(version) FROM tidings.migrations");
    let migrations: Vec<_> = migrations.split('|').collect();
    assert!(migrations.iter().all(|count| *count == migrations[0] && *count != "0"), "{migrations:?}");
    let nodes = cluster.tenant("acme");
    for (n, node) in nodes.iter().enumerate() {
        let event = json!({ "type": "note.made", "data": { "node": n } });
        let made = node.post("/api/v1/events", &event).expect("answers").expect(201).json();
        assert_eq!(made["seq"], n + 1, "one number, whichever node gives it");
    }
    let logs: Vec<_> = nodes.iter().map(|node| Log::read(node, "acme", "")).collect();
    for log in &logs {
        assert_eq!((log.events.len(), &log.epoch), (10, &logs[0].epoch));
        assert_eq!(log.events, logs[0].events, "all nodes read the same bytes");
    }
}
