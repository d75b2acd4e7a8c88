use tidings_server::config::Config;

/// Lets this process open as many descriptors as the system allows it: each connection is one, and the
/// usual soft limit of 1,024 is for programs that call `select`. Where that fails, the old limit holds.
/// Returns how many those are.
#[allow(unsafe_code, reason = "there is no safe setrlimit")]
pub(super) fn raise() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: all calls read or write the one struct that they are given, which outlives them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) != 0 {
            return None;
        }
        let old = limit.rlim_cur;
        limit.rlim_cur = limit.rlim_max;
        let is_raised = libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) == 0;
        Some(if is_raised { limit.rlim_max } else { old })
    }
}

/// Says what to do where connections would wait for a descriptor before a limit tells anybody.
pub(super) fn compare(allowed: Option<u64>, config: &Config) {
    let needed = config.descriptors_max() as u64;
    if let Some(allowed) = allowed.filter(|allowed| *allowed < needed) {
        tracing::warn!(
            allowed,
            needed,
            "the limits can need more file descriptors than this process may open, and what comes then waits: allow it that many \
             (ulimit -n, LimitNOFILE=), or lower limits.connections or limits.listener_connections (webhooks need 4,096, unless server.roles leaves them out)"
        );
    }
}
