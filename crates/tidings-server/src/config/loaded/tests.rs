use super::*;
use crate::config::{Off, Span};

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
    for key in ["webhooks.retries=3", "server.redis=redis://x", "limits.connections_per_ip=4", "nonsense=1"] {
        error(Sources { sets: vec![key.into()], ..Sources::default() });
    }
    let message = error(Sources { sets: vec!["server.store=postgres://x".into()], ..Sources::default() });
    assert!(message.contains("sqlite"), "{message}");
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
