use std::net::SocketAddr;

use tidings_guard::{Policy, Range, Refusal};

use crate::table::net;

fn policy() -> Policy {
    Policy::default().with_allowed(net("127.0.0.0/8")).unwrap().with_allowed(net("::1/128")).unwrap()
}

fn judge(policy: &Policy, address: &str) -> Option<Refusal> {
    policy.judge_address(address.parse::<SocketAddr>().unwrap()).err()
}

#[test]
fn a_service_of_our_own_is_refused_though_its_range_is_listed() {
    let policy = policy().with_own("127.0.0.1:5432".parse().unwrap());
    assert_eq!(judge(&policy, "127.0.0.1:5432"), Some(Refusal::Own));
    assert_eq!(judge(&policy, "[::ffff:127.0.0.1]:5432"), Some(Refusal::Own));
    assert_eq!(judge(&policy, "127.0.0.1:5433"), None);
    assert_eq!(judge(&policy, "127.0.0.2:5432"), None);
}

#[test]
fn a_service_on_every_address_is_refused_on_each_that_this_machine_has() {
    let policy = policy().with_own("0.0.0.0:3000".parse().unwrap()).with_allowed(net("0.0.0.0/8")).unwrap();
    for address in ["127.0.0.1:3000", "127.8.8.8:3000", "[::1]:3000", "0.0.0.0:3000"] {
        assert_eq!(judge(&policy, address), Some(Refusal::Own), "{address}");
    }
    assert_eq!(judge(&policy, "93.184.216.34:3000"), None);
    assert_eq!(judge(&policy, "127.0.0.1:3001"), None);
}

/// The kernel takes it to the loopback interface.
#[test]
fn any_address_is_our_loopback_address() {
    let policy = policy().with_own("127.0.0.1:5432".parse().unwrap()).with_allowed(net("0.0.0.0/8")).unwrap();
    assert_eq!(judge(&policy, "0.0.0.0:5432"), Some(Refusal::Own));
    assert_eq!(judge(&policy, "0.0.0.0:5433"), None);
}

/// Where the neighbouring ports are refused too, nothing shows which one is ours.
#[test]
fn a_refusal_does_not_tell_where_our_services_are() {
    let policy =
        Policy::default().with_own("10.0.0.5:5432".parse().unwrap()).with_own("[::]:3000".parse().unwrap());
    for address in ["10.0.0.5:5432", "10.0.0.5:5433"] {
        assert_eq!(judge(&policy, address), Some(Refusal::Address(Range::Private)));
    }
    for address in ["127.0.0.1:3000", "127.0.0.1:3001"] {
        assert_eq!(judge(&policy, address), Some(Refusal::Address(Range::Loopback)));
    }
}
