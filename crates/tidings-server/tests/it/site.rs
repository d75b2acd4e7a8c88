//! A server for one test, and a client that speaks to its router.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tidings_core::{Clock, Entropy as _, SystemClock, SystemEntropy, Timestamp};
use tidings_guard::Resolve;
use tidings_server::{
    App, Server, StartError,
    config::{Loaded, Sources},
};
use tower::ServiceExt as _;

/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Site {
    pub(crate) app: App,
    router: Router,
    folder: PathBuf,
    admin: String,
}

/// The machine's clock, or one that stands still, set forward as far as a test likes.
#[derive(Debug, Default, Clone)]
pub(crate) struct ShiftedClock {
    shift: Arc<AtomicI64>,
    still: Option<Timestamp>,
}

impl ShiftedClock {
    pub(crate) fn still() -> Self {
        Self { still: Some(SystemClock.now()), ..Self::default() }
    }

    pub(crate) fn forward(&self, by: Duration) {
        self.shift.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
    }
}

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        let now = self.still.unwrap_or_else(|| SystemClock.now());
        Timestamp::from_micros(now.as_micros() + self.shift.load(Ordering::SeqCst))
    }
}

/// A credential and the tenant that an operator names with it.
#[derive(Clone, Debug)]
pub(crate) struct As {
    token: String,
    tenant: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) fn folder() -> PathBuf {
    let mut name = [0; 8];
    SystemEntropy.fill(&mut name);
    std::env::temp_dir().join(format!("tidings-api-{:016x}", u64::from_le_bytes(name)))
}

pub(crate) fn configured(folder: &std::path::Path, settings: &[&str]) -> Loaded {
    let mut sets = vec![
        format!("server.data={}", folder.display()),
        "server.listen=127.0.0.1:0".into(),
        "server.ops_listen=127.0.0.1:0".into(),
    ];
    sets.extend(settings.iter().map(|s| (*s).to_owned()));
    Loaded::load(Sources { sets, ..Sources::default() }).expect("a valid configuration")
}

pub(crate) async fn start(folder: &std::path::Path, settings: &[&str]) -> Result<App, StartError> {
    let config = configured(folder, settings).config;
    App::start(config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await
}

impl Site {
    pub(crate) async fn open() -> Self {
        Self::with(&[]).await
    }

    pub(crate) async fn with(settings: &[&str]) -> Self {
        Self::on(folder(), settings, Arc::new(SystemClock)).await
    }

    /// With a listener that other programs can reach. The server is to be stopped, not the site closed.
    pub(crate) async fn listening(settings: &[&str]) -> (Self, Server) {
        let folder = folder();
        let server = Server::start(configured(&folder, settings)).await.expect("starts");
        let app = server.app().clone();
        let admin = std::fs::read_to_string(&app.admin_key().path).expect("the key's file").trim().to_owned();
        (Self { router: app.router(), app, folder, admin }, server)
    }

    /// Stops in order and starts again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        self.app.stop(Duration::from_secs(5)).await;
        Self::on(self.folder, &[], Arc::new(SystemClock)).await
    }

    /// With name servers of the test's.
    pub(crate) async fn resolving(resolver: Arc<dyn Resolve>, settings: &[&str]) -> Self {
        let folder = folder();
        let config = configured(&folder, settings).config;
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let app = App::start_resolving(config, clock, entropy, resolver).await.expect("starts");
        let admin = std::fs::read_to_string(&app.admin_key().path).expect("the key's file").trim().to_owned();
        Self { router: app.router(), app, folder, admin }
    }

    /// On a folder that may have been used before, by a clock of the test's.
    pub(crate) async fn on(folder: PathBuf, settings: &[&str], clock: Arc<dyn Clock>) -> Self {
        let config = configured(&folder, settings).config;
        let deadline = tokio::time::Instant::now() + PATIENCE;
        let app = loop {
            match App::start(config.clone(), clock.clone(), Arc::new(SystemEntropy)).await {
                // The threads of a life that was just ended let go of the folder a little later.
                Err(StartError::Store(_)) if tokio::time::Instant::now() < deadline => {
                    tokio::task::yield_now().await;
                }
                started => break started.expect("starts"),
            }
        };
        let admin = std::fs::read_to_string(&app.admin_key().path).expect("the key's file").trim().to_owned();
        Self { router: app.router(), app, folder, admin }
    }

    /// Another node on the same database, with a folder of its own.
    pub(crate) async fn beside(&self, settings: &[&str]) -> Self {
        let folder = folder();
        let app = start(&folder, settings).await.expect("starts");
        Self { router: app.router(), app, folder, admin: self.admin.clone() }
    }

    pub(crate) fn folder(&self) -> &std::path::Path {
        &self.folder
    }

    /// Everything of one tenant, by an operator.
    pub(crate) fn operator(&self, tenant: &str) -> As {
        As { token: self.admin.clone(), tenant: Some(tenant.to_owned()) }
    }

    /// The operator with no tenant named.
    pub(crate) fn admin(&self) -> As {
        As { token: self.admin.clone(), tenant: None }
    }

    /// A new key of a tenant.
    pub(crate) async fn key(&self, tenant: &str, user: Option<&str>, scopes: &str) -> As {
        let mut body = json!({"name": "test", "scopes": scopes});
        if let Some(user) = user {
            body["user"] = user.into();
        }
        self.key_of(tenant, body).await
    }

    pub(crate) async fn key_of(&self, tenant: &str, body: Value) -> As {
        let made = self.post("/api/v1/keys", &self.operator(tenant), &body).await.ok(201);
        As::bearer(made["key"].as_str().expect("a key"))
    }

    pub(crate) async fn get(&self, path: &str, who: &As) -> Answer {
        self.send(Method::GET, path, Some(who), &[], None).await
    }

    pub(crate) async fn delete(&self, path: &str, who: &As) -> Answer {
        self.send(Method::DELETE, path, Some(who), &[], None).await
    }

    pub(crate) async fn post(&self, path: &str, who: &As, body: &Value) -> Answer {
        self.send(Method::POST, path, Some(who), &[], Some(&body.to_string())).await
    }

    pub(crate) async fn put(&self, path: &str, who: &As, body: &Value) -> Answer {
        self.send(Method::PUT, path, Some(who), &[], Some(&body.to_string())).await
    }

    /// A post with nothing in it.
    pub(crate) async fn act(&self, path: &str, who: &As) -> Answer {
        self.send(Method::POST, path, Some(who), &[], None).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        who: Option<&As>,
        headers: &[(&str, &str)],
        body: Option<&str>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        if let Some(As { token, tenant }) = who {
            request = request.header("authorization", format!("Bearer {token}"));
            if let Some(tenant) = tenant {
                request = request.header("x-tidings-tenant", tenant);
            }
        }
        if body.is_some() && !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header("content-type", "application/json");
        }
        // As clients do; a request of ours that has none is sent by `raw`.
        if let Some(text) = body {
            request = request.header("content-length", text.len());
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.map_or_else(Body::empty, |text| Body::from(text.to_owned()));
        Answer::of(self.raw(request.body(body).expect("a request")).await).await
    }

    pub(crate) async fn raw(&self, request: Request) -> Response {
        let answer = self.router.clone().oneshot(request);
        tokio::time::timeout(PATIENCE, answer).await.expect("answers in time").expect("never fails")
    }

    /// One job, enqueued.
    pub(crate) async fn enqueue(&self, who: &As, body: Value) -> Value {
        self.post("/api/v1/jobs", who, &body).await.ok(201)
    }

    /// One job, leased: the lease's token.
    pub(crate) async fn lease(&self, who: &As, job_type: &str) -> String {
        let body = json!({"worker": "w", "types": [job_type]});
        let leases = self.post("/api/v1/leases", who, &body).await.ok(200);
        leases["leases"][0]["lease"].as_str().unwrap_or_else(|| panic!("no lease in {leases}")).to_owned()
    }

    pub(crate) async fn close(self) {
        self.app.stop(Duration::from_secs(5)).await;
        // A node beside another on a database has written nothing.
        if self.folder.exists() {
            std::fs::remove_dir_all(&self.folder).expect("the folder can go");
        }
    }
}

impl As {
    pub(crate) fn bearer(token: &str) -> Self {
        Self { token: token.to_owned(), tenant: None }
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// The same credential with the operator's header.
    pub(crate) fn naming(&self, tenant: &str) -> Self {
        Self { token: self.token.clone(), tenant: Some(tenant.to_owned()) }
    }
}

impl Answer {
    pub(crate) async fn of(response: Response) -> Self {
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        Self { status: parts.status, headers: parts.headers, body }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {:?}", self.body))
    }

    /// The body, where the status is this one.
    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", String::from_utf8_lossy(&self.body));
        if self.body.is_empty() { Value::Null } else { self.json() }
    }

    /// The problem's type, where the answer is one of this status.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16) -> String {
        let body = self.ok(status);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(body["status"], status);
        assert_eq!(body["request_id"].as_str(), self.headers["x-request-id"].to_str().ok(), "{body}");
        assert!(body["detail"].as_str().is_some_and(|d| d.len() > 10), "{body}");
        let uri = body["type"].as_str().expect("a type");
        uri.strip_prefix("urn:tidings:problem:").expect("one of ours").to_owned()
    }

    /// Status, headers and body without what differs from request to request.
    pub(crate) fn essence(&self) -> (u16, String, String) {
        let mut headers = self.headers.clone();
        let id = headers.remove("x-request-id").expect("a request id");
        // What is left of the asker's own quota falls with each request.
        headers.remove("ratelimit");
        let id = id.to_str().expect("text").to_owned();
        let body = String::from_utf8_lossy(&self.body).replace(&id, "<id>");
        (self.status.as_u16(), format!("{headers:?}"), body)
    }
}
