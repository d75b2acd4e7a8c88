//! Several nodes on one PostgreSQL.

use std::time::Duration;

use serde_json::json;
use tidings_tests::{Api, Does, Partner, Server, cluster::Cluster, wait};

use super::{PATIENCE, endpoint, publish};

const ENDPOINTS: usize = 24;

fn cluster() -> Cluster {
    Cluster::options()
        .nodes(2)
        .without_redis()
        .set("webhooks.allow_cidrs", "127.0.0.0/8")
        .set("webhooks.rate_per_tenant", "off")
        .start()
}

fn partners(api: &Api, pause: Duration) -> Vec<Partner> {
    let partner = |_| {
        let partner = Partner::doing(move |_, _| Does::TakeAfter(pause));
        endpoint(api, &partner, json!({}));
        partner
    };
    (0..ENDPOINTS).map(partner).collect()
}

/// How many endpoints a node delivers to.
fn share(node: &Server) -> usize {
    let text = Api::anonymous(node.ops_addr).get("/metrics").expect("answers").text();
    let line = text.lines().find_map(|line| line.strip_prefix("webhook_endpoints{state=\"active\"} "));
    line.map_or(0, |count| count.parse().expect("a number"))
}

#[test]
fn nodes_share_the_endpoints_and_one_takes_over_what_a_dead_one_had() {
    let _alone = crate::alone();
    let mut cluster = cluster();
    cluster.tenant("acme");
    let api = cluster.nodes[0].admin_for("acme");
    let partners = partners(&api, Duration::from_millis(5));
    wait::until_true("both deliver to some, and together to all", PATIENCE, || {
        let shares = [share(&cluster.nodes[0]), share(&cluster.nodes[1])];
        shares.iter().sum::<usize>() == ENDPOINTS && shares.iter().all(|share| (4..=20).contains(share))
    });
    publish(&api, 50);
    wait::until_true("some are delivered", PATIENCE, || partners.iter().all(|p| !p.delivered().is_empty()));
    cluster.nodes[1].kill();
    publish(&api, 50);
    for partner in &partners {
        partner.wait_taken(1..=100, PATIENCE);
        partner.assert_ids_are_stable();
    }
    wait::until_true("one delivers to all", PATIENCE, || share(&cluster.nodes[0]) == ENDPOINTS);
    cluster.nodes[1].resume();
    wait::until_true("both share again", PATIENCE, || share(&cluster.nodes[1]) >= 4);
    publish(&api, 10);
    for partner in &partners {
        partner.wait_taken(1..=110, PATIENCE);
    }
}

#[test]
fn no_webhook_is_lost_when_postgresql_is_killed() {
    let _alone = crate::alone();
    let cluster = cluster();
    cluster.tenant("acme");
    let api = cluster.nodes[0].admin_for("acme");
    let partners = partners(&api, Duration::from_millis(20));
    publish(&api, 100);
    wait::until_true("some are delivered", PATIENCE, || partners.iter().any(|p| p.delivered().len() > 10));
    cluster.postgres.kill9();
    cluster.postgres.restart();
    for partner in &partners {
        partner.wait_taken(1..=100, PATIENCE);
        partner.assert_ids_are_stable();
    }
}
