//! PgBouncer in transaction mode before a PostgreSQL.

use std::{
    fmt::Write as _,
    fs,
    net::SocketAddr,
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::{
    Port, Postgres,
    folder::Folder,
    process::{Launch, Process, unprivileged},
    program,
};

/// A pooler on a port of the loopback interface, with few server connections, so that sharing them shows.
#[derive(Debug)]
pub struct PgBouncer {
    process: Mutex<Option<Process>>,
    port: Port,
    folder: Folder,
}

impl PgBouncer {
    /// For the superuser.
    pub fn start(postgres: &Postgres) -> Self {
        Self::for_users(postgres, &["postgres"])
    }

    /// Only these roles enter.
    pub fn for_users(postgres: &Postgres, users: &[&str]) -> Self {
        Self::with_settings(postgres, users, "")
    }

    /// What clients set with the `options` of their first words is dropped without a word.
    pub fn ignoring_options(postgres: &Postgres) -> Self {
        Self::with_settings(postgres, &["postgres"], "ignore_startup_parameters = options\n")
    }

    fn with_settings(postgres: &Postgres, users: &[&str], settings: &str) -> Self {
        let (folder, port) = (Folder::new(unprivileged()), Port::claim());
        let known = users.iter().fold(String::new(), |mut text, user| {
            let _ = writeln!(text, "\"{user}\" \"\"");
            text
        });
        let path = folder.path();
        fs::write(path.join("users.txt"), known).expect("its folder can be written");
        let configuration = format!(
            "[databases]\n* = host=127.0.0.1 port={}\n\
             [pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir = {}\n\
             pool_mode = transaction\nauth_type = trust\nauth_file = {}\n\
             default_pool_size = 10\nmax_client_conn = 500\nserver_login_retry = 1\n{settings}",
            postgres.addr().port(),
            port.number(),
            path.display(),
            path.join("users.txt").display(),
        );
        fs::write(path.join("pgbouncer.ini"), configuration).expect("its folder can be written");
        let pooler = Self { process: Mutex::default(), port, folder };
        pooler.restart();
        pooler
    }

    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// The URL of a database through it, as the superuser.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://postgres@{}/{database}", self.addr())
    }

    /// SIGKILL.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill9(&self) {
        self.process().take().expect("it runs").kill();
    }

    /// Starts it again on the same port; one that runs is killed first. Returns when it serves.
    pub fn restart(&self) {
        let mut running = self.process();
        if let Some(mut process) = running.take() {
            process.kill();
        }
        let program = program::find("pgbouncer", "pgbouncer");
        let log = self.folder.path().join("pgbouncer.log");
        let launch = Launch { program: &program, user: unprivileged(), end: "KILL", log };
        let mut process = Process::start(launch, |command| {
            command.arg(self.folder.path().join("pgbouncer.ini"));
        });
        process.wait_ready(|| self.serves());
        *running = Some(process);
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn serves(&self) -> bool {
        std::net::TcpStream::connect(self.addr()).is_ok()
    }
}
