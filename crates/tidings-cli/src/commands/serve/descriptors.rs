/// Lets this process open as many descriptors as the system allows it: each connection is one, and the
/// usual soft limit of 1,024 is for programs that call `select`. Where that fails, the old limit holds.
#[allow(unsafe_code, reason = "there is no safe setrlimit")]
pub(super) fn raise() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write the one struct that they are given, which outlives them.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 {
            limit.rlim_cur = limit.rlim_max;
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
