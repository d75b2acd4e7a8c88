use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tidings_guard::{Grounds, Host, IpNet, Policy, PolicyError, Range, Refusal};

use crate::table::{METADATA, V4_REFUSED, V6_REFUSED, net};

fn judge(policy: &Policy, ip: IpAddr) -> Result<Grounds, Refusal> {
    policy.judge_address(SocketAddr::new(ip, 443))
}

fn before(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().checked_sub(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(ip) => ip.to_bits().checked_sub(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

fn after(ip: IpAddr) -> Option<IpAddr> {
    match ip {
        IpAddr::V4(ip) => ip.to_bits().checked_add(1).map(|bits| Ipv4Addr::from_bits(bits).into()),
        IpAddr::V6(ip) => ip.to_bits().checked_add(1).map(|bits| Ipv6Addr::from_bits(bits).into()),
    }
}

/// The first and the last address of every range are refused; their neighbours outside are permitted, unless they lie
/// in another range.
#[test]
fn every_range_is_refused_from_its_first_address_to_its_last_and_no_further() {
    let policy = Policy::default();
    let nets: Vec<IpNet> = [V4_REFUSED, V6_REFUSED].concat().iter().map(|text| net(text)).collect();
    let mut neighbours = 0;
    for range in &nets {
        for ip in [range.addr(), range.broadcast()] {
            assert!(matches!(judge(&policy, ip), Err(Refusal::Address(_))), "{ip} of {range}");
        }
        for neighbour in [before(range.network()), after(range.broadcast())].into_iter().flatten() {
            let public = crate::table::is_public(neighbour);
            neighbours += usize::from(public);
            assert_eq!(judge(&policy, neighbour).is_ok(), public, "{neighbour} beside {range}");
        }
    }
    assert_eq!(neighbours, 44, "the positive controls");
}

#[test]
fn of_ipv6_only_what_was_given_to_the_internet_is_permitted() {
    let policy = Policy::default();
    for refused in [
        "::",
        "::1",
        "::7f00:1",
        "::93.184.216.34",
        "::ffff:127.0.0.1",
        "::ffff:93.184.216.34",
        "::ffff:0:127.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::a00:1",
        "100::1",
        "100:0:0:1::1",
        "5f00::1",
        "fc00::1",
        "fd12:3456::1",
        "fe80::1",
        "febf::1",
        "fec0::1",
        "ff02::1",
        "ff0e::1",
        "4000::1",
        "8000::",
        "1fff:ffff::1",
        "2001::1",
        "2001:1ff::1",
        "2001:20::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "3fff:fff::1",
        "2620:4f:8000::1",
        "2a00::5efe:10.0.0.1",
        "2a00::200:5efe:10.0.0.1",
    ] {
        assert!(judge(&policy, refused.parse().unwrap()).is_err(), "{refused}");
    }
    for public in [
        "2606:2800:220:1::1",
        "2001:200::1",
        "2001:4860:4860::8888",
        "2a00::1",
        "3ffe::1",
        "2620:4f:8001::1",
        "2003::1",
    ] {
        assert_eq!(judge(&policy, public.parse().unwrap()), Ok(Grounds::Public), "{public}");
    }
}

#[test]
fn what_a_range_is_can_be_told() {
    let of = |ip: &str| judge(&Policy::default(), ip.parse().unwrap()).unwrap_err();
    for (ip, range) in [
        ("0.1.2.3", Range::Unspecified),
        ("127.0.0.1", Range::Loopback),
        ("::1", Range::Loopback),
        ("192.168.1.1", Range::Private),
        ("fd00::1", Range::Private),
        ("100.64.0.1", Range::Shared),
        ("169.254.1.1", Range::LinkLocal),
        ("fe80::1", Range::LinkLocal),
        ("239.1.1.1", Range::Multicast),
        ("255.255.255.255", Range::Reserved),
        ("203.0.113.7", Range::Documentation),
        ("198.19.0.1", Range::Benchmarking),
        ("::ffff:10.0.0.1", Range::Embedded),
        ("169.254.169.254", Range::Metadata),
        ("::ffff:169.254.169.254", Range::Metadata),
    ] {
        assert_eq!(of(ip), Refusal::Address(range), "{ip}");
    }
    assert_eq!(of("127.0.0.1").to_string(), "the URL's host is a loopback address");
}

#[test]
fn every_spelling_of_an_inner_address_is_that_address() {
    let policy = Policy::default();
    for host in [
        "127.0.0.1",
        "127.1",
        "127.0.1",
        "0177.0.0.1",
        "0x7f.0.0.1",
        "0x7f000001",
        "2130706433",
        "017700000001",
        "127.0.0.1.",
        "%31%32%37.0.0.1",
        "１２７.0.0.1",
        "①②⑦.0.0.1",
        "127。0。0。1",
        "0x7F.1",
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::ffff:7f00:1]",
        "[::ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "0",
        "0.0.0.0",
        "0x0",
        "10.1",
        "0xa000001",
        "192.168.257",
        "169.254.169.254",
        "0xa9fea9fe",
        "2852039166",
        "0251.0376.0251.0376",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "[::]",
    ] {
        let refusal = policy.judge_url(&format!("https://{host}/")).expect_err(host);
        assert!(matches!(refusal, Refusal::Address(_)), "{host}: {refusal:?}");
    }
    // The same spellings of an outer one pass.
    for host in [
        "93.184.216.34",
        "0x5db8d822",
        "1572395042",
        "93.184.55330",
        "[2606:2800:220:1::1]",
        "93.184.216.34.",
    ] {
        let target = policy.judge_url(&format!("https://{host}/")).expect(host);
        assert!(matches!(target.host(), Host::Address(_)), "{host}");
    }
}

#[test]
fn names_from_inside_are_refused_in_any_dress() {
    let policy = Policy::default();
    for host in [
        "localhost",
        "LOCALHOST",
        "localhost.",
        "app.localhost",
        "printer.local",
        "db.internal",
        "local",
        "intranet",
        "metadata.google.internal",
        "Metadata.Google.Internal.",
        "metadata.goog",
        "a.metadata.goog",
        "instance-data",
        "instance-data.ec2.internal",
        "kubernetes",
        "ⓛocalhost",
        "local\u{200b}host",
        "%6cocalhost",
        "ｌocalhost",
    ] {
        assert_eq!(policy.judge_url(&format!("https://{host}/")).err(), Some(Refusal::Name), "{host}");
    }
    for host in
        ["example.com", "EXAMPLE.com.", "bücher.example", "localhost.example.com", "xn--bcher-kva.example"]
    {
        assert!(policy.judge_url(&format!("https://{host}/")).is_ok(), "{host}");
    }
    let target = policy.judge_url("https://Bücher.Example./").unwrap();
    assert_eq!(target.host(), &Host::Name("xn--bcher-kva.example".into()));
    assert_eq!(target.url().as_str(), "https://xn--bcher-kva.example/");
}

#[test]
fn text_that_a_parser_would_mend_is_refused_as_it_stands() {
    use Refusal::{Characters, Form, Host, Port, Scheme, TooLong, Userinfo};
    let policy = Policy::default();
    let long = format!("https://example.com/{}", "a".repeat(2048));
    for (url, refusal) in [
        ("", Form),
        ("example.com", Form),
        ("//example.com/", Form),
        ("https:example.com/", Form),
        ("https:/example.com/", Form),
        ("https:///example.com/", Form),
        ("https://", Form),
        ("https://?q", Form),
        ("http:127.0.0.1/", Form),
        ("http:\\\\127.0.0.1\\", Characters),
        ("https://example.com\\@127.0.0.1/", Characters),
        ("https://exa\nmple.com/", Characters),
        ("https://example.com/\r\nHost: x", Characters),
        ("\0https://example.com/", Characters),
        (" https://example.com/", Characters),
        ("https://example.com/a b", Characters),
        ("https://example.com/\u{a0}", Characters),
        ("https://example.com/\u{85}", Characters),
        ("https://user@example.com/", Userinfo),
        ("https://user:pass@example.com/", Userinfo),
        ("https://@example.com/", Userinfo),
        ("https://example.com@127.0.0.1/", Userinfo),
        ("gopher://127.0.0.1/", Form),
        ("ftp://example.com/", Form),
        ("file:///etc/passwd", Form),
        ("javascript://example.com/", Form),
        ("http://example.com/", Scheme),
        ("https://example.com:0/", Port),
        ("https://example.com:22/", Port),
        ("https://example.com:80/", Port),
        ("https://example.com:1023/", Port),
        ("https://93.184.216.34:22/", Port),
        ("https://example.com:99999/", Host),
        ("https://[::1/", Host),
        ("https://[::1%25eth0]/", Host),
        ("https://exa%00mple.com/", Host),
        ("https://a..b/", Host),
        ("https://1.2.3.4.5/", Host),
        ("https://256.256.256.256/", Host),
        ("https://a$b.example/", Host),
        (&long, TooLong),
    ] {
        assert_eq!(policy.judge_url(url).err(), Some(refusal), "{url:?}");
    }
    for url in [
        "https://example.com",
        "HTTPS://example.com/a?b=c#d",
        "https://example.com:443/",
        "https://example.com:1024/",
        "https://example.com:65535/",
        "https://example.com/@user",
        "https://example.com/?to=https://10.0.0.1/",
    ] {
        assert!(policy.judge_url(url).is_ok(), "{url:?}");
    }
}

#[test]
fn http_and_ports_are_the_operators_to_permit() {
    let policy = Policy::default().with_http().with_ports("80,443".parse().unwrap());
    assert!(policy.judge_url("http://example.com/").is_ok());
    assert_eq!(policy.judge_url("http://example.com:8080/").err(), Some(Refusal::Port));
    assert!(policy.judge_url("http://10.0.0.1/").is_err());
}

#[test]
fn an_allow_listed_range_lifts_the_rules_for_what_is_inside_it() {
    let policy = Policy::default().with_allowed(net("127.0.0.0/8")).unwrap();
    for url in ["http://127.0.0.1:81/", "https://127.1:22/", "http://[::ffff:127.0.0.1]/"] {
        assert!(policy.judge_url(url).is_ok(), "{url}");
    }
    for url in ["http://10.0.0.1/", "https://[::1]/", "http://93.184.216.34/", "https://93.184.216.34:81/"] {
        assert!(policy.judge_url(url).is_err(), "{url}");
    }
    assert_eq!(policy.judge_url("http://127.0.0.1:0/").err(), Some(Refusal::Port));
}

#[test]
fn what_a_name_owes_is_collected_from_its_addresses() {
    let policy = Policy::default().with_allowed(net("10.0.0.0/8")).unwrap();
    for (url, debt) in [
        ("http://example.com/", Refusal::Scheme),
        ("http://example.com:8080/", Refusal::Scheme),
        ("https://example.com:22/", Refusal::Port),
        ("https://partner.internal/", Refusal::Name),
    ] {
        let target = policy.judge_url(url).unwrap();
        assert_eq!(target.owes(), Some(debt), "{url}");
        assert!(policy.judge(&target, "10.1.2.3".parse().unwrap()).is_ok(), "{url}");
        assert_eq!(policy.judge(&target, "93.184.216.34".parse().unwrap()), Err(debt), "{url}");
        // A policy that has changed since decides.
        assert!(Policy::default().judge(&target, "10.1.2.3".parse().unwrap()).is_err());
    }
}

#[test]
fn no_allow_list_lifts_metadata_in_any_form() {
    let mut policy = Policy::default();
    for range in
        ["169.0.0.0/8", "100.0.0.0/8", "192.0.0.0/8", "168.0.0.0/8", "fd00::/8", "64:ff9b::/32", "2002::/16"]
    {
        policy = policy.with_allowed(net(range)).unwrap();
    }
    policy = policy.with_nat64("2a00:1::/96".parse().unwrap()).unwrap();
    policy = policy.with_allowed(net("2a00:1::/96")).unwrap();
    for ip in METADATA.iter().map(|ip| ip.parse::<IpAddr>().unwrap()) {
        assert_eq!(judge(&policy, ip), Err(Refusal::Address(Range::Metadata)), "{ip}");
        let IpAddr::V4(v4) = ip else { continue };
        let bits = v4.to_bits();
        let (high, low) = (bits >> 16, bits & 0xffff);
        for embedding in [
            format!("::ffff:{v4}"),
            format!("64:ff9b::{v4}"),
            format!("2a00:1::{v4}"),
            format!("2002:{high:x}:{low:x}::1"),
        ] {
            let refused = judge(&policy, embedding.parse().unwrap());
            assert_eq!(refused, Err(Refusal::Address(Range::Metadata)), "{embedding}");
        }
    }
    // The ranges themselves are open.
    for ip in [
        "169.254.169.253",
        "100.100.100.201",
        "fd00:ec2::253",
        "64:ff9b::93.184.216.34",
        "2a00:1::93.184.216.34",
    ] {
        assert_eq!(judge(&policy, ip.parse().unwrap()), Ok(Grounds::Listed), "{ip}");
    }
}

#[test]
fn listing_a_translators_prefix_does_not_open_the_inside_behind_it() {
    for (prefix, listed) in [
        ("2a00:64::/96", "2a00:64::/96"),
        ("64:ff9b::/96", "64:ff9b::/96"),
        ("64:ff9b:1::/96", "64:ff9b:1::/96"),
    ] {
        let policy = Policy::default().with_nat64(prefix.parse().unwrap()).unwrap();
        let policy = policy.with_allowed(listed.parse().unwrap()).unwrap();
        let judge = |last: &str| {
            let address = format!("{}{last}", prefix.trim_end_matches("/96"));
            policy.judge_address(std::net::SocketAddr::new(address.parse().unwrap(), 443))
        };
        assert_eq!(judge("93.184.216.34"), Ok(Grounds::Listed));
        for inside in ["10.0.0.5", "127.0.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0"] {
            assert!(matches!(judge(inside), Err(Refusal::Address(_))), "{prefix} {inside}");
        }
        let inside = policy.clone().with_allowed("10.0.0.0/8".parse().unwrap()).unwrap();
        let address = format!("{}10.0.0.5", prefix.trim_end_matches("/96"));
        let judged = inside.judge_address(std::net::SocketAddr::new(address.parse().unwrap(), 443));
        assert_eq!(judged, Ok(Grounds::Listed), "both are listed");
    }
}

#[test]
fn a_nat64_prefix_of_the_network_is_refused() {
    let ip = "2a00:64::93.184.216.34".parse().unwrap();
    assert_eq!(judge(&Policy::default(), ip), Ok(Grounds::Public));
    let policy = Policy::default().with_nat64("2a00:64::/96".parse().unwrap()).unwrap();
    assert_eq!(judge(&policy, ip), Err(Refusal::Address(Range::Embedded)));
    let odd = "2a00:64::/50".parse().unwrap();
    assert_eq!(Policy::default().with_nat64(odd).err(), Some(PolicyError::Nat64(odd)));
}

#[test]
fn an_allow_list_opens_no_more_than_a_slash_eight() {
    for wide in ["0.0.0.0/0", "10.0.0.0/7", "::/0", "fc00::/7"] {
        assert_eq!(Policy::default().with_allowed(net(wide)).err(), Some(PolicyError::TooWide(net(wide))));
    }
    for narrow in ["10.0.0.0/8", "127.0.0.1/32", "fd00::/8", "::1/128"] {
        assert!(Policy::default().with_allowed(net(narrow)).is_ok(), "{narrow}");
    }
}
