use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use proptest::prelude::*;
use tidings_guard::{Host, Policy};

use crate::table::is_public;

/// Ways to write an address that parsers of URLs understand.
fn spelling() -> impl Strategy<Value = String> {
    let known = proptest::sample::select(vec![0x7f00_0001_u32, 0x0a00_0001, 0xa9fe_a9fe, 0x5db8_d822]);
    let v4 = prop_oneof![any::<u32>(), known];
    let v4 = (v4, 0..7).prop_map(|(bits, form)| {
        let [a, b, c, d] = bits.to_be_bytes();
        match form {
            0 => format!("{a}.{b}.{c}.{d}"),
            1 => bits.to_string(),
            2 => format!("{bits:#x}"),
            3 => format!("0{bits:o}"),
            4 => format!("{a}.{}", bits & 0x00ff_ffff),
            5 => format!("{a:#x}.0{b:o}.{}", bits & 0xffff),
            _ => format!("[::ffff:{a}.{b}.{c}.{d}]"),
        }
    });
    let v6 = any::<u128>().prop_map(|bits| format!("[{}]", Ipv6Addr::from_bits(bits)));
    prop_oneof![v4, v6, "[a-z0-9-]{1,8}(\\.[a-z0-9-]{1,8}){0,3}\\.?", "\\PC{0,12}"]
}

fn url() -> impl Strategy<Value = String> {
    let scheme = proptest::sample::select(vec!["https://", "http://", "HTTPS://", "https:", "ftp://", ""]);
    let rest =
        proptest::sample::select(vec!["", "/", ":8443/a", ":22", ":0/", "/?a=b#c", "@10.0.0.1/", "\\@x"]);
    (scheme, spelling(), rest).prop_map(|(scheme, host, rest)| format!("{scheme}{host}{rest}"))
}

/// What was accepted is public and permitted, by the table that this test keeps of its own.
fn accepted_is_public(text: &str) {
    let Ok(target) = Policy::default().judge_url(text) else { return };
    assert!(target.is_https() && target.owes().is_none(), "{text:?}");
    assert!(target.port() == 443 || target.port() >= 1024, "{text:?}");
    let again = Policy::default().judge_url(target.url().as_str());
    assert_eq!(again.as_ref(), Ok(&target), "what is called is what was judged");
    match target.host() {
        Host::Address(ip) => assert!(is_public(*ip), "{text:?} is {ip}"),
        Host::Name(name) => {
            assert!(
                name.contains('.') && !name.ends_with('.') && name.parse::<IpAddr>().is_err(),
                "{text:?}"
            );
            assert_eq!(target.url().host_str(), Some(&**name));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_text_is_read_as_more_than_it_is(text in prop_oneof![url(), "\\PC{0,40}", ".{0,40}"]) {
        accepted_is_public(&text);
    }

    #[test]
    fn every_address_is_judged_as_the_registries_say(v4 in any::<u32>(), v6 in any::<u128>(), outer in any::<u128>()) {
        let outer = outer >> 3 | 1 << 125;
        let ips = [Ipv4Addr::from_bits(v4).into(), Ipv6Addr::from_bits(v6).into(), Ipv6Addr::from_bits(outer).into()];
        for ip in ips {
            let judged = Policy::default().judge_address(SocketAddr::new(ip, 443));
            prop_assert_eq!(judged.is_ok(), is_public(ip), "{}", ip);
        }
    }
}
