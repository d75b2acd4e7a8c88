use super::*;
use crate::config::{Off, Role, Span, StoreChoice};

fn file(text: &str) -> (tempdir::Dir, Sources) {
    let dir = tempdir::Dir::new();
    let path = dir.path().join("tidings.toml");
    std::fs::write(&path, text).expect("writable");
    (dir, Sources { file: Some(path), ..Sources::default() })
}

mod tempdir {
    /// A folder that goes with the test.
    pub(super) struct Dir(std::path::PathBuf);

    impl Dir {
        pub(super) fn new() -> Self {
            static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("tidings-config-{}-{n}", std::process::id()));
            std::fs::create_dir_all(&path).expect("writable");
            Self(path)
        }

        pub(super) fn path(&self) -> &std::path::Path {
            &self.0
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }
}

fn env(name: &str, value: &str) -> (String, String) {
    (name.into(), value.into())
}

fn error(sources: Sources) -> String {
    Loaded::load(sources).expect_err("must not load").to_string()
}

#[test]
fn flags_win_over_the_environment_and_that_over_the_file() {
    let (_dir, mut sources) = file("[limits]\nconnections = 1\nlag = 5\nbody_bytes = 100000\n");
    sources.env = vec![env("TIDINGS_LIMITS__CONNECTIONS", "2"), env("TIDINGS_LIMITS__LAG", "off")];
    sources.sets = vec!["limits.connections=3".into()];
    let loaded = Loaded::load(sources).expect("loads");
    assert_eq!(loaded.config.limits.connections, 3);
    assert_eq!(loaded.config.limits.lag, Off::OFF);
    assert_eq!(loaded.config.limits.body_bytes, 100_000);
    let origin =
        |key: &str| loaded.rows().into_iter().find(|r| r.key == key).expect("listed").origin.to_string();
    assert_eq!(origin("limits.connections"), "--set limits.connections");
    assert_eq!(origin("limits.lag"), "TIDINGS_LIMITS__LAG");
    assert!(origin("limits.body_bytes").ends_with("tidings.toml"));
    assert_eq!(origin("drain.timeout"), "default");
}

#[test]
fn a_limit_that_is_off_is_set_by_a_number() {
    let sources = Sources {
        env: vec![("TIDINGS_LIMITS__CONNECTIONS_PER_TENANT".into(), "70".into())],
        sets: vec!["limits.connections_per_user=off".into(), "limits.idle_timeout=off".into()],
        ..Sources::default()
    };
    let limits = Loaded::load(sources).expect("valid").config.limits;
    assert_eq!((limits.connections_per_tenant.0, limits.connections_per_user.0), (Some(70), None));
}

#[test]
fn only_a_double_underscore_makes_a_variable_ours() {
    let env = vec![env("TIDINGS_PORT", "tcp://10.0.0.1"), env("TIDINGS_TENANT", "acme"), env("PATH__X", "1")];
    let loaded = Loaded::load(Sources { env, ..Sources::default() }).expect("loads");
    assert_eq!(loaded.config, Config::default());
}

#[test]
fn a_mistake_is_named_with_its_place() {
    let message = error(Sources { env: vec![env("TIDINGS_LIMITS__CONECTIONS", "5")], ..Sources::default() });
    assert!(message.contains("limits.conections (from TIDINGS_LIMITS__CONECTIONS)"), "{message}");
    assert!(message.contains("unknown field"), "{message}");
    let message = error(Sources { sets: vec!["limits.connections=many".into()], ..Sources::default() });
    assert!(message.contains("--set limits.connections"), "{message}");
    let (_dir, sources) = file("[limits]\nlag = 0\n");
    let message = error(sources);
    assert!(message.contains("limits.lag (from "), "{message}");
    for key in ["webhooks.retry=3", "webhooks.retries=9", "limits.connections_per_adress=4", "nonsense=1"] {
        error(Sources { sets: vec![key.into()], ..Sources::default() });
    }
    let message = error(Sources { sets: vec!["server.store=mysql://x".into()], ..Sources::default() });
    assert!(message.contains("postgres://"), "{message}");
}

#[test]
fn a_limit_that_is_no_limit_is_told_what_one_is() {
    let shipped = as_table(&Config::default());
    let own = shipped["limits"].as_table().expect("a section").keys().map(|name| format!("limits.{name}"));
    let others = [
        "live.stall",
        "jobs.concurrency.embedding",
        "webhooks.rate_per_tenant",
        "webhooks.endpoints_per_tenant",
        "retention.dead_letters",
        "retention.dead_letters_per_endpoint",
    ];
    for key in own.chain(others.map(str::to_owned)) {
        for bad in ["true", "1.5", "-1", "[1]", "\"many\"", "{ most = 1 }"] {
            let (_dir, sources) = file(&format!("{key} = {bad}\n"));
            let message = error(sources);
            let says = ["a whole number", "a rate is a number", "a duration is a number"];
            assert!(message.contains(&key), "{key} = {bad}: {message}");
            assert!(says.iter().any(|form| message.contains(form)), "{key} = {bad}: {message}");
            assert!(!["usize", "u32", "u64"].iter().any(|name| message.contains(name)), "{message}");
        }
    }
    for (one, sentence) in [
        ("limits.connections=many", "must be a whole number from 1 to 10000000"),
        ("limits.connections=0", "must be a whole number from 1 to 10000000, not 0"),
        ("limits.connections=10000001", "must be a whole number from 1 to 10000000, not 10000001"),
        ("limits.connections_per_ip=-1", "must be a whole number from 1 to 10000000 (or off)"),
        ("limits.connections_per_ip=0", "must be a whole number from 1 to 10000000 (or off), not 0"),
        ("limits.lag=0", "must be a whole number of at least 1 (or off), not 0"),
        (
            "limits.upgrades_per_ip=10",
            "a rate is a number above zero and s, m or h, such as 10/s or 100/m (or off)",
        ),
        (
            "limits.requests_per_key=10",
            "a rate is a number above zero and s, m or h, such as 10/s or 100/m (or off)",
        ),
    ] {
        let message = error(set(&[one]));
        assert!(message.ends_with(&format!(": {sentence}")), "{one}: {message}");
    }
}

#[test]
fn what_the_server_would_refuse_of_an_issuer_is_refused_here() {
    let issuer = |algorithm: &str, material: &str| {
        file(&format!(
            "[[auth.issuers]]\nissuer = \"https://id\"\naudience = \"tidings\"\nalgorithms = [\"{algorithm}\"]\n\
             keys = [{{ algorithm = \"{algorithm}\", {material} }}]\n"
        ))
    };
    for (algorithm, material, why) in [
        ("HS256", "secret = \"hunter2\"", "shorter than 32 bytes"),
        ("HS256", "secret_file = \"/nonexistent/secret\"", "/nonexistent/secret: No such file"),
        ("ES256", "public_key = \"not a key\"", "no public key in PEM"),
    ] {
        let (_dir, sources) = issuer(algorithm, material);
        let message = error(sources);
        assert!(message.contains("auth.issuers") && message.contains(why), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
    let (_dir, sources) = file(
        "[[auth.issuers]]\nissuer = \"tidings\"\naudience = \"tidings\"\nalgorithms = [\"HS256\"]\n\
         keys = [{ algorithm = \"HS256\", secret = \"correct-horse-battery-staple-0001\" }]\n",
    );
    let message = error(sources);
    assert!(message.contains("this server's own name"), "{message}");
}

#[test]
fn an_unreadable_file_says_which_line_and_shows_no_value() {
    let (_dir, sources) = file("[server]\nmode = \"production\"\ntoken = hunter2\n");
    let message = error(sources);
    assert!(message.contains("line 3") && !message.contains("hunter2"), "{message}");
}

#[test]
fn secrets_are_masked() {
    let (_dir, sources) = file(
        "[[auth.issuers]]\nissuer = \"https://id\"\naudience = \"tidings\"\nalgorithms = [\"HS256\"]\n\
         keys = [{ algorithm = \"HS256\", secret = \"correct-horse-battery-staple-0001\" }]\n",
    );
    let loaded = Loaded::load(sources).expect("loads");
    let rows = loaded.rows();
    assert!(rows.iter().any(|r| r.value.contains("********")));
    assert!(!format!("{rows:?}{:?}", loaded.config).contains("correct-horse"));
}

const MASTER: &str = "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LXNlY3I";

fn set(pairs: &[&str]) -> Sources {
    Sources { sets: pairs.iter().map(|p| (*p).to_owned()).collect(), ..Sources::default() }
}

#[test]
fn passwords_and_master_keys_are_masked_wherever_they_come_from() {
    let (dir, mut sources) = file("[server]\nstore = \"postgres://ana:hunter2@db/x\"\n");
    std::fs::write(dir.path().join("redis"), "redis://:hunter2@r\n").expect("writable");
    sources.env = vec![env("TIDINGS_SECRETS__MASTER_KEY", MASTER)];
    sources.sets = vec!["webhooks.proxy=p:3128".into(), "webhooks.proxy_authorization=Basic hunter2".into()];
    let flag = |flag: &str, key: &str, value: String| (flag.to_owned(), key.to_owned(), value);
    sources.flags =
        vec![flag("--redis-file", "server.redis_file", dir.path().join("redis").display().to_string())];
    let loaded = Loaded::load(sources).expect("loads");
    let server = &loaded.config.server;
    assert!(matches!(server.store_choice(), Ok(StoreChoice::Postgres(_))));
    assert_eq!(server.redis.as_ref().expect("there").expose(), "redis://:hunter2@r");
    assert!(loaded.config.secrets.master_keys().expect("a key").is_some());
    let row = |key: &str| loaded.rows().into_iter().find(|r| r.key == key).expect("listed");
    assert_eq!(row("server.store").value, "\"postgres://ana:********@db/x\"");
    assert!(row("server.redis").origin.to_string().ends_with("/redis"));
    assert_eq!(row("secrets.master_key").value, "\"********\"");
    assert_eq!(row("secrets.master_key").origin.to_string(), "TIDINGS_SECRETS__MASTER_KEY");
    let shown = format!("{loaded:?} {:?}", loaded.rows());
    assert!(!shown.contains("hunter2") && !shown.contains(MASTER), "{shown}");
}

#[test]
fn a_secret_and_its_file_are_not_both_taken_and_no_mistake_quotes_one() {
    let (dir, _) = file("");
    let path = dir.path().join("secret");
    std::fs::write(&path, "postgres://ana:hunter2@db/x").expect("writable");
    let from_file = format!("server.store_file={}", path.display());
    let message = error(set(&[&from_file, "server.store=postgres://b:hunter2@db/x"]));
    assert!(message.contains("both given"), "{message}");
    Loaded::load(set(&[&from_file])).expect("one of them loads");
    for bad in [
        &["server.store=host=db password=hunter2"][..],
        &["server.store=postgres://ana:hunter2@db/x", "server.redis=http://:hunter2@r"],
        &["server.store=postgres://ana:hunter2@db/x", "secrets.master_key=hunter2"],
        &["secrets.master_key=22222222"],
        &["server.store_file=/nowhere/at/all"],
    ] {
        let message = error(set(bad));
        assert!(!message.contains("hunter2") && !message.contains("22222222"), "{message}");
    }
    let number = file("[secrets]\nmaster_key = 2.5\n");
    let message = error(number.1);
    assert!(message.contains("secrets.master_key") && !message.contains("2.5"), "{message}");
}

#[test]
fn the_embedded_store_is_one_servers_alone() {
    for bad in ["server.redis=redis://r", "server.roles=api", "server.roles=scheduler"] {
        assert!(error(set(&[bad])).contains("alone"), "{bad}");
    }
    let postgres = "server.store=postgres://db/x";
    let loaded = Loaded::load(set(&[postgres, "server.roles=scheduler"])).expect("loads");
    assert!(loaded.config.server.has_role(Role::Scheduler) && !loaded.config.server.has_role(Role::Api));
    for bad in ["server.roles=", "server.roles=cook"] {
        assert!(error(set(&[postgres, bad])).contains("server.roles"), "{bad}");
    }
}

#[test]
fn what_is_printed_loads_again_to_the_same() {
    let mut config = Config::default();
    config.retention.age = Off::OFF;
    config.drain.timeout = Span::secs(7);
    let (_dir, sources) = file(&toml::to_string(&config).expect("writes"));
    assert_eq!(Loaded::load(sources).expect("loads").config, config);
}

#[test]
fn a_list_in_the_environment_is_commas_or_toml() {
    for text in ["https://a.example, https://b.example", "[\"https://a.example\",\"https://b.example\"]"] {
        let sources = Sources { env: vec![env("TIDINGS_CORS__ORIGINS", text)], ..Sources::default() };
        let loaded = Loaded::load(sources).expect("loads");
        assert_eq!(loaded.config.cors.origins, ["https://a.example", "https://b.example"]);
    }
    for bad in ["*", "https://a.example/", "a.example", "https://A.example", "https://*.example"] {
        error(Sources { env: vec![env("TIDINGS_CORS__ORIGINS", bad)], ..Sources::default() });
    }
}

#[test]
fn the_notice_of_a_stop_leaves_streams_half_of_its_time() {
    let at = |notice: &'static str| [notice, "drain.timeout=10s"];
    Loaded::load(set(&at("drain.notice=5s"))).expect("loads");
    let message = error(set(&at("drain.notice=5001ms")));
    assert!(message.contains("drain.notice") && message.contains("half of drain.timeout"), "{message}");
}

#[test]
fn requests_in_flight_leave_places_of_the_listener() {
    let load = |sets: &[&str]| Loaded::load(set(sets)).map(|loaded| loaded.config.limits);
    let shipped = load(&[]).expect("valid");
    assert!(shipped.requests_in_flight < shipped.listener_connections);
    let message = error(set(&["limits.requests_in_flight=4096"]));
    assert!(message.contains("limits.requests_in_flight (from --set"), "{message}");
    assert!(message.contains("less than limits.listener_connections, which is 4096"), "{message}");
    let both = ["limits.requests_in_flight=10000", "limits.listener_connections=12000"];
    assert_eq!(load(&both).expect("valid").requests_in_flight, 10_000);
    assert!(load(&["limits.listener_connections=3072"]).is_err(), "beside what is shipped");
}

#[test]
fn what_a_request_may_be_has_bounds_itself() {
    for beyond in [
        "url_bytes=65535",
        "url_bytes=255",
        "head_bytes=4095",
        "head_bytes=1048577",
        "head_fields=15",
        "head_fields=1001",
        "json_depth=0",
        "json_depth=65",
        "listener_connections=1",
        "listener_connections_per_ip=0",
        "new_tenants=0/s",
    ] {
        let message = error(set(&[&format!("limits.{beyond}")]));
        let key = beyond.split('=').next().expect("a key");
        assert!(message.contains(&format!("limits.{key}")), "{message}");
    }
    let lifted = ["limits.listener_connections_per_ip=off", "limits.new_tenants=off"];
    let limits = Loaded::load(set(&lifted)).expect("valid").config.limits;
    assert_eq!((limits.listener_connections_per_ip, limits.new_tenants), (Off::OFF, Off::OFF));
}
