use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

const PATIENCE: Duration = Duration::from_secs(30);

/// A server in a folder of its own; dropping it kills it and whatever was started beside it.
pub(crate) struct Server {
    folder: tempfile::TempDir,
    process: Child,
    url: String,
}

impl Server {
    /// `settings` are further `key=value`.
    pub(crate) fn start(settings: &[&str]) -> Self {
        Self::start_with(settings, &[])
    }

    /// With variables in its environment.
    pub(crate) fn start_with(settings: &[&str], environment: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (process, url) = serve(folder.path(), "127.0.0.1:0", settings, environment);
        Self { folder, process, url }
    }

    /// Kills it and starts it again on the same folder and port.
    pub(crate) fn restart(&mut self, settings: &[&str]) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
        std::fs::remove_file(self.data().join("server.json")).expect("left by the killed server");
        let listen = self.url.trim_start_matches("http://").to_owned();
        (self.process, self.url) = serve(self.folder.path(), &listen, settings, &[]);
    }

    /// Lets it end in order.
    pub(crate) fn stop(&mut self) {
        signal("TERM", self.process.id());
        self.process.wait().expect("it ends");
    }

    /// After [`Server::stop`].
    pub(crate) fn start_again(&mut self, settings: &[&str]) {
        (self.process, self.url) = serve(self.folder.path(), "127.0.0.1:0", settings, &[]);
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Where operators' programs ask.
    pub(crate) fn ops_url(&self) -> String {
        let text = std::fs::read(self.data().join("server.json")).expect("it runs");
        let bound: serde_json::Value = serde_json::from_slice(&text).expect("JSON");
        bound["ops_url"].as_str().expect("it has one").to_owned()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = tidings(self.folder.path());
        command.args(args);
        command
    }

    /// Runs a client command to its end.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).stdin(Stdio::null()).output().expect("it runs")
    }

    /// Its stdout; it must succeed.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(output.status.success(), "{args:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
        text
    }

    /// The same, with something on stdin.
    pub(crate) fn ok_with(&self, args: &[&str], stdin: &str) -> String {
        let mut child =
            self.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it runs");
        child.stdin.take().expect("piped").write_all(stdin.as_bytes()).expect("it reads");
        let output = child.wait_with_output().expect("it ends");
        assert!(output.status.success(), "{args:?}");
        String::from_utf8(output.stdout).expect("text")
    }

    pub(crate) fn job(&self, id: &str) -> serde_json::Value {
        serde_json::from_str(&self.ok(&["jobs", "show", id])).expect("JSON")
    }

    pub(crate) fn enqueue(&self, job_type: &str) -> String {
        self.ok(&["jobs", "enqueue", job_type]).trim().to_owned()
    }

    /// The types of a job's events.
    pub(crate) fn story(&self, id: &str) -> Vec<String> {
        let events = self.ok(&["jobs", "events", id, "--json"]);
        let kind =
            |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON")["type"].clone();
        events.lines().map(|line| kind(line).as_str().expect("text").to_owned()).collect()
    }

    pub(crate) fn wait_for_state(&self, id: &str, state: &str) -> serde_json::Value {
        eventually(&format!("{id} is {state}"), || Some(self.job(id)).filter(|job| job["state"] == state))
    }

    /// A worker that runs `script` with sh for each job of `job_type`.
    pub(crate) fn worker(&self, job_type: &str, script: &str) -> Running {
        let args = ["work", "--type", job_type, "--grace", "2s", "--", "sh", "-c", script];
        Running(self.command(&args).stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it runs"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A process that is killed when the test is over.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn terminate(&mut self) -> std::process::ExitStatus {
        signal("TERM", self.0.id());
        self.0.wait().expect("it ends")
    }

    pub(crate) fn kill(&mut self) {
        self.0.kill().expect("it runs");
        self.0.wait().expect("it ends");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn signal(name: &str, pid: u32) {
    let status = Command::new("sh").args(["-c", &format!("kill -{name} {pid}")]).status().expect("it runs");
    assert!(status.success());
}

/// Whether a process runs; one that is dead and not yet waited for does not.
pub(crate) fn is_alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim())).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

/// Asks until there is an answer, for as long as it is reasonable.
pub(crate) fn eventually<T>(what: &str, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = answer() {
            return answer;
        }
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// The binary with nothing of this environment that would change what it does.
pub(crate) fn tidings(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidings"));
    command.current_dir(folder);
    for name in ["TIDINGS_URL", "TIDINGS_TOKEN", "TIDINGS_TENANT", "TIDINGS_CONFIG", "TIDINGS_SERVER__DATA"] {
        command.env_remove(name);
    }
    command
}

fn serve(folder: &Path, listen: &str, settings: &[&str], environment: &[(&str, &str)]) -> (Child, String) {
    let log = std::fs::File::create(folder.join("log")).expect("a file");
    let mut command = tidings(folder);
    command.args(["serve", "--listen", listen, "--ops-listen", "127.0.0.1:0"]);
    command.envs(environment.iter().copied());
    for setting in settings {
        command.args(["--set", setting]);
    }
    let mut process =
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("it runs");
    let url = eventually("the server listens", || {
        let ended = process.try_wait().expect("asks");
        assert!(ended.is_none(), "{}", std::fs::read_to_string(folder.join("log")).unwrap_or_default());
        let text = std::fs::read(folder.join("data/server.json")).ok()?;
        let bound: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some(bound["url"].as_str()?.to_owned())
    });
    (process, url)
}
