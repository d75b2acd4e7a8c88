//! A server that is killed while it delivers.

use std::time::Duration;

use rand::RngExt as _;
use serde_json::json;
use tidings_tests::{Does, Partner, seed, wait};

use super::{PATIENCE, endpoint, options, publish, shown};

#[test]
fn no_webhook_is_lost_by_kill_9_and_repeats_have_the_same_id() {
    const KILLS: usize = 4;
    const EVENTS: usize = 100;
    let mut rng = seed::rng("webhooks");
    let mut server = options().start();
    let slow = |_, _| Does::TakeAfter(Duration::from_millis(10));
    let (plain, ordered, failing) = (
        Partner::doing(slow),
        Partner::doing(slow),
        Partner::doing(
            |seq, before| if seq.is_multiple_of(5) && before == 0 { Does::Say("500 No") } else { Does::Take },
        ),
    );
    server.tenant("acme");
    let ids = {
        let api = server.admin_for("acme");
        let retries = json!(["1s", "1s", "1s", "1s", "1s"]);
        [
            endpoint(&api, &plain, json!({})),
            endpoint(&api, &ordered, json!({ "ordered": true })),
            endpoint(&api, &failing, json!({ "retries": retries, "jitter": 0 })),
        ]
    };
    for round in 1..=KILLS {
        publish(&server.admin_for("acme"), EVENTS);
        let some = (round - 1) * EVENTS + rng.random_range(1..60);
        wait::until_true("some are delivered", PATIENCE, || plain.delivered().len() >= some);
        server.kill();
        server.resume();
    }
    let all = 1..=(KILLS * EVENTS) as u64;
    for partner in [&plain, &ordered, &failing] {
        partner.wait_taken(all.clone(), PATIENCE);
        partner.assert_ids_are_stable();
    }
    ordered.assert_in_order();
    let api = server.admin_for("acme");
    for id in &ids {
        wait::until_true("nothing is left", PATIENCE, || {
            let shown = shown(&api, id);
            shown["cursor"] == KILLS * EVENTS && shown["backlog"]["retrying"] == 0
        });
    }
    // A kill repeats what was under way and what the last tenth of a second had not told.
    let repeats = plain.delivered().len() - KILLS * EVENTS;
    println!("webhooks: {repeats} repeats over {KILLS} kills");
    assert!(repeats < KILLS * EVENTS, "{repeats} repeats");
}

#[test]
fn a_server_that_stops_in_order_repeats_no_webhook() {
    let mut server = options().start();
    let partner = Partner::doing(|_, _| Does::TakeAfter(Duration::from_millis(20)));
    server.tenant("acme");
    endpoint(&server.admin_for("acme"), &partner, json!({}));
    publish(&server.admin_for("acme"), 200);
    wait::until_true("some are delivered", PATIENCE, || partner.delivered().len() >= 30);
    server.stop();
    let before = partner.delivered().len();
    assert!(before < 200, "it stopped while it delivered");
    server.resume();
    partner.wait_taken(1..=200, PATIENCE);
    assert_eq!(partner.delivered().len(), 200);
}
