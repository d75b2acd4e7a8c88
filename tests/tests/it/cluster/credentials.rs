//! What one node issued counts on the others, and what one took back counts nowhere.

use std::{sync::Barrier, thread, time::Duration};

use serde_json::json;
use tidings_tests::{Api, StreamRequest, cluster::Cluster, stream::Live, wait, ws::WsClient};

/// What revoking may take.
const REVOKED_WITHIN: Duration = Duration::from_secs(5);

#[test]
fn a_key_of_one_node_counts_on_all_until_any_revokes_it() {
    let cluster = Cluster::start();
    let nodes = cluster.tenant("acme");
    let request = json!({ "name": "shared", "scopes": ["events:read", "events:publish"] });
    let made = nodes[0].post("/api/v1/keys", &request).expect("answers").expect(201).json();
    let key = made["key"].as_str().expect("a key");
    let with_key: Vec<Api> = nodes.iter().map(|node| node.with_token(key)).collect();
    for node in &with_key {
        let _ = node.get("/api/v1/events").expect("answers").expect(200);
    }
    let mut streams: Vec<_> = with_key.iter().map(|node| StreamRequest::new(Live::Ws).open(node)).collect();
    let id = made["id"].as_str().expect("an id");
    let revoked = nodes[2].delete(&format!("/api/v1/keys/{id}")).expect("answers");
    assert!(matches!(revoked.status, 200 | 204), "{} {}", revoked.status, revoked.text());
    for stream in &mut streams {
        assert_eq!(stream.end(REVOKED_WITHIN).1, Some(4401));
    }
    for node in &with_key {
        wait::until_true("the key to count no more", REVOKED_WITHIN, || {
            node.get("/api/v1/events").expect("answers").status == 401
        });
    }
}

#[test]
fn a_token_of_one_node_counts_on_all() {
    let cluster = Cluster::start();
    let nodes = cluster.tenant("acme");
    let signed = cluster.nodes[2].token("acme", "ana", "events:read jobs:read:own", "1h");
    for node in &nodes {
        let _ = node.with_token(&signed).get("/api/v1/events").expect("answers").expect(200);
    }
}

#[test]
fn a_ticket_is_redeemed_once_among_all_nodes() {
    let cluster = Cluster::start();
    let nodes = cluster.tenant("acme");
    let mint = |node: &Api| {
        let made = node.post("/api/v1/tickets", &json!({})).expect("answers").expect(201).json();
        made["ticket"].as_str().expect("a ticket").to_owned()
    };
    let redeem = |node: &Api, ticket: &str| {
        let api = Api::anonymous(node.addr);
        WsClient::connect(&api, &format!("/api/v1/ws?ticket={ticket}"), &[])
            .expect("answers")
            .map_err(|r| r.status)
    };
    let ticket = mint(&nodes[0]);
    let _first = redeem(&nodes[1], &ticket).expect("another node takes it");
    assert_eq!(redeem(&nodes[2], &ticket).map(|_| ()), Err(401));
    for _ in 0..10 {
        let (ticket, together) = (mint(&nodes[0]), Barrier::new(nodes.len()));
        let outcomes: Vec<_> = thread::scope(|scope| {
            let tries: Vec<_> = nodes
                .iter()
                .map(|node| {
                    scope.spawn(|| {
                        together.wait();
                        redeem(node, &ticket).map(|_| ())
                    })
                })
                .collect();
            tries.into_iter().map(|t| t.join().expect("a try ends")).collect()
        });
        let taken = outcomes.iter().filter(|o| o.is_ok()).count();
        let refused = outcomes.iter().filter(|o| **o == Err(401)).count();
        assert_eq!((taken, refused), (1, nodes.len() - 1), "{outcomes:?}");
    }
}
