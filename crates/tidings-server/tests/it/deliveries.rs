//! What a whole server sends, and what it must not.

mod rebinding;
mod storage;

use std::sync::{Arc, Mutex};

use axum::{Router, extract::State, routing::post};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::{net::TcpListener, time::Duration};

use crate::{
    cluster::until,
    site::{As, Site},
};

const LOCAL: &str = "webhooks.allow_cidrs=[\"127.0.0.0/8\"]";

/// A receiver that keeps what came, and takes all of it.
#[derive(Clone, Default)]
struct Partner {
    came: Arc<Mutex<Vec<(HeaderMap, Value)>>>,
    /// Before it answers.
    pause: Duration,
}

impl Partner {
    /// Where it listens, until the test ends.
    async fn listen(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("bound"));
        let router = Router::new().route("/hook", post(Self::take)).with_state(self.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    async fn take(State(partner): State<Self>, headers: HeaderMap, body: String) -> StatusCode {
        tokio::time::sleep(partner.pause).await;
        let event = serde_json::from_str(&body).expect("the envelope");
        partner.came.lock().expect("nobody panics").push((headers, event));
        StatusCode::NO_CONTENT
    }

    fn header(&self, name: &str) -> Vec<String> {
        let came = self.came.lock().expect("nobody panics");
        came.iter().map(|(headers, _)| headers[name].to_str().expect("text").to_owned()).collect()
    }

    fn seqs(&self) -> Vec<u64> {
        let came = self.came.lock().expect("nobody panics");
        came.iter().map(|(_, event)| event["seq"].as_u64().expect("a seq")).collect()
    }
}

async fn endpoint(site: &Site, who: &As, url: &str) -> String {
    let made = site.post("/api/v1/webhooks", who, &json!({"url": url})).await.ok(201);
    format!("/api/v1/webhooks/{}", made["id"].as_str().expect("an id"))
}

async fn publish(site: &Site, who: &As, count: usize) {
    let events: Vec<_> = (0..count).map(|n| json!({"type": "note.created", "data": n})).collect();
    site.post("/api/v1/events", who, &json!(events)).await.ok(201);
}

#[tokio::test]
async fn each_attempt_begins_a_trace() {
    let (site, partner) = (Site::with(&[LOCAL]).await, Partner::default());
    let who = site.operator("acme");
    let endpoint = endpoint(&site, &who, &partner.listen().await).await;
    publish(&site, &who, 1).await;
    until("it is delivered", async || partner.seqs() == [1]).await;
    site.post(&format!("{endpoint}/replay"), &who, &json!({"seq": 1})).await.ok(202);
    until("it is delivered again", async || partner.seqs() == [1, 1]).await;
    let traces = partner.header("traceparent");
    for trace in &traces {
        let parts: Vec<_> = trace.split('-').collect();
        let [version, trace_id, span_id, flags] = parts[..] else { panic!("{trace}") };
        assert_eq!((version, trace_id.len(), span_id.len(), flags), ("00", 32, 16, "01"), "{trace}");
        assert!(
            trace_id.chars().chain(span_id.chars()).all(|c| matches!(c, '0'..='9' | 'a'..='f')),
            "{trace}"
        );
    }
    assert_ne!(traces[0][..35], traces[1][..35], "another trace");
    let ids = partner.header("webhook-id");
    assert_eq!(ids[0], ids[1], "the same message");
    site.close().await;
}

/// Were it found at the next look at the store, a second would go by.
#[tokio::test]
async fn an_endpoint_is_delivered_to_and_paused_at_once() {
    let (site, partner) = (Site::with(&[LOCAL]).await, Partner::default());
    let who = site.operator("acme");
    let url = partner.listen().await;
    let mut slow = 0;
    for round in 1..=4 {
        let endpoint = endpoint(&site, &who, &url).await;
        let began = tokio::time::Instant::now();
        publish(&site, &who, 1).await;
        until("it is delivered", async || partner.seqs().len() == round).await;
        site.act(&format!("{endpoint}/pause"), &who).await.ok(200);
        let paused = format!("webhook_endpoints{{state=\"paused\"}} {round}");
        until("it is paused", async || site.app.scrape().contains(&paused)).await;
        slow += usize::from(began.elapsed() > Duration::from_millis(700));
    }
    assert!(slow <= 1, "{slow} of 4 waited for the next look");
    site.close().await;
}

#[tokio::test]
async fn a_servers_own_listeners_are_no_receivers_though_their_ports_were_chosen_for_it() {
    let (site, server) = Site::listening(&[LOCAL]).await;
    let (who, ops) = (site.operator("acme"), server.ops_address().expect("on"));
    for address in [server.address(), ops] {
        let url = json!({"url": format!("http://{address}/hook")});
        let answer = site.post("/api/v1/webhooks", &who, &url).await;
        assert_eq!(answer.problem(400), "url-refused", "{address}");
    }
    let beside = Partner::default().listen().await;
    endpoint(&site, &who, &beside).await;
    server.stop().await;
    std::fs::remove_dir_all(site.folder()).expect("the folder can go");
}
