//! Several nodes on one PostgreSQL.

use std::{error::Error as _, sync::LazyLock, time::Duration};

use http::Method;
use serde_json::json;
use tidings_server::{
    Server, StartError,
    config::{Loaded, Sources},
    offline,
};
use tidings_testkit::{Port, Postgres, Redis};
use tokio::time::{Instant, sleep};

use crate::site::{As, PATIENCE, Site, configured, folder, start};

pub(crate) static POSTGRES: LazyLock<Postgres> = LazyLock::new(Postgres::start);

const MASTER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const OTHER: &str = "ffeeddccbbaa99887766554433221100ffeeddccbbaa99887766554433221100";

/// What names a database of its own.
pub(crate) struct Settings(Vec<String>);

impl Settings {
    pub(crate) fn fresh() -> Self {
        let url = POSTGRES.fresh_database();
        Self(vec![format!("server.store={url}"), format!("secrets.master_key={MASTER}")])
    }

    pub(crate) fn and(&self, more: &str) -> Self {
        Self(self.0.iter().cloned().chain([more.to_owned()]).collect())
    }

    pub(crate) fn url(&self) -> &str {
        self.0[0].split_once('=').expect("a setting has a value").1
    }

    /// Its name.
    pub(crate) fn database(&self) -> &str {
        self.url().rsplit('/').next().expect("a URL ends with the database")
    }

    pub(crate) fn list(&self) -> Vec<&str> {
        self.0.iter().map(String::as_str).collect()
    }
}

pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < deadline, "{what} did not come true");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn what_one_node_makes_counts_at_the_other_and_ends_there() {
    let settings = Settings::fresh();
    let one = Site::with(&settings.list()).await;
    let two = one.beside(&settings.list()).await;
    assert!(one.app.admin_key().created && !two.app.admin_key().created);
    assert!(!two.folder().join("admin.key").exists() && !one.folder().join("signing.key").exists());

    let key = one.key("acme", Some("ana"), "events:read events:publish").await;
    two.post("/api/v1/events", &key, &json!({"type": "a.b"})).await.ok(201);
    let page = one.get("/api/v1/events", &key).await.ok(200);
    assert_eq!(page["events"][0]["seq"], 1);

    let ticket = one.act("/api/v1/tickets", &key).await.ok(201)["ticket"].clone();
    let path = format!("/api/v1/events?ticket={}", ticket.as_str().expect("a text"));
    let accept = [("accept", "text/event-stream")];
    two.send(Method::HEAD, &path, None, &accept, None).await.ok(200);
    one.send(Method::HEAD, &path, None, &accept, None).await.ok(401);

    one.act("/api/v1/tenants/acme/suspend", &one.admin()).await.ok(200);
    until("node two refuses", async || two.get("/api/v1/events", &key).await.status == 403).await;
    two.act("/api/v1/tenants/acme/resume", &two.admin()).await.ok(200);
    until("node one takes it up", async || one.get("/api/v1/events", &key).await.status == 200).await;

    let list = one.get("/api/v1/keys", &one.operator("acme")).await.ok(200);
    let id = list["keys"][0]["id"].as_str().expect("an id").to_owned();
    one.delete(&format!("/api/v1/keys/{id}"), &one.operator("acme")).await;
    until("node two knows", async || two.get("/api/v1/events", &key).await.status == 401).await;
    one.close().await;
    two.close().await;
}

/// A worker that waits looks again once a second anyway. That it is woken by what the store says has moved shows in
/// the job coming sooner: in one of several rounds, since a machine may be slow.
#[tokio::test]
async fn a_worker_that_waits_at_one_node_is_woken_by_what_another_enqueues() {
    const LOOK_AGAIN: Duration = Duration::from_secs(1);
    const ROUNDS: usize = 10;
    let settings = Settings::fresh();
    let one = Site::with(&settings.list()).await;
    let two = one.beside(&settings.list()).await;
    let who = one.operator("acme");
    one.act("/api/v1/tenants", &one.admin()).await;
    one.post("/api/v1/events", &who, &json!({"type": "a.b"})).await.ok(201);
    let wanted = json!({"worker": "w", "types": ["index"], "wait_s": 30});
    let mut took = Vec::new();
    while took.len() < ROUNDS && took.iter().all(|took| *took >= LOOK_AGAIN) {
        let waiting = two.post("/api/v1/leases", &who, &wanted);
        let enqueueing = async {
            // Node two's claims are decided in their order: when one that does not wait has its answer, the other
            // has looked, has found nothing, and waits.
            let at_once = json!({"worker": "v", "types": ["index"], "wait_s": 0});
            assert_eq!(two.post("/api/v1/leases", &who, &at_once).await.ok(200)["leases"], json!([]));
            one.enqueue(&who, json!({"type": "index"})).await
        };
        let began = Instant::now();
        let (leases, job) = tokio::join!(waiting, enqueueing);
        took.push(began.elapsed());
        assert_eq!(leases.ok(200)["leases"][0]["job"]["id"], job["id"]);
    }
    assert!(took.iter().any(|took| *took < LOOK_AGAIN), "no round was shorter than a look again: {took:?}");
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn one_node_leads_each_duty_and_a_stopped_one_hands_it_over() {
    let settings = Settings::fresh();
    let one = Site::with(&settings.list()).await;
    let two = one.beside(&settings.list()).await;
    let three = one.beside(&settings.and("server.roles=api").list()).await;
    let leads = |site: &Site| {
        let scrape = site.app.scrape();
        let led = |line: &&str| line.starts_with("duty_leading{") && line.ends_with(" 1");
        scrape.lines().filter(led).count()
    };
    // Rescue, retention, schedules, and the partitions of webhooks.
    let total = 3 + 16;
    until("the duties are led", async || leads(&one) + leads(&two) == total).await;
    assert_eq!(leads(&three), 0, "it has not the role");
    one.app.stop(Duration::from_secs(5)).await;
    until("the other leads them all", async || leads(&two) == total).await;
    two.close().await;
    three.close().await;
}

#[tokio::test]
async fn a_node_without_the_master_key_or_with_a_wrong_one_does_not_start() {
    let settings = Settings::fresh();
    let one = Site::with(&settings.list()).await;
    let url = settings.0[0].as_str();
    let error = start(&folder(), &[url]).await.expect_err("refused");
    assert!(matches!(error, StartError::NoMasterKey), "{error:?}");
    assert!(error.to_string().contains("openssl rand -base64 32"));
    let wrong = format!("secrets.master_key={OTHER}");
    let error = start(&folder(), &[url, &wrong]).await.expect_err("refused");
    let cause = error.source().and_then(|s| s.source()).expect("a cause").to_string();
    assert!(cause.contains("secrets.master_key_previous"), "{cause}");

    let hook = json!({"url": "https://93.184.216.34/hook"});
    let hook = one.post("/api/v1/webhooks", &one.operator("acme"), &hook).await.ok(201);

    // The key is replaced while node one runs.
    let previous = format!("secrets.master_key_previous={MASTER}");
    let both = configured(&folder(), &[url, &wrong, &previous]).config;
    assert_eq!(offline::rotate_master_key(&both).await.expect("done").rewrapped, 4);
    let again = offline::rotate_master_key(&both).await.expect("done");
    assert_eq!((again.rewrapped, again.kept), (0, 4));
    let new = [url, wrong.as_str()];
    let mut archive = Vec::new();
    let config = configured(&folder(), &new).config;
    offline::export(&config, &mut archive, &mut |_, _| {}).await.expect("the new key opens all");
    let secret = hook["secret"].as_str().expect("a secret");
    assert!(String::from_utf8_lossy(&archive).contains(secret), "an archive has webhook secrets open");
    let two = one.beside(&new).await;
    let admin = offline::admin_key(&configured(&folder(), &new).config).await.expect("opens").expect("there");
    let admin = As::bearer(tidings_auth::ExposeSecret::expose_secret(&admin));
    for node in [&one, &two] {
        node.get("/api/v1/tenants", &admin).await.ok(200);
    }
    one.close().await;
    two.close().await;
}

#[tokio::test]
async fn an_import_that_lacked_the_master_key_is_completed_with_it() {
    let (old, new) = (Settings::fresh(), Settings::fresh());
    let one = Site::with(&old.list()).await;
    let hook = json!({"url": "https://93.184.216.34/hook"});
    let hook = one.post("/api/v1/webhooks", &one.operator("acme"), &hook).await.ok(201);
    one.close().await;
    let mut archive = Vec::new();
    let config = configured(&folder(), &old.list()).config;
    offline::export(&config, &mut archive, &mut |_, _| {}).await.expect("exports");

    let keyless = configured(&folder(), &[new.list()[0]]).config;
    let error = offline::import(&keyless, &mut &archive[..], &mut |_| {}).await.expect_err("there is no key");
    assert!(error.to_string().contains("TIDINGS_SECRETS__MASTER_KEY"), "{error}");
    let keyed = configured(&folder(), &new.list()).config;
    let moved = offline::import(&keyed, &mut &archive[..], &mut |_| {}).await.expect("goes on");
    assert_eq!((moved.tenants, moved.endpoints), (1, 1));
    let mut again = Vec::new();
    offline::export(&keyed, &mut again, &mut |_, _| {}).await.expect("every secret opens");
    assert!(String::from_utf8_lossy(&again).contains(hook["secret"].as_str().expect("a secret")));
}

/// At every moment of it, what any node seals opens at every other.
#[tokio::test]
async fn a_master_key_is_replaced_node_by_node() {
    let fresh = Settings::fresh();
    let keys = |current: &str, other: &str| {
        let other = format!("secrets.master_key_previous={other}");
        Settings(vec![fresh.0[0].clone(), format!("secrets.master_key={current}"), other])
    };
    let last = Settings(vec![fresh.0[0].clone(), format!("secrets.master_key={OTHER}")]);
    let steps = [Settings(fresh.0.clone()), keys(MASTER, OTHER), keys(OTHER, MASTER), last];
    // Makes the keys, and knows the administrator's.
    let first = Site::with(&steps[0].list()).await;
    for (n, pair) in steps.windows(2).enumerate() {
        if n == 2 {
            let both = configured(&folder(), &pair[0].list()).config;
            assert!(offline::rotate_master_key(&both).await.expect("done").rewrapped > 0);
        }
        let one = first.beside(&pair[0].list()).await;
        let two = first.beside(&pair[1].list()).await;
        for node in [&one, &two] {
            let hook = json!({"url": "https://93.184.216.34/hook"});
            node.post("/api/v1/webhooks", &first.operator("acme"), &hook).await.ok(201);
        }
        for settings in pair {
            let config = configured(&folder(), &settings.list()).config;
            let opened = offline::export(&config, &mut Vec::new(), &mut |_, _| {}).await;
            opened.unwrap_or_else(|error| panic!("after step {n} a secret does not open: {error}"));
        }
        one.close().await;
        two.close().await;
    }
    first.close().await;
}

#[tokio::test]
async fn epochs_are_renewed_and_schemas_made_without_a_server() {
    let settings = Settings::fresh();
    let config = configured(&folder(), &settings.list()).config;
    let before = offline::schema(&config).await.expect("answers");
    assert_eq!(before.found, 0);
    offline::migrate(&config).await.expect("migrates");
    let after = offline::schema(&config).await.expect("answers");
    assert_eq!((after.found, after.known), (before.known, before.known));

    let one = Site::with(&settings.list()).await;
    let epoch = async |site: &Site, tenant: &str| {
        site.get(&format!("/api/v1/tenants/{tenant}"), &site.admin()).await.ok(200)["epoch"].clone()
    };
    let mut before = Vec::new();
    for tenant in ["acme", "rival"] {
        one.post("/api/v1/events", &one.operator(tenant), &json!({"type": "a.b"})).await.ok(201);
        before.push(epoch(&one, tenant).await);
    }
    one.app.stop(Duration::from_secs(5)).await;
    let mut renewed = Vec::new();
    offline::renew_epochs(&config, None, |tenant| renewed.push(tenant.to_string())).await.expect("renewed");
    assert_eq!(renewed, ["acme", "rival"]);
    let two = one.beside(&settings.list()).await;
    assert_ne!(epoch(&two, "acme").await, before[0]);
    assert_ne!(epoch(&two, "rival").await, before[1]);
    two.close().await;
}

#[tokio::test]
async fn a_node_without_the_api_says_how_it_is_and_nothing_else() {
    let settings = Settings::fresh().and("server.roles=scheduler").and("server.listen=127.0.0.1:0");
    let mut sets = settings.0.clone();
    sets.push(format!("server.data={}", folder().display()));
    sets.push("server.ops_listen=127.0.0.1:0".into());
    let loaded = Loaded::load(Sources { sets, ..Sources::default() }).expect("valid");
    let server = Server::start(loaded).await.expect("starts");
    let router = server.app().router();
    for (path, status) in [("/health/ready", 200), ("/health/live", 200), ("/api/v1/jobs", 404)] {
        let request = axum::extract::Request::get(path).body(axum::body::Body::empty()).expect("a request");
        let answer = tower::ServiceExt::oneshot(router.clone(), request).await.expect("never fails");
        assert_eq!(answer.status().as_u16(), status, "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_database_out_of_reach_is_named_without_its_password() {
    let port = Port::claim();
    let url = format!("server.store=postgres://ana:hunter2@{}/tidings", port.addr());
    let master = format!("secrets.master_key={MASTER}");
    let error =
        start(&folder(), &[&url, &master, "postgres.start_timeout=0s"]).await.expect_err("nobody answers");
    let told = error.to_string();
    assert!(told.contains(&format!("{}/tidings", port.addr())), "{told}");
    assert!(!told.contains("hunter2") && !format!("{error:?}").contains("hunter2"), "{told}");
}

#[tokio::test]
async fn without_its_redis_a_node_is_ready_and_says_that_it_is_degraded() {
    let redis = Redis::start();
    let settings = Settings::fresh().and(&format!("server.redis={}", redis.url()));
    let one = Site::with(&settings.list()).await;
    let health = async || one.send(Method::GET, "/health/ready", None, &[], None).await.ok(200);
    until("the bus is there", async || health().await["bus"] == "ok").await;
    assert_eq!(health().await, json!({"status": "ok", "store": "ok", "bus": "ok"}));
    redis.kill9();
    until("it is missed", async || health().await["status"] == "degraded").await;
    assert_eq!(health().await["bus"], "unavailable");
    one.post("/api/v1/events", &one.operator("acme"), &json!({"type": "a.b"})).await.ok(201);
    redis.restart();
    until("it is back", async || health().await["status"] == "ok").await;
    one.close().await;
}

#[tokio::test]
async fn what_a_users_transaction_left_in_the_outbox_is_in_the_log_soon() {
    let settings = Settings::fresh();
    let one = Site::with(&settings.list()).await;
    let who = one.operator("acme");
    POSTGRES.psql(
        settings.database(),
        "SELECT tidings.allow('postgres', 'acme'); SELECT tidings.publish('acme', 'note.created', '{\"n\":1}')",
    );
    until("the event is there", async || {
        let page = one.get("/api/v1/events", &who).await;
        page.status == 200 && page.json()["events"][0]["type"] == "note.created"
    })
    .await;
    one.close().await;
}
