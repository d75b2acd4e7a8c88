//! What receivers do, and what the operator sees of it.

use std::time::Duration;

use serde_json::json;
use tidings_tests::{Api, Does, Partner, wait};

use super::{PATIENCE, endpoint, options, publish, shown};

#[test]
fn sick_receivers_get_every_event_in_the_end_and_delay_no_other() {
    const EVENTS: u64 = 40;
    let server = options().start();
    server.tenant("acme");
    let api = server.admin_for("acme");
    // Scaled to a timeout of 2 s: 1.8 s succeed, 2.5 s do not.
    let first_tries = |does: Does| {
        move |seq: u64, before| if seq.is_multiple_of(4) && before < 2 { does } else { Does::Take }
    };
    let sick = [
        Does::TakeAfter(Duration::from_millis(1_800)),
        Does::TakeAfter(Duration::from_millis(2_500)),
        Does::Say("500 No"),
        Does::Say("503 Later\r\nRetry-After: 1"),
        Does::Say("307 Elsewhere\r\nLocation: http://127.0.0.1:1/"),
        Does::Hang(Duration::from_secs(5)),
        Does::Close,
    ]
    .map(|does| Partner::doing(first_tries(does)));
    let hopeless = Partner::doing(|_, _| Does::Hang(Duration::from_mins(1)));
    let healthy: Vec<_> = (0..4).map(|_| Partner::taking()).collect();
    let retries = json!(["1s", "1s", "1s", "2s", "2s"]);
    for partner in &sick {
        endpoint(&api, partner, json!({ "retries": retries, "timeout": "2s", "jitter": 0 }));
    }
    let hopeless_id = endpoint(&api, &hopeless, json!({ "timeout": "30s" }));
    let ordered: Vec<_> = sick.iter().take(1).map(|_| Partner::doing(first_tries(Does::Close))).collect();
    endpoint(&api, &ordered[0], json!({ "retries": retries, "ordered": true, "jitter": 0 }));
    for partner in &healthy {
        endpoint(&api, partner, json!({}));
    }
    for _ in 0..EVENTS / 10 {
        publish(&api, 10);
    }
    for partner in &healthy {
        partner.wait_taken(1..=EVENTS, PATIENCE);
        assert_eq!(partner.delivered().len() as u64, EVENTS, "each once");
    }
    assert_eq!(hopeless.taken().len(), 0);
    assert!(shown(&api, &hopeless_id)["backlog"]["oldest"].is_string(), "its delay is seen");
    for partner in sick.iter().chain(&ordered) {
        partner.wait_taken(1..=EVENTS, PATIENCE);
        partner.assert_ids_are_stable();
    }
    ordered[0].assert_in_order();
}

#[test]
fn gone_disables_is_told_and_is_counted() {
    let server = options().start();
    let api = server.tenant("acme");
    let operator = server.admin_for("acme");
    let partner = Partner::doing(|_, _| Does::Say("410 Gone"));
    let id = endpoint(&operator, &partner, json!({ "concurrency": 1 }));
    publish(&operator, 3);
    wait::until_true("it is disabled", PATIENCE, || shown(&operator, &id)["state"] == "disabled");
    assert_eq!(shown(&operator, &id)["reason"], "gone");
    let events = api.get("/api/v1/events?types=webhook.*").expect("answers").expect(200).json();
    assert_eq!(events["events"][0]["type"], "webhook.disabled");
    assert_eq!(events["events"][0]["data"]["endpoint_id"], json!(id));
    assert_eq!(partner.delivered().len(), 1);
    // It is not tried again, and nothing says that it would be.
    let attempts = || {
        let log = operator.get(&format!("/api/v1/webhooks/{id}/deliveries")).expect("answers").expect(200);
        log.json()["deliveries"].as_array().expect("a list").clone()
    };
    wait::until_true("its attempt is in the log", PATIENCE, || attempts().len() == 1);
    let attempt = attempts().remove(0);
    assert_eq!((&attempt["status"], &attempt["failure"]), (&json!(410), &json!("gone")));
    assert!(attempt.get("next_at").is_none(), "{attempt}");
    let metrics = || scrape(&server);
    wait::until_true("it is counted", PATIENCE, || {
        let text = metrics();
        text.contains("webhook_attempts_total{outcome=\"gone\"} 1")
            && text.contains("webhook_endpoints{state=\"disabled\"} 1")
    });
}

#[test]
fn to_enable_from_now_passes_over_what_was_not_tried_and_leaves_what_was() {
    let server = options().start();
    server.tenant("acme");
    let api = server.admin_for("acme");
    let fails_once = |seq, before| if seq == 1 && before == 0 { Does::Say("500 No") } else { Does::Take };
    let partner = Partner::doing(fails_once);
    let id = endpoint(&api, &partner, json!({ "retries": ["3s"], "jitter": 0 }));
    publish(&api, 1);
    let post = |what: &str, body| {
        let _ = api.post(&format!("/api/v1/webhooks/{id}/{what}"), &body).expect("answers").expect(200);
    };
    wait::until_true("it waits for its retry", PATIENCE, || shown(&api, &id)["backlog"]["retrying"] == 1);
    post("pause", json!({}));
    publish(&api, 3);
    post("enable", json!({ "from": "now" }));
    publish(&api, 1);
    partner.wait_taken([1, 5], PATIENCE);
    let mut taken = partner.taken();
    taken.sort_unstable();
    assert_eq!(taken, [1, 5]);
    partner.assert_ids_are_stable();
}

#[test]
fn a_tenants_rate_holds_its_deliveries_back_in_sight() {
    let server = options().set("webhooks.rate_per_tenant", "5/h").start();
    server.tenant("acme");
    let api = server.admin_for("acme");
    let partner = Partner::taking();
    endpoint(&api, &partner, json!({}));
    publish(&api, 20);
    partner.wait_taken(1..=5, PATIENCE);
    wait::until_true("it is throttled", PATIENCE, || {
        scrape(&server).contains("webhook_endpoints{state=\"throttled\"} 1")
    });
    assert_eq!(partner.delivered().len(), 5);
}

#[test]
fn a_test_sends_a_sample_and_says_what_came_of_it() {
    let server = options().start();
    server.tenant("acme");
    let api = server.admin_for("acme");
    let (partner, wrong) = (Partner::taking(), Partner::doing(|_, _| Does::Say("500 No")));
    let test = |id: &str| {
        let reply = api.post(&format!("/api/v1/webhooks/{id}/test"), &json!({})).expect("answers");
        reply.expect(200).json()
    };
    let answer = test(&endpoint(&api, &partner, json!({})));
    assert_eq!((&answer["delivered"], &answer["status"]), (&json!(true), &json!(204)));
    assert_eq!(partner.delivered()[0].event["type"], "webhook.test");
    let answer = test(&endpoint(&api, &wrong, json!({})));
    assert_eq!((&answer["delivered"], &answer["failure"]), (&json!(false), &json!("status")));
}

/// The metrics of now.
fn scrape(server: &tidings_tests::Server) -> String {
    Api::anonymous(server.ops_addr).get("/metrics").expect("answers").expect(200).text()
}
