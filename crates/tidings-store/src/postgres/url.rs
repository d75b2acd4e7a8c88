//! The URL, read: what the driver knows goes to it, what only libpq knows is taken out before.

use std::{path::PathBuf, time::Duration};

use tokio_postgres::{
    Config,
    config::{Host, SslMode},
};

/// What is wrong with a URL. It names the part and never quotes a value, which may be a piece of the password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UrlError(String);

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
    pub(super) fn parse(url: &str, connect_timeout: Duration) -> Result<Self, UrlError> {
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
        let mut driver: Config = text.parse().map_err(|_| culprit(base, &kept))?;
        if driver.get_hosts().is_empty() && driver.get_hostaddrs().is_empty() {
            return Err(UrlError(format!("names no host: {FORM}")));
        }
        let (ssl_mode, verify) = match mode {
            Some("disable") => (SslMode::Disable, false),
            None | Some("prefer" | "allow") => (SslMode::Prefer, false),
            Some("require") => (SslMode::Require, false),
            Some("verify-ca" | "verify-full") => (SslMode::Require, true),
            Some(_) => {
                let known = "disable, allow, prefer, require, verify-ca or verify-full";
                return Err(UrlError(format!("has an sslmode that is not one of {known}")));
            }
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

const FORM: &str = "postgres://user:password@host:port/database?sslmode=…";

/// Why the driver does not read it.
fn culprit(base: &str, parameters: &[&str]) -> UrlError {
    let unread = |text: &str| text.parse::<Config>().is_err();
    if let Some(pair) = parameters.iter().find(|pair| unread(&format!("postgres://h/?{pair}"))) {
        // Where the address ends before an @, this is the rest of a password.
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let is_name = name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        return UrlError(match (base.contains('@') && is_name, value) {
            (true, _) => format!("has a parameter that is unknown, or whose value is wrong: {name}"),
            (false, _) => format!(
                "has an unknown parameter, or a character in its password that must be escaped ({ESCAPES})"
            ),
        });
    }
    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
    let hosts = place.split('/').next().unwrap_or_default();
    let is_port_wrong = |host: &str| match host.rsplit_once(':') {
        Some((name, port)) => (!name.contains(':') || name.ends_with(']')) && port.parse::<u16>().is_err(),
        None => false,
    };
    if hosts.split(',').any(is_port_wrong) {
        return UrlError(format!(
            "has a port that is no number up to 65535, or a character in its password that must be escaped ({ESCAPES})"
        ));
    }
    malformed()
}

const ESCAPES: &str = "@ is %40, / is %2F, ? is %3F, # is %23, % is %25";

fn malformed() -> UrlError {
    UrlError(format!("is not one of PostgreSQL's: {FORM}"))
}

fn percent_decoded(text: &str) -> Result<String, UrlError> {
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

    fn parse(url: &str) -> Result<Target, UrlError> {
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
    fn an_error_names_the_part_and_tells_nothing_of_the_password() {
        for (url, part) in [
            ("postgres://u:secret@h/db?sslmode=maybe", "sslmode that is not one of disable, allow"),
            ("postgres://u:secret@h:none/db", "port"),
            ("postgres://u:secret@h:99999/db", "port"),
            ("postgres://u:secret@[::1]:99999/db", "port"),
            ("postgres://u:secret@h/db?foo=bar", "unknown, or whose value is wrong: foo"),
            ("postgres://u:secret@h/db?connect_timeout=soon", "wrong: connect_timeout"),
            ("postgres://h/db?secret=b", "must be escaped"),
            ("postgres://", "names no host"),
            ("postgres://u:secret@", "names no host"),
            ("postgres:///db", "names no host"),
            ("secret", "is not one of PostgreSQL's"),
        ] {
            let Err(error) = parse(url) else { panic!("{url} was taken") };
            let error = error.to_string();
            assert!(error.contains(part), "{url}: {error}");
            assert!(!error.contains("secret"), "{url}: {error}");
        }
    }
}
