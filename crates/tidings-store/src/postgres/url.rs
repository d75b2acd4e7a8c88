//! The URL, read: what the driver knows goes to it, what only libpq knows is taken out before.

use std::{path::PathBuf, time::Duration};

use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

use crate::OpenError;

/// What `tidings.session` says in a session that this node began.
pub(super) const OWN_SESSION: &str = "own";

/// How far a server has to prove who it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// Encryption alone, as libpq does for `prefer` and `require`.
    Anyone,
    /// The certificate must come from these (`None`: the machine's) and name the host.
    Verified(Option<PathBuf>),
}

pub(super) struct Target {
    pub(super) driver: Config,
    pub(super) trust: Trust,
}

impl Target {
    pub(super) fn parse(url: &str, connect_timeout: Duration) -> Result<Self, OpenError> {
        let (mut mode, mut roots) = (None, None);
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let mut kept = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => roots = Some(PathBuf::from(percent_decoded(value)?)),
                _ => kept.push(pair),
            }
        }
        let text = if kept.is_empty() { base.to_owned() } else { format!("{base}?{}", kept.join("&")) };
        // The driver's error may repeat what it was given.
        let mut driver: Config = text.parse().map_err(|_| malformed())?;
        let (ssl_mode, verify) = match mode {
            Some("disable") => (SslMode::Disable, false),
            None | Some("prefer" | "allow") => (SslMode::Prefer, false),
            Some("require") => (SslMode::Require, false),
            Some("verify-ca" | "verify-full") => (SslMode::Require, true),
            Some(_) => return Err(malformed()),
        };
        driver.ssl_mode(ssl_mode).connect_timeout(connect_timeout).keepalives_idle(Duration::from_secs(30));
        if driver.get_application_name().is_none() {
            driver.application_name("tidings");
        }
        let trust = if verify || roots.is_some() { Trust::Verified(roots) } else { Trust::Anyone };
        Ok(Self { driver, trust })
    }

    /// Every session begins with this limit on its statements, and with a mark by which it can be told whose it is.
    pub(super) fn with_session(&self, timeout: Duration) -> Self {
        let mut driver = self.driver.clone();
        let given = driver.get_options().unwrap_or_default();
        let timeout = timeout.as_millis();
        let options = format!("-c statement_timeout={timeout} -c tidings.session={OWN_SESSION} {given}");
        driver.options(options);
        Self { driver, trust: self.trust.clone() }
    }
}

impl Target {
    /// Where connections may go over the network: every host, and every address that is written besides.
    pub(super) fn hosts(&self) -> Vec<(String, u16)> {
        let names = self.driver.get_hosts().iter().enumerate().filter_map(|(at, host)| match host {
            Host::Tcp(name) => Some((name.trim_matches(['[', ']']).to_owned(), self.port(at))),
            Host::Unix(_) => None,
        });
        let addresses = self.driver.get_hostaddrs().iter().enumerate();
        names.chain(addresses.map(|(at, address)| (address.to_string(), self.port(at)))).collect()
    }

    /// One port is for all hosts.
    fn port(&self, at: usize) -> u16 {
        let ports = self.driver.get_ports();
        ports.get(at).or(ports.first()).copied().unwrap_or(5_432)
    }

    /// Host and database, for people: never user or password.
    pub(super) fn place(&self) -> String {
        let host = |(at, host): (usize, &Host)| match host {
            Host::Tcp(name) => format!("{name}:{}", self.port(at)),
            Host::Unix(folder) => folder.display().to_string(),
        };
        let hosts: Vec<String> = self.driver.get_hosts().iter().enumerate().map(host).collect();
        format!("{}/{}", hosts.join(","), self.driver.get_dbname().unwrap_or_default())
    }
}

fn malformed() -> OpenError {
    OpenError::Database(
        "the store's URL is not one of PostgreSQL's: postgres://user:password@host:port/database?sslmode=…"
            .into(),
    )
}

fn percent_decoded(text: &str) -> Result<String, OpenError> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16)).ok_or_else(malformed);
        let (high, low) = (digit(bytes.next())?, digit(bytes.next())?);
        out.push((high * 16 + low) as u8);
    }
    String::from_utf8(out).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Target, OpenError> {
        Target::parse(url, Duration::from_secs(3))
    }

    #[test]
    fn what_only_libpq_knows_is_understood() {
        let target = parse(
            "postgres://u:p@h/db?sslmode=verify-full&sslrootcert=/etc/my%20ca.pem&target_session_attrs=read-write",
        );
        let target = target.expect("valid");
        assert_eq!(target.trust, Trust::Verified(Some("/etc/my ca.pem".into())));
        assert_eq!(target.driver.get_ssl_mode(), SslMode::Require);
        assert_eq!(target.driver.get_dbname(), Some("db"));
        assert_eq!(target.place(), "h:5432/db");
        assert_eq!(parse("postgres://u:p@a:1,b:2/x").expect("valid").place(), "a:1,b:2/x");
        assert_eq!(parse("postgres://h/db").expect("valid").driver.get_ssl_mode(), SslMode::Prefer);
    }

    #[test]
    fn every_host_of_a_url_is_found() {
        for (url, expected) in [
            ("postgres://db", &["db 5432"][..]),
            ("postgresql://db", &["db 5432"]),
            ("postgres://ana:hunt%40er2@db:5433/x?sslmode=require", &["db 5433"]),
            ("postgres://ana@a:1,b/x", &["a 1", "b 5432"]),
            ("postgres://[::1]:5433/x", &["::1 5433"]),
            ("postgres://ana@[fd00::1]/x", &["fd00::1 5432"]),
            ("postgres:///x?host=/run/pg", &[]),
            ("postgres://%2Frun%2Fpg/x", &[]),
            ("postgres://127.0.0.%39/x", &["127.0.0.9 5432"]),
            ("postgres:///x?host=a&host=b&port=5433", &["a 5433", "b 5433"]),
            ("postgres:///x?host=a&host=b&port=5433,5434", &["a 5433", "b 5434"]),
            ("postgres:///x?host=a&host=b", &["a 5432", "b 5432"]),
            ("postgres://a/x?hostaddr=10.0.0.1", &["a 5432", "10.0.0.1 5432"]),
        ] {
            let hosts = parse(url).unwrap_or_else(|error| panic!("{url}: {error}")).hosts();
            let written: Vec<_> = hosts.iter().map(|(name, port)| format!("{name} {port}")).collect();
            assert_eq!(written, expected, "{url}");
        }
    }

    #[test]
    fn an_error_tells_nothing_of_the_password() {
        for url in ["postgres://u:secret@h/db?sslmode=maybe", "postgres://u:secret@h:none/db", "secret"] {
            let error = parse(url).err().expect("refused").to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
