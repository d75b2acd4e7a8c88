//! The transactional outbox from outside: the programs of `examples/outbox`, which `docs/outbox.md` quotes.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::{Value, json};

use crate::{
    cluster::{POSTGRES, Settings, until},
    site::Site,
};

/// A table of the user's, in which a note without words is found out at the commit, when all has been said.
const NOTES: &str = "
    CREATE TABLE notes (id bigint PRIMARY KEY, body text NOT NULL);
    CREATE FUNCTION has_words() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF NEW.body = '' THEN RAISE 'a note has words'; END IF;
        RETURN NULL;
    END $$;
    CREATE CONSTRAINT TRIGGER has_words AFTER UPDATE ON notes DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION has_words();
    CREATE ROLE writer LOGIN;
    GRANT SELECT, UPDATE ON notes TO writer;
    SELECT tidings.allow('writer', 'acme');";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the repository is there")
}

/// The examples, to be run with an id and a body.
fn programs(folder: &Path) -> Vec<Command> {
    let (peers, examples) = (root().join("target"), root().join("examples/outbox"));
    let installed = |path: &str| {
        let path = peers.join(path);
        assert!(path.exists(), "{} is missing; run: scripts/prepare test", path.display());
        path
    };
    let mut python = Command::new(installed("peers/bin/python"));
    python.arg(examples.join("note.py"));
    // Where Node looks for packages: beside the script.
    fs::create_dir_all(folder).expect("a folder can be made");
    installed("peers-node/node_modules/pg");
    symlink(installed("peers-node/node_modules"), folder.join("node_modules")).expect("a link can be made");
    fs::copy(examples.join("note.mjs"), folder.join("note.mjs")).expect("the example is there");
    let mut node = Command::new("node");
    node.arg(folder.join("note.mjs"));
    vec![python, node, Command::new(installed("peers-rust/debug/outbox-example"))]
}

fn psql(url: &str, id: usize, body: &str) -> Command {
    let mut psql = Command::new("psql");
    psql.args([url, "-X", "-v", "ON_ERROR_STOP=1", "-v", &format!("id={id}"), "-v", &format!("body={body}")]);
    psql.arg("-f").arg(root().join("examples/outbox/note.sql"));
    psql
}

/// Whether it ended well, and what it said.
fn run(mut command: Command) -> (bool, String) {
    let output = command.output().unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()));
    (output.status.success(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[tokio::test]
async fn what_the_examples_commit_is_told_and_what_they_roll_back_is_not() {
    let settings = Settings::fresh();
    let one = Site::with(&settings.list()).await;
    let url = settings.url().replace("//postgres@", "//writer@");
    POSTGRES.psql(settings.database(), NOTES);
    let count = programs(&one.folder().join("node-0")).len() + 1;
    let mut expected = Vec::new();
    for id in 0..count {
        POSTGRES.psql(settings.database(), &format!("INSERT INTO notes VALUES ({id}, 'old')"));
        for (attempt, body) in ["", "three words here"].into_iter().enumerate() {
            let command = if id == 0 {
                psql(&url, id, body)
            } else {
                let folder = one.folder().join(format!("node-{id}-{attempt}"));
                let mut command = programs(&folder).swap_remove(id - 1);
                command.args([&id.to_string(), body]).env("DATABASE_URL", &url);
                command
            };
            let (committed, said) = run(command);
            assert_eq!(committed, !body.is_empty(), "{said}");
            assert!(committed || said.contains("a note has words"), "it was the commit that failed: {said}");
        }
        expected.push(json!(["note.changed", format!("note/{id}"), {"words": 3}]));
        expected.push(json!(["job.queued", null, {"note": id}]));
    }
    let who = one.operator("acme");
    let told = async || match one.get("/api/v1/events?limit=100", &who).await {
        page if page.status == 200 => page.json()["events"].as_array().cloned().unwrap_or_default(),
        _ => Vec::new(),
    };
    // They are moved in their order: with the last one there, all are.
    until("all events are there", async || told().await.len() >= expected.len()).await;
    let mut seen = Vec::new();
    for event in told().await {
        let mut data = event["data"].clone();
        if event["type"] == "job.queued" {
            let job = event["job_id"].as_str().unwrap_or_else(|| panic!("a job in {event}"));
            data = one.get(&format!("/api/v1/jobs/{job}"), &who).await.ok(200)["payload"].clone();
        }
        seen.push(json!([event["type"], event.get("subject").unwrap_or(&Value::Null), data]));
    }
    assert_eq!(seen, expected);
    one.close().await;
}

#[test]
fn the_page_quotes_the_examples() {
    let read = |path: &str| fs::read_to_string(root().join(path)).expect("it is there");
    let page = read("docs/outbox.md");
    for (title, file) in [
        ("From psql", "note.sql"),
        ("From Rust, with sqlx", "rust/src/main.rs"),
        ("From Python, with psycopg", "note.py"),
        ("From Node, with node-postgres", "note.mjs"),
    ] {
        let (_, section) = page.split_once(&format!("## {title}\n")).expect("it has its section");
        let section = section.split("\n## ").next().expect("it begins");
        let program = read(&format!("examples/outbox/{file}"));
        let program = trimmed(&program);
        let blocks = section.split("\n\n").map(trimmed).filter(|block| !block.is_empty());
        for block in blocks {
            assert!(program.windows(block.len()).any(|lines| lines == block), "{file} has not {block:#?}");
        }
    }
}

fn trimmed(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect()
}
