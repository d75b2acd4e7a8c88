//! Redis or Valkey, keeping nothing: a restart is empty.

mod cluster;

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, MutexGuard, PoisonError},
};

pub use cluster::RedisCluster;

use crate::{
    Port, certificates,
    folder::Folder,
    process::{Launch, Process},
    program,
};

pub fn valkey_is_installed() -> bool {
    program::look_for("valkey-server").is_some()
}

/// How to start it.
#[derive(Debug, Clone, Default)]
pub struct RedisOptions {
    valkey: bool,
    tls: bool,
    cluster: bool,
    user: Option<(String, String)>,
    lines: Vec<String>,
}

impl RedisOptions {
    /// Valkey, instead of Redis.
    #[must_use]
    pub const fn valkey(mut self) -> Self {
        self.valkey = true;
        self
    }

    /// Only encrypted connections; the certificate's authority is [`Redis::ca_file`].
    #[must_use]
    pub const fn tls(mut self) -> Self {
        self.tls = true;
        self
    }

    /// Nobody enters but this ACL user, who may do what `rules` say: `&* +@pubsub`.
    #[must_use]
    pub fn user(mut self, name: &str, password: &str, rules: &str) -> Self {
        self.lines.push("user default off".to_owned());
        self.lines.push(format!("user {name} on >{password} {rules}"));
        self.user = Some((name.to_owned(), password.to_owned()));
        self
    }

    /// A line of `redis.conf`.
    #[must_use]
    pub fn line(mut self, line: &str) -> Self {
        self.lines.push(line.to_owned());
        self
    }

    pub fn start(self) -> Redis {
        Redis::with(self)
    }
}

/// A server on a port of the loopback interface. All methods may be called from any thread.
#[derive(Debug)]
pub struct Redis {
    options: RedisOptions,
    process: Mutex<Option<Process>>,
    port: Port,
    /// What the nodes of a cluster tell each other on.
    bus: Option<Port>,
    folder: Folder,
}

impl Redis {
    /// Plain, for everybody.
    pub fn start() -> Self {
        Self::options().start()
    }

    pub fn options() -> RedisOptions {
        RedisOptions::default()
    }

    fn with(options: RedisOptions) -> Self {
        let bus = options.cluster.then(Port::claim);
        let (process, port, folder) = (Mutex::default(), Port::claim(), Folder::new(None));
        if options.tls {
            certificates::make(folder.path(), "DNS:localhost,IP:127.0.0.1");
        }
        let server = Self { options, process, port, bus, folder };
        fs::write(server.file("redis.conf"), server.configuration()).expect("its folder can be written");
        server.restart();
        server
    }

    /// `redis://127.0.0.1:6379`, or `rediss:`, with the ACL user.
    pub fn url(&self) -> String {
        self.url_at(self.addr())
    }

    /// Its URL as seen through `addr`: a proxy.
    pub fn url_at(&self, addr: SocketAddr) -> String {
        let scheme = if self.options.tls { "rediss" } else { "redis" };
        let user = self.options.user.as_ref().map(|(name, password)| format!("{name}:{password}@"));
        format!("{scheme}://{}{addr}", user.unwrap_or_default())
    }

    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The authority that signed its certificate, where it has one.
    pub fn ca_file(&self) -> Option<PathBuf> {
        self.options.tls.then(|| self.file("ca.pem"))
    }

    /// One command by `redis-cli`, and what it answers.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn cli(&self, args: &[&str]) -> String {
        program::text(self.cli_command().args(args))
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill9(&self) {
        self.process().take().expect("it runs").kill();
    }

    /// Starts it again, empty, on the same port; one that runs is killed first. Returns when it serves.
    pub fn restart(&self) {
        let mut running = self.process();
        if let Some(mut process) = running.take() {
            process.kill();
        }
        let (name, package) =
            if self.options.valkey { ("valkey-server", "valkey") } else { ("redis-server", "redis-server") };
        let program = program::find(name, package);
        let launch = Launch { program: &program, user: None, end: "KILL", log: self.file("redis.log") };
        let mut process = Process::start(launch, |command| {
            command.arg(self.file("redis.conf"));
        });
        process.wait_ready(|| {
            let answer = self.cli_command().arg("PING").output();
            answer.is_ok_and(|o| o.stdout.starts_with(b"PONG") || o.stdout.starts_with(b"NOPERM"))
        });
        *running = Some(process);
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.process().as_ref().expect("it runs").pid()
    }

    /// SIGSTOP: connections stay, and nobody answers.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self) {
        self.process().as_ref().expect("it runs").pause();
    }

    /// SIGCONT after [`Redis::pause`].
    ///
    /// # Panics
    /// When it does not run.
    pub fn resume(&self) {
        self.process().as_ref().expect("it runs").resume();
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cli_command(&self) -> Command {
        let mut command = Command::new(program::find("redis-cli", "redis-tools"));
        command.args(["--no-auth-warning", "-h", "127.0.0.1", "-p", &self.port.number().to_string()]);
        if let Some((name, password)) = &self.options.user {
            command.args(["--user", name, "--pass", password]);
        }
        if let Some(authority) = self.ca_file() {
            command.arg("--tls").arg("--cacert").arg(authority);
        }
        command
    }

    fn configuration(&self) -> String {
        let port = self.port.number();
        let mut text = String::from("bind 127.0.0.1\nsave \"\"\nappendonly no\ndaemonize no\n");
        let _ = writeln!(text, "dir {}", self.folder.path().display());
        if self.options.tls {
            let _ = writeln!(text, "port 0\ntls-port {port}\ntls-auth-clients no");
            for (key, file) in [("cert", "server.pem"), ("key", "server.key"), ("ca-cert", "ca.pem")] {
                let _ = writeln!(text, "tls-{key}-file {}", self.file(file).display());
            }
        } else {
            let _ = writeln!(text, "port {port}");
        }
        if let Some(bus) = &self.bus {
            let _ = writeln!(
                text,
                "cluster-enabled yes\ncluster-node-timeout 2000\ncluster-port {}",
                bus.number()
            );
        }
        for line in &self.options.lines {
            let _ = writeln!(text, "{line}");
        }
        text
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::join(self.folder.path(), name)
    }
}
