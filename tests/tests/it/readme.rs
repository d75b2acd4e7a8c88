//! README's lines, as a newcomer types them: each of its shell blocks is run against the binary.

use std::{
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use tidings_tests::{Server, server, wait};

/// Real work for every document: longer than one thing takes elsewhere.
const PATIENCE: Duration = Duration::from_mins(2);

/// A checkout with a server beside it, as `make run` leaves them.
struct Newcomer {
    server: Server,
    home: PathBuf,
    /// What `TOKEN=…` lines have set.
    token: Option<String>,
}

/// A command that goes on until it is dropped, with all that it started.
struct Running {
    child: Child,
    out: PathBuf,
}

impl Newcomer {
    fn arrive() -> Self {
        let server = Server::plain();
        let home = server.scratch().join("checkout");
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        for folder in ["docs", "examples"] {
            server::copy_folder(&root.join(folder), &home.join(folder));
        }
        for file in ["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md"] {
            fs::copy(root.join(file), home.join(file)).expect("a document can be copied");
        }
        fs::create_dir_all(home.join("target/release")).expect("a folder can be made");
        let link = |from: &Path, to: &str| {
            std::os::unix::fs::symlink(from, home.join(to)).expect("a link can be made");
        };
        link(&server::binary(), "target/release/tidings");
        link(&server.data(), "data");
        Self { server, home, token: None }
    }

    /// README's address is where the server is by default; this one is elsewhere.
    fn here(&self, line: &str) -> String {
        line.replace("127.0.0.1:3000", &self.server.addr.to_string())
    }

    fn shell(&self, line: &str) -> Command {
        let mut command = Command::new("bash");
        let mark = self.server.scratch().file_name().expect("it has a name");
        let path = format!("{}/target/release:{}", self.home.display(), std::env::var("PATH").expect("set"));
        command.arg("-euc").arg(self.here(line)).current_dir(&self.home).env("TIDINGS_TEST_RUN", mark);
        command.env("PATH", path).stdin(Stdio::null());
        for name in ["TIDINGS_URL", "TIDINGS_TOKEN", "TIDINGS_TENANT"] {
            command.env_remove(name);
        }
        command.envs(self.token.as_ref().map(|token| ("TOKEN", token)));
        command
    }

    /// A line that ends by itself; what it prints.
    fn run(&self, line: &str) -> String {
        let output = self.shell(line).output().expect("bash runs");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{line}\n{}\n{err}", output.status);
        String::from_utf8(output.stdout).expect("text")
    }

    fn start(&self, line: &str) -> Running {
        let out = self.server.scratch().join(format!("out-{}", line.len()));
        let file = fs::File::create(&out).expect("a file can be made");
        let mut command = self.shell(line);
        command.stdout(file.try_clone().expect("a descriptor is free")).stderr(file).process_group(0);
        Running { child: command.spawn().expect("bash runs"), out }
    }

    fn set_token(&mut self, line: &str) {
        let made = line.strip_prefix("TOKEN=$(").and_then(|rest| rest.strip_suffix(')'));
        self.token = Some(self.run(made.expect("README makes its token so")).trim().to_owned());
    }

    fn documents(&self) -> usize {
        self.run("find . -name '*.md' -not -path './target/*'").lines().count()
    }
}

impl Running {
    fn text(&self) -> String {
        fs::read_to_string(&self.out).expect("it is there")
    }

    #[track_caller]
    fn until(&self, what: &str, mut look: impl FnMut(&str) -> bool) -> String {
        let mut last = String::new();
        let found = wait::is_true_within(PATIENCE, || {
            last = self.text();
            look(&last)
        });
        assert!(found, "waited {PATIENCE:?} in vain for: {what}\n{last}");
        last
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
        let _ = self.child.wait();
    }
}

/// The shell blocks of README up to its table of documents, a line each; a line that ends with a
/// backslash goes on.
fn blocks() -> Vec<Vec<String>> {
    let text = include_str!("../../../README.md");
    let text = text.split("\n| to read").next().expect("there is a first part");
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().expect("it ends"));
    blocks
        .map(|block| {
            let joined = block.replace("\\\n", " ");
            let lines =
                joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
            lines.map(str::to_owned).collect()
        })
        .collect()
}

/// The numbers at the start of a watcher's lines.
fn numbers(text: &str) -> Vec<u64> {
    text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()).collect()
}

#[test]
fn readmes_lines_do_what_readme_says() {
    let mut newcomer = Newcomer::arrive();
    let blocks = blocks();
    let [make, work, curl, watchers, own, used] = &blocks[..] else { panic!("{blocks:#?}") };
    assert_eq!(make[..], ["make run"]);
    let [path, tail, worker, enqueue] = &work[..] else { panic!("{work:#?}") };
    assert_eq!(path, "export PATH=$PWD/target/release:$PATH");

    let tail = newcomer.start(tail);
    tail.until("the watcher to be connected", |text| text.contains("connected"));
    let _worker = newcomer.start(worker);
    newcomer.run(enqueue);
    let count = newcomer.documents();
    assert!(count > 10, "{count} documents");
    let text =
        tail.until("every document to be indexed", |text| text.matches(" job.completed ").count() == count);
    let first: Vec<_> =
        text.lines().find(|l| l.contains("job.queued")).expect("told").split_whitespace().collect();
    assert!(matches!(first[..], ["1", _, "job.queued", "index", _]), "{first:?}");
    assert!(text.contains("░░  10%") || text.contains("░  10%"), "progress is drawn: {text}");

    let [token, curl] = &curl[..] else { panic!("{curl:#?}") };
    newcomer.set_token(token);
    let curl = newcomer.start(curl);
    let text = curl
        .until("the first event over SSE", |text| text.matches("\nevent: job.completed\n").count() == count);
    assert!(text.contains(":1\nevent: job.queued\ndata: {\"seq\":1,"), "{text}");

    let [script, tail_json] = &watchers[..] else { panic!("{watchers:#?}") };
    let script = newcomer.start(&format!("{script} http://127.0.0.1:3000"));
    let tail_json = newcomer.start(tail_json);
    // It follows from its first connection on: before that there is nothing for it to go on from.
    script.until("the script to be connected", |text| text.contains("stream.open"));
    let lines = tail_json
        .until("the same over WebSocket", |text| text.matches("\"type\":\"job.completed\"").count() == count);
    // Byte for byte what SSE carried.
    let sse = curl.text();
    for line in lines.lines().filter(|line| line.starts_with('{')) {
        assert!(sse.contains(&format!("data: {line}\n")), "{line}");
    }

    newcomer.server.kill();
    newcomer.server.resume();
    let [index, publish] = &own[..] else { panic!("{own:#?}") };
    let index = newcomer.run(index);
    assert_eq!(index.lines().filter(|line| line.contains(" words  ")).count(), count, "{index}");
    newcomer.run(publish);
    for watcher in [&tail, &tail_json, &script] {
        watcher.until("what was published after the restart", |text| text.contains("note.created"));
    }
    let seen = numbers(&tail.text());
    assert!(seen.iter().copied().eq(1..=seen.len() as u64), "no number is missing or doubled: {seen:?}");

    let [enqueue, page] = &used[..] else { panic!("{used:#?}") };
    let answers = [newcomer.run(enqueue), newcomer.run(enqueue)];
    assert_eq!(answers[0], answers[1], "a repeat under the same key returns the first answer");
    let job: Value = serde_json::from_str(&answers[0]).expect("a job");
    assert_eq!((&job["type"], &job["subject"]), (&"embedding".into(), &"note/42".into()), "{job}");
    let page: Value = serde_json::from_str(&newcomer.run(page)).expect("a page");
    assert_eq!(page["events"][0]["seq"], 1);
}
