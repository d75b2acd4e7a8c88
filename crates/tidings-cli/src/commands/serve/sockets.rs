//! Sockets that a service manager bound before this process began: `sd_listen_fds(3)`.

use std::{
    net::TcpListener,
    os::fd::{FromRawFd as _, OwnedFd},
};

use socket2::{Domain, Protocol, Socket, Type};
use tidings_server::Sockets;

use crate::exit::Usage;

const FIRST: i32 = 3;
const VARIABLES: [&str; 3] = ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// Takes them, and the variables out of the environment. Before any other thread is started, and once.
pub(super) fn take() -> Result<Sockets, Usage> {
    let [pid, count, names] = VARIABLES.map(|name| std::env::var(name).ok());
    for name in VARIABLES {
        #[allow(unsafe_code, reason = "it is unsafe beside other threads")]
        // SAFETY: no other thread runs yet.
        unsafe {
            std::env::remove_var(name);
        }
    }
    let passed = Passed { pid, count, names };
    let mut sockets = Sockets::default();
    for (n, use_as) in passed.uses(std::process::id())?.into_iter().enumerate() {
        let descriptor = FIRST + n as i32;
        let socket = adopt(descriptor).map_err(|what| {
            Usage(format!(
                "the service manager passed descriptor {descriptor} for {}, which {what}: it must be a listening TCP socket \
                 (ListenStream= with a port, Accept=no)",
                use_as.key()
            ))
        })?;
        *match use_as {
            Use::Http => &mut sockets.http,
            Use::Ops => &mut sockets.ops,
        } = Some(socket);
    }
    Ok(sockets)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Http,
    Ops,
}

impl Use {
    const fn key(self) -> &'static str {
        match self {
            Self::Http => "server.listen",
            Self::Ops => "server.ops_listen",
        }
    }
}

/// What the environment says of them.
#[derive(Debug, Default)]
struct Passed {
    pid: Option<String>,
    count: Option<String>,
    names: Option<String>,
}

impl Passed {
    /// What each of them is for, from the first on.
    fn uses(&self, own_pid: u32) -> Result<Vec<Use>, Usage> {
        let Some(count) = &self.count else { return Ok(Vec::new()) };
        match self.pid.as_deref().map(str::parse::<u32>) {
            Some(Ok(pid)) if pid == own_pid => {}
            // For the process that started this one, say.
            Some(Ok(_)) => return Ok(Vec::new()),
            _ => return Err(Usage("LISTEN_FDS is set and LISTEN_PID is no process id: unset both, or start through a systemd socket".into())),
        }
        let Ok(count) = count.parse::<u16>() else {
            return Err(Usage("LISTEN_FDS is no number of sockets".into()));
        };
        let names: Vec<&str> = match self.names.as_deref() {
            Some(names) if !names.is_empty() => names.split(':').collect(),
            _ => Vec::new(),
        };
        if count == 1 && names.first().is_none_or(|name| is_default(name)) {
            return Ok(vec![Use::Http]);
        }
        if names.len() != usize::from(count) {
            let message = format!(
                "{count} sockets were passed with {} names (LISTEN_FDNAMES): FileDescriptorName= must name one http and one ops, each in a socket \
                 unit of its own",
                names.len()
            );
            return Err(Usage(message));
        }
        let mut uses = Vec::new();
        for name in names {
            let (use_as, what) = match name {
                "http" => (Use::Http, "clients"),
                "ops" => (Use::Ops, "/metrics"),
                _ => {
                    let message = format!(
                        "a socket named {name:?} was passed: FileDescriptorName= must be http (for clients) or ops (for /metrics)"
                    );
                    return Err(Usage(message));
                }
            };
            if uses.contains(&use_as) {
                let message = format!(
                    "two sockets named {name} were passed, and {what} get one: ListenStream=[::]:3000 with BindIPv6Only=both takes IPv4 too"
                );
                return Err(Usage(message));
            }
            uses.push(use_as);
        }
        Ok(uses)
    }
}

/// The names that systemd gives where the unit has none.
fn is_default(name: &str) -> bool {
    name == "unknown" || name.ends_with(".socket")
}

/// The error ends the sentence "which …".
fn adopt(descriptor: i32) -> Result<TcpListener, String> {
    #[allow(unsafe_code, reason = "there is no safe way to ask for a descriptor by number")]
    // SAFETY: asks only for its flags; a descriptor that is not open is an error.
    let is_open = unsafe { libc::fcntl(descriptor, libc::F_GETFD) } != -1;
    if !is_open {
        return Err("is not open".into());
    }
    #[allow(unsafe_code, reason = "it was passed by number")]
    // SAFETY: it is open, and ours alone: the parent passed it to this process by LISTEN_PID, and this is called once.
    let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(descriptor) });
    let kind = socket.r#type().map_err(|_| "is no socket")?;
    let domain = socket.domain().map_err(|_| "is no socket")?;
    let is_tcp = kind == Type::STREAM
        && (domain == Domain::IPV4 || domain == Domain::IPV6)
        && matches!(socket.protocol(), Ok(Some(Protocol::TCP)));
    if !is_tcp {
        return Err("is no TCP socket".into());
    }
    if !socket.is_listener().unwrap_or(false) {
        return Err("does not listen".into());
    }
    socket.set_cloexec(true).map_err(|error| format!("cannot be used ({error})"))?;
    Ok(socket.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uses(pid: &str, count: &str, names: &str) -> Result<Vec<Use>, String> {
        let some = |text: &str| (text != "-").then(|| text.to_owned());
        Passed { pid: some(pid), count: some(count), names: some(names) }
            .uses(7)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn names_say_what_sockets_are_for() {
        for (pid, count, names, expected) in [
            ("-", "-", "-", &[][..]),
            ("7", "0", "-", &[]),
            ("8", "1", "http", &[]),
            ("8", "nonsense", "-", &[]),
            ("7", "1", "-", &[Use::Http]),
            ("7", "1", "", &[Use::Http]),
            ("7", "1", "unknown", &[Use::Http]),
            ("7", "1", "tidings.socket", &[Use::Http]),
            ("7", "1", "http", &[Use::Http]),
            ("7", "1", "ops", &[Use::Ops]),
            ("7", "2", "http:ops", &[Use::Http, Use::Ops]),
            ("7", "2", "ops:http", &[Use::Ops, Use::Http]),
        ] {
            assert_eq!(uses(pid, count, names).as_deref(), Ok(expected), "{pid} {count} {names}");
        }
        for (pid, count, names, expected) in [
            ("-", "1", "-", "LISTEN_PID"),
            ("x", "1", "-", "LISTEN_PID"),
            ("7", "-1", "-", "LISTEN_FDS"),
            ("7", "two", "-", "LISTEN_FDS"),
            ("7", "2", "-", "2 sockets were passed with 0 names"),
            ("7", "2", "http", "with 1 names"),
            ("7", "1", "http:ops", "with 2 names"),
            ("7", "1", "admin", "\"admin\""),
            ("7", "2", "http:admin", "\"admin\""),
            ("7", "2", "tidings.socket:tidings.socket", "\"tidings.socket\""),
            ("7", "2", "http:http", "two sockets named http"),
        ] {
            let error = uses(pid, count, names).expect_err(names);
            assert!(error.contains(expected), "{pid} {count} {names}: {error}");
        }
    }
}
