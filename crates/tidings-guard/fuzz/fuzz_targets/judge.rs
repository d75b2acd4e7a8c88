//! Any text: no panic, and what is accepted is judged the same once more, as it would be called.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tidings_guard::{Host, Policy};

fuzz_target!(|text: &str| {
    let policy = Policy::default();
    let Ok(target) = policy.judge_url(text) else { return };
    assert_eq!(policy.judge_url(target.url().as_str()).as_ref(), Ok(&target));
    match target.host() {
        Host::Address(ip) => assert!(policy.judge(&target, *ip).is_ok()),
        Host::Name(name) => assert!(name.contains('.') && name.parse::<std::net::IpAddr>().is_err()),
    }
});
