//! What becomes of results while the database is away.

use std::collections::{BTreeMap, BTreeSet};

use tidings_testkit::Postgres;
use tokio::time::Duration;

use super::{LOCAL, Partner, endpoint, publish};
use crate::{
    cluster::until,
    site::{As, Site},
};

const MASTER: &str = "secrets.master_key=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const EVENTS: usize = 24;

/// A server that delivers [`EVENTS`] on a database that is killed meanwhile.
struct Outage {
    postgres: Postgres,
    site: Site,
    who: As,
    partner: Partner,
    endpoint: String,
}

impl Outage {
    /// Returns when all are delivered, with nothing written since the first few.
    async fn begin() -> Self {
        let postgres = Postgres::start();
        let store = format!("server.store={}", postgres.fresh_database());
        let site = Site::with(&[&store, MASTER, LOCAL, "webhooks.rate_per_tenant=off"]).await;
        let who = site.operator("acme");
        let partner = Partner { pause: Duration::from_millis(300), ..Partner::default() };
        let endpoint = endpoint(&site, &who, &partner.listen().await).await;
        publish(&site, &who, EVENTS).await;
        until("some are delivered", async || !partner.seqs().is_empty()).await;
        postgres.kill9();
        until("all are", async || partner.seqs().len() >= EVENTS).await;
        Self { postgres, site, who, partner, endpoint }
    }

    async fn end(&self) {
        self.postgres.restart();
        until("all are told", async || {
            let shown = self.site.get(&self.endpoint, &self.who).await;
            shown.status == 200 && shown.json()["cursor"] == EVENTS
        })
        .await;
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
    let outage = Outage::begin().await;
    outage.end().await;
    assert!(outage.came().values().all(|count| *count == 1), "{:?}", outage.came());
    let log = format!("{}/deliveries?limit=100", outage.endpoint);
    let log = outage.site.get(&log, &outage.who).await.ok(200);
    // A report whose answer was lost is handed in again, and adds to this log alone.
    assert!(log["deliveries"].as_array().is_some_and(|list| list.len() >= EVENTS), "each attempt is kept");
    outage.site.close().await;
}

/// Another node may deliver by then, for all that this one knows: it lets go, and what was not told is sent once more.
#[tokio::test]
async fn an_outage_that_outlasts_a_term_repeats_once_and_under_the_same_ids() {
    let outage = Outage::begin().await;
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
