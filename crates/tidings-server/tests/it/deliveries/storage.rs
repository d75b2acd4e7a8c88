//! What becomes of results while the database is away.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use tidings_testkit::Postgres;
use tokio::time::Duration;

use super::{LOCAL, Partner, endpoint, publish};
use crate::{
    cluster::until,
    site::{As, Site},
};

const MASTER: &str = "secrets.master_key=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const EVENTS: usize = 24;

/// What befalls the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// What is written meanwhile waits in the store for seconds: a short outage is not seen by who writes.
    Killed,
    /// What is written is refused at once, and so by everybody.
    ReadOnly,
}

/// A server that delivers [`EVENTS`] on a database that fails meanwhile.
struct Outage {
    fault: Fault,
    postgres: Postgres,
    site: Site,
    who: As,
    partner: Partner,
    endpoint: String,
}

impl Outage {
    /// Returns when all are delivered, with nothing written since the first few.
    async fn begin(fault: Fault) -> Self {
        let postgres = Postgres::start();
        let store = format!("server.store={}", postgres.fresh_database());
        let site = Site::with(&[&store, MASTER, LOCAL, "webhooks.rate_per_tenant=off"]).await;
        let who = site.operator("acme");
        let partner = Partner { pause: Duration::from_millis(300), ..Partner::default() };
        let endpoint = endpoint(&site, &who, &partner.listen().await).await;
        publish(&site, &who, EVENTS).await;
        until("some are delivered", async || !partner.seqs().is_empty()).await;
        match fault {
            Fault::Killed => postgres.kill9(),
            Fault::ReadOnly => postgres.set_read_only(true),
        }
        until("all are", async || partner.seqs().len() >= EVENTS).await;
        Self { fault, postgres, site, who, partner, endpoint }
    }

    async fn end(&self) {
        match self.fault {
            Fault::Killed => self.postgres.restart(),
            Fault::ReadOnly => self.postgres.set_read_only(false),
        }
        until("all are told", async || {
            let shown = self.site.get(&self.endpoint, &self.who).await;
            shown.status == 200 && shown.json()["cursor"] == EVENTS
        })
        .await;
    }

    /// Each attempt is in the log. A report whose answer was lost is handed in again, and adds to the log alone.
    async fn assert_each_was_sent_once_and_told(&self) {
        assert!(self.came().values().all(|count| *count == 1), "{:?}", self.came());
        let log = format!("{}/deliveries?limit=100", self.endpoint);
        let log = self.site.get(&log, &self.who).await.ok(200);
        let attempts = log["deliveries"].as_array().expect("a list");
        let told: BTreeSet<_> =
            attempts.iter().map(|attempt| attempt["seq"].as_u64().expect("a seq")).collect();
        assert!(told.iter().copied().eq(1..=EVENTS as u64), "told: {told:?}");
    }

    /// How often each event came.
    fn came(&self) -> BTreeMap<u64, usize> {
        let mut came = BTreeMap::new();
        for seq in self.partner.seqs() {
            *came.entry(seq).or_default() += 1;
        }
        assert!(came.keys().copied().eq(1..=EVENTS as u64), "{came:?}");
        came
    }
}

/// The answers come while nothing can be written: they are kept, told when the database is back, and nothing is sent twice.
#[tokio::test]
async fn results_outlast_a_database_that_is_killed_and_nothing_is_sent_again() {
    let outage = Outage::begin(Fault::Killed).await;
    outage.end().await;
    outage.assert_each_was_sent_once_and_told().await;
    outage.site.close().await;
}

/// Reports are refused, again and again, and not only delayed.
#[tokio::test]
async fn results_outlast_a_database_that_refuses_them_and_nothing_is_sent_again() {
    let outage = Outage::begin(Fault::ReadOnly).await;
    let event = json!({"type": "note.created", "data": null});
    let refused = outage.site.post("/api/v1/events", &outage.who, &event).await;
    assert_eq!(refused.status, 503, "what is written is refused");
    outage.end().await;
    outage.assert_each_was_sent_once_and_told().await;
    outage.site.close().await;
}

/// Another node may deliver by then, for all that this one knows: it lets go, and what was not told is sent once more.
#[tokio::test]
async fn an_outage_that_outlasts_a_term_repeats_once_and_under_the_same_ids() {
    let outage = Outage::begin(Fault::Killed).await;
    until("it leads nothing", async || {
        !outage
            .site
            .app
            .scrape()
            .lines()
            .any(|line| line.starts_with("duty_leading{") && line.ends_with(" 1"))
    })
    .await;
    outage.end().await;
    assert!(outage.came().values().all(|count| *count <= 2), "{:?}", outage.came());
    let ids: BTreeSet<_> = outage.partner.header("webhook-id").into_iter().collect();
    assert_eq!(ids.len(), EVENTS, "one id for each event");
    outage.site.close().await;
}
