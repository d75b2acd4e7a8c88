//! PostgreSQL, from Debian's packages or the path.

mod template;

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use crate::{
    Port,
    folder::Folder,
    process::{Launch, Process, unprivileged},
    program, wait,
};

/// What every server of a test has: durable as in production, small, and nothing outside its folder.
const SETTINGS: [(&str, &str); 8] = [
    ("listen_addresses", "127.0.0.1"),
    ("fsync", "on"),
    ("max_connections", "300"),
    ("shared_buffers", "64MB"),
    ("timezone", "UTC"),
    ("log_lock_waits", "on"),
    // Shared memory that a killed server leaves lies in the folder and goes with it.
    ("dynamic_shared_memory_type", "mmap"),
    ("logging_collector", "off"),
];

/// How to start it.
#[derive(Debug, Clone, Default)]
pub struct PostgresOptions {
    settings: Vec<(String, String)>,
}

impl PostgresOptions {
    /// A setting of `postgresql.conf`; later ones win.
    #[must_use]
    pub fn set(mut self, name: &str, value: impl std::fmt::Display) -> Self {
        self.settings.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn start(self) -> Postgres {
        Postgres::with(self)
    }
}

/// A server with its data, listening on a port of the loopback interface and on a socket in its folder.
/// Everybody there may log in as anybody. All methods may be called from any thread.
#[derive(Debug)]
pub struct Postgres {
    options: PostgresOptions,
    process: Mutex<Option<Process>>,
    port: Port,
    databases: AtomicU32,
    folder: Folder,
}

impl Postgres {
    /// With no settings of its own.
    pub fn start() -> Self {
        Self::options().start()
    }

    pub fn options() -> PostgresOptions {
        PostgresOptions::default()
    }

    fn with(options: PostgresOptions) -> Self {
        let folder = Folder::new(unprivileged());
        template::unpack_into(&folder.path().join("data"));
        let (process, port) = (Mutex::default(), Port::claim());
        let server = Self { options, process, port, databases: AtomicU32::new(0), folder };
        server.restart();
        server
    }

    /// The URL of the database `postgres`.
    pub fn url(&self) -> String {
        self.url_at(self.addr(), "postgres")
    }

    /// Makes an empty database, and returns its URL.
    pub fn database(&self, name: &str) -> String {
        self.psql("postgres", &format!("CREATE DATABASE \"{name}\""));
        self.url_at(self.addr(), name)
    }

    /// [`Postgres::database`], with a name that no other has.
    pub fn fresh_database(&self) -> String {
        self.database(&format!("fresh_{}", self.databases.fetch_add(1, Ordering::Relaxed)))
    }

    /// The URL of a database as seen through `addr`: a proxy, a pooler.
    pub fn url_at(&self, addr: SocketAddr, database: &str) -> String {
        format!("postgres://postgres@{addr}/{database}")
    }

    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The folder that holds its Unix socket.
    pub fn socket_folder(&self) -> &Path {
        self.folder.path()
    }

    /// Runs SQL as the superuser; returns the rows, columns parted by `|`.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn psql(&self, database: &str, sql: &str) -> String {
        let mut command = Command::new(program::find("psql", "postgresql-client"));
        command.args(["-X", "-q", "-t", "-A", "-v", "ON_ERROR_STOP=1", "-U", "postgres"]);
        command.arg("-h").arg(self.socket_folder()).args(["-p", &self.port.number().to_string()]);
        program::text(command.args(["-d", database, "-c", sql]))
    }

    /// SIGKILL to the whole server. Its data stays as it was at that moment, and a restart recovers it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill9(&self) {
        self.process().take().expect("it runs").kill();
        self.forget_the_killed();
    }

    /// An orderly stop that ends all sessions.
    ///
    /// # Panics
    /// When it does not run.
    pub fn stop(&self) {
        self.process().take().expect("it runs").end("INT");
    }

    /// Starts it again on the same data and port, killed or stopped as it may be; one that runs is stopped
    /// first. Returns when it serves.
    pub fn restart(&self) {
        let mut running = self.process();
        if let Some(mut process) = running.take() {
            process.end("INT");
        }
        let program = program::find_postgres("postgres");
        let log = self.log_path();
        let launch = Launch { program: &program, user: unprivileged(), end: "QUIT", log };
        let mut process = Process::start(launch, |command| self.arrange(command));
        process.wait_ready(|| self.serves());
        *running = Some(process);
    }

    /// SIGSTOP to the whole server: connections stay, and nobody answers.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pause(&self) {
        self.process().as_ref().expect("it runs").pause();
    }

    /// SIGCONT after [`Postgres::pause`].
    ///
    /// # Panics
    /// When it does not run.
    pub fn resume(&self) {
        self.process().as_ref().expect("it runs").resume();
    }

    /// Takes no writes from here on, or does again: every session sees it with its next statement, and is refused at once.
    pub fn set_read_only(&self, read_only: bool) {
        let value = if read_only { "on" } else { "off" };
        self.psql("postgres", &format!("ALTER SYSTEM SET default_transaction_read_only = {value}"));
        self.psql("postgres", "SELECT pg_reload_conf()");
        wait::until_true("PostgreSQL to reload", wait::LONG, || {
            self.psql("postgres", "SHOW default_transaction_read_only").trim() == value
        });
    }

    /// The postmaster's process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.process().as_ref().expect("it runs").pid()
    }

    /// Everything that it wrote so far, over all its lives.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.log_path()).unwrap_or_default()).into_owned()
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrange(&self, command: &mut Command) {
        command.arg("-D").arg(self.data()).args(["-p", &self.port.number().to_string()]);
        command.arg("-k").arg(self.socket_folder());
        let own = self.options.settings.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        for (name, value) in SETTINGS.into_iter().chain(own) {
            command.args(["-c", &format!("{name}={value}")]);
        }
    }

    /// It says so itself, in the eighth line of its lock file.
    fn serves(&self) -> bool {
        let text = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
        text.lines().nth(7).is_some_and(|status| status.trim() == "ready")
    }

    /// A killed server leaves its lock file, by which the next one might take a stranger's process for it,
    /// and a segment of System V memory, which nobody else would remove.
    fn forget_the_killed(&self) {
        let file = self.data().join("postmaster.pid");
        let text = fs::read_to_string(&file).unwrap_or_default();
        if let Some(segment) = text.lines().nth(6).and_then(|line| line.split_whitespace().nth(1)) {
            let _ = Command::new("ipcrm").args(["-m", segment]).output();
        }
        let _ = fs::remove_file(file);
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("postgres.log")
    }
}
