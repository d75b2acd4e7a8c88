//! The real binary as a private child process.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use tidings_testkit::{Netns, Port};
pub use tidings_testkit::{is_alive, signal};

use crate::{
    Api,
    wait::{self, LONG},
};

/// Everything a tenant's own backend may do.
pub const ALL_SCOPES: &str =
    "jobs:read:all jobs:write jobs:work events:read events:publish events:detail keys:manage";

/// A test's clients are one user at one address: what limits those is on only where a test sets it.
const ROOMY: [&str; 11] = [
    "limits.connections_per_ip=off",
    "limits.upgrades_per_ip=off",
    "limits.connections_per_user=off",
    "limits.requests_per_tenant=off",
    "limits.requests_per_key=off",
    "limits.publishes_per_tenant=off",
    "limits.publishes_per_key=off",
    "limits.enqueues_per_tenant=off",
    "limits.enqueues_per_key=off",
    "limits.bytes_per_tenant=off",
    "limits.bytes_per_key=off",
];

/// How to start it.
#[derive(Debug, Clone, Default)]
pub struct ServerOptions {
    set: Vec<String>,
    args: Vec<String>,
    env: Vec<(String, String)>,
    netns: Option<Arc<Netns>>,
    shipped: bool,
    passed: Option<Arc<Passed>>,
}

/// Sockets that the test has bound, and passes to each process as systemd does.
#[derive(Debug)]
struct Passed {
    http: TcpListener,
    ops: Option<TcpListener>,
    names: String,
}

impl Passed {
    /// The command `program` with them as descriptors 3 and 4. The shell is what becomes the program, so that its process id is known in time.
    fn command(&self, program: &Path) -> Command {
        const ONE: &str = "exec 3<&0 0</dev/null 1>&2";
        const TWO: &str = "exec 3<&0 0</dev/null 4>&1 1>&2";
        let (move_them, count) = if self.ops.is_some() { (TWO, 2) } else { (ONE, 1) };
        let names =
            if self.names.is_empty() { String::new() } else { format!("LISTEN_FDNAMES={}", self.names) };
        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(format!(r#"{move_them}; export LISTEN_PID=$$ LISTEN_FDS={count} {names}; exec "$0" "$@""#));
        command.arg(program);
        command
    }

    fn pass_to(&self, command: &mut Command) {
        let descriptor =
            |socket: &TcpListener| OwnedFd::from(socket.try_clone().expect("a descriptor is free"));
        command.stdin(descriptor(&self.http));
        if let Some(ops) = &self.ops {
            command.stdout(descriptor(ops));
        }
    }
}

impl ServerOptions {
    pub fn new() -> Self {
        Self::default()
    }

    /// A configuration key, as `--set` takes it.
    #[must_use]
    pub fn set(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.set.push(format!("{key}={value}"));
        self
    }

    /// All limits are as they are shipped, but for those that are set.
    #[must_use]
    pub const fn as_shipped(mut self) -> Self {
        self.shipped = true;
        self
    }

    #[must_use]
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// A variable of every command's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// It runs in this network, and listens on its inside.
    #[must_use]
    pub fn inside(mut self, netns: &Arc<Netns>) -> Self {
        self.netns = Some(Arc::clone(netns));
        self
    }

    /// It is passed these listening sockets, by these names (`LISTEN_FDNAMES`; empty: none), and binds none itself in their place.
    #[must_use]
    pub fn passed(mut self, http: TcpListener, ops: Option<TcpListener>, names: &str) -> Self {
        self.passed = Some(Arc::new(Passed { http, ops, names: names.to_owned() }));
        self
    }

    fn ip(&self) -> Ipv4Addr {
        self.netns.as_ref().map_or(Ipv4Addr::LOCALHOST, |netns| netns.inside())
    }

    pub fn start(self) -> Server {
        Server::start(self)
    }
}

/// A server with its folder. Dropping it ends the process, removes the folder, and asserts that
/// neither it nor anything it started is left.
#[derive(Debug)]
pub struct Server {
    scratch: Scratch,
    options: ServerOptions,
    port: Arc<Port>,
    /// The administrator's key, where another node's folder has it.
    admin_key: OnceLock<String>,
    child: Option<Child>,
    pub addr: SocketAddr,
    pub ops_addr: SocketAddr,
    tokens: Mutex<BTreeMap<[String; 4], String>>,
}

impl Server {
    pub fn start(options: ServerOptions) -> Self {
        Self::start_at(Arc::new(Port::claim()), options)
    }

    /// Another process with the same options on the same port, which both share, and with a folder of its own.
    #[must_use]
    pub fn successor(&self) -> Self {
        let next = Self::start_at(Arc::clone(&self.port), self.options.clone());
        next.know_admin_key(&self.admin_key());
        next
    }

    fn start_at(port: Arc<Port>, options: ServerOptions) -> Self {
        let nowhere = port.addr();
        let mut server = Self {
            scratch: Scratch::new(),
            options,
            port,
            admin_key: OnceLock::new(),
            child: None,
            addr: nowhere,
            ops_addr: nowhere,
            tokens: Mutex::default(),
        };
        server.resume();
        server
    }

    /// With every default.
    pub fn plain() -> Self {
        Self::start(ServerOptions::new())
    }

    /// Starts a server that was killed or stopped, on the same folder and port, and waits until it is ready.
    ///
    /// # Panics
    /// When it exits or is not ready in time; its log is shown.
    pub fn resume(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let announcement = self.data().join("server.json");
        let _ = fs::remove_file(&announcement);
        let log =
            fs::File::options().create(true).append(true).open(self.log_path()).expect("the log file opens");
        let ip = self.options.ip();
        let roomy: &[&str] = if self.options.shipped { &[] } else { &ROOMY };
        let mut command = match (&self.options.netns, &self.options.passed) {
            (Some(netns), _) => self.mark(netns.command(binary())),
            (None, Some(passed)) => self.mark(passed.command(&binary())),
            (None, None) => self.mark(Command::new(binary())),
        };
        command
            .args(["serve", "--listen", &format!("{ip}:{}", self.port.number())])
            .args(["--ops-listen", "127.0.0.1:0", "--data"])
            .arg(self.data())
            .args(roomy.iter().flat_map(|s| ["--set", s]))
            .args(self.options.set.iter().flat_map(|s| ["--set", s]))
            .args(&self.options.args)
            .stdout(log.try_clone().expect("a descriptor is free"))
            .stderr(log);
        if let Some(passed) = &self.options.passed {
            passed.pass_to(&mut command);
        }
        self.child = Some(command.spawn().expect("tidings starts"));
        let url = |v: &Value, key: &str| {
            v[key].as_str().and_then(|u| u.strip_prefix("http://")?.trim_end_matches('/').parse().ok())
        };
        let found = wait::until("the server to be ready", LONG, || {
            let child = self.child.as_mut().expect("it was just started");
            if let Some(status) = child.try_wait().expect("a child can be asked") {
                panic!("the server exited with {status}:\n{}", self.log());
            }
            let text = fs::read(&announcement).ok()?;
            let value = serde_json::from_slice::<Value>(&text).ok()?;
            let addrs = url(&value, "url").zip(url(&value, "ops_url"))?;
            let ready = Api::anonymous(addrs.0).get("/health/ready").ok()?;
            (ready.status == 200).then_some(addrs)
        });
        (self.addr, self.ops_addr) = found;
    }

    /// Replaces the options that the next [`Server::resume`] starts with.
    pub fn set_options(&mut self, options: ServerOptions) {
        self.options = options;
    }

    /// A command of the binary, marked as ours.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.mark(Command::new(binary()));
        command.args(args);
        command
    }

    fn mark(&self, mut command: Command) -> Command {
        command.stdin(Stdio::null()).env("TIDINGS_TEST_RUN", &self.scratch.name);
        command.env_remove("TIDINGS_URL").env_remove("TIDINGS_TOKEN").env_remove("TIDINGS_TENANT");
        command.envs(self.options.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// A command of the binary that finds this server and acts with `token`.
    pub fn client_command(&self, token: &str, args: &[&str]) -> Command {
        let mut command = self.command(args);
        command.env("TIDINGS_URL", format!("http://{}", self.addr)).env("TIDINGS_TOKEN", token);
        command
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it can be waited for");
    }

    /// SIGTERM, without waiting.
    pub fn terminate(&self) {
        signal(self.pid(), "TERM");
    }

    /// Waits for its own end.
    pub fn wait_exit(&mut self, within: Duration) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        wait::until("the server to exit", within, || child.try_wait().expect("a child can be asked"))
    }

    /// SIGTERM, and waits for an orderly end.
    ///
    /// # Panics
    /// When it exits with anything but success.
    pub fn stop(&mut self) {
        self.terminate();
        let status = self.wait_exit(LONG);
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub fn data(&self) -> PathBuf {
        self.scratch.path.join("data")
    }

    /// A folder of this server's own, beside its data.
    pub fn scratch(&self) -> &Path {
        &self.scratch.path
    }

    fn log_path(&self) -> PathBuf {
        self.scratch.path.join("server.log")
    }

    /// Everything that it has written so far, over all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    /// The administrator key of the first start.
    pub fn admin_key(&self) -> String {
        self.own_admin_key()
            .or_else(|| self.admin_key.get().cloned())
            .expect("the first start made admin.key")
    }

    /// The one in its own folder: of several nodes, one has it.
    pub fn own_admin_key(&self) -> Option<String> {
        Some(fs::read_to_string(self.data().join("admin.key")).ok()?.trim().to_owned())
    }

    /// Tells it the key that another node made.
    pub fn know_admin_key(&self, key: &str) {
        self.admin_key.get_or_init(|| key.to_owned());
    }

    pub fn anonymous(&self) -> Api {
        Api::anonymous(self.addr)
    }

    /// The operator, acting for no tenant.
    pub fn admin(&self) -> Api {
        self.anonymous().with_token(self.admin_key())
    }

    /// The operator, acting for `tenant`.
    pub fn admin_for(&self, tenant: &str) -> Api {
        Api { tenant: Some(tenant.to_owned()), ..self.admin() }
    }

    /// A token from `tidings token`.
    pub fn token(&self, tenant: &str, user: &str, scopes: &str, ttl: &str) -> String {
        let data = self.data();
        let output = self
            .command(&[
                "token",
                "--data",
                &data.to_string_lossy(),
                "--tenant",
                tenant,
                "--scope",
                scopes,
                "--ttl",
                ttl,
            ])
            .args(["--user", user])
            .output()
            .expect("tidings token runs");
        assert!(output.status.success(), "tidings token: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }

    /// `user` of `tenant`, for an hour. The tenant is not made.
    pub fn user(&self, tenant: &str, user: &str, scopes: &str) -> Api {
        let wanted = [tenant, user, scopes, "1h"].map(str::to_owned);
        let mut tokens = self.tokens.lock().expect("no holder panics");
        let token = tokens.entry(wanted).or_insert_with(|| self.token(tenant, user, scopes, "1h"));
        self.anonymous().with_token(token.clone())
    }

    /// Makes `tenant`, and gives its backend's credential: [`ALL_SCOPES`].
    pub fn tenant(&self, tenant: &str) -> Api {
        let reply =
            self.admin().post("/api/v1/tenants", &serde_json::json!({ "id": tenant })).expect("answers");
        assert!(matches!(reply.status, 200 | 201), "{} {}", reply.status, reply.text());
        self.user(tenant, "backend", ALL_SCOPES)
    }

    /// A number on `/metrics`, summed over the labels that contain `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> Option<f64> {
        self.scrape().get(name, labels)
    }

    /// All of `/metrics`.
    pub fn scrape(&self) -> Scrape {
        Scrape(Api::anonymous(self.ops_addr).get("/metrics").expect("metrics answer").expect(200).text())
    }

    /// What it has in memory, in bytes.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        kib.expect("the kernel says so") * 1_024
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            let log = self.log();
            let tail: Vec<_> = log.lines().rev().take(40).collect();
            let _ = writeln!(io::stderr(), "-- the server's last lines:");
            for line in tail.iter().rev() {
                let _ = writeln!(io::stderr(), "{line}");
            }
            return;
        }
        let name = self.scratch.name.clone();
        wait::until_true("all processes of the test to end", LONG, || left_behind(&name).is_empty());
    }
}

/// What `/metrics` said at one moment.
#[derive(Debug, Clone)]
pub struct Scrape(String);

impl Scrape {
    /// A number, summed over the labels that contain `labels`.
    pub fn get(&self, name: &str, labels: &str) -> Option<f64> {
        let matching = self.0.lines().filter_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (labelled, value) = rest.rsplit_once(' ')?;
            (labelled.is_empty() || labelled.starts_with('{')).then_some(())?;
            labelled.contains(labels).then(|| value.parse::<f64>().ok())?
        });
        matching.reduce(|a, b| a + b)
    }
}

/// Processes that carry our mark.
fn left_behind(mark: &str) -> Vec<u32> {
    let wanted = format!("TIDINGS_TEST_RUN={mark}\0");
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    let ours = processes.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let environment = fs::read(entry.path().join("environ")).ok()?;
        environment.windows(wanted.len()).any(|w| w == wanted.as_bytes()).then_some(pid)
    });
    ours.collect()
}

/// The binary under test: `TIDINGS_BIN`, else the one that cargo built beside this test.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("TIDINGS_BIN") {
        return path.into();
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    let path = test.ancestors().nth(2).expect("target/<profile>/deps/<test>").join("tidings");
    assert!(path.exists(), "{} is missing; run: cargo build -p tidings-cli", path.display());
    path
}

/// A folder that goes with its owner.
#[derive(Debug)]
struct Scratch {
    path: PathBuf,
    name: String,
}

impl Scratch {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("tidings-test-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = std::env::temp_dir().join(&name);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("the temporary folder can be written");
        Self { path, name }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let removed = fs::remove_dir_all(&self.path);
        if !thread::panicking() {
            removed.expect("the test's folder can be removed");
        }
    }
}

/// Copies a folder's plain files, as an operator restores a backup.
pub fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("the copy's folder can be made");
    for entry in fs::read_dir(from).expect("the folder can be read").flatten() {
        let kind = entry.file_type().expect("an entry has a kind");
        if kind.is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()));
        } else if kind.is_file() {
            fs::copy(entry.path(), to.join(entry.file_name())).expect("a file can be copied");
        }
    }
}
