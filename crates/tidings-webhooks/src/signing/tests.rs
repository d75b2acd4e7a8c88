use proptest::prelude::*;

use super::*;

const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIMESTAMP: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;

/// The vectors that the libraries of Standard Webhooks and Svix publish.
#[test]
fn signatures_are_those_of_the_public_vectors() {
    let v1 = SigningKey::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let v1a = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    let v1a = SigningKey::parse(v1a).unwrap();
    let (first, second) = (
        "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        "v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==",
    );
    assert_eq!(sign([&v1], ID, TIMESTAMP, BODY), first);
    let signed = sign([&v1a], ID, TIMESTAMP, BODY);
    assert_eq!(signed.to_str().unwrap(), second);
    assert_eq!(sign([&v1, &v1a], ID, TIMESTAMP, BODY), format!("{first} {second}"));
    let other = SigningKey::parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD").unwrap();
    let body = br#"{"email":"test@example.com","username":"test_user"}"#;
    let signed = sign([&other], "msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body);
    assert_eq!(signed, "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    assert_eq!(v1a.public().unwrap(), "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=");
    assert_eq!(v1.public(), None);
}

#[test]
fn a_new_key_signs_as_its_text_does() {
    for NewKey { key, text } in [SigningKey::new_v1(&[7; 32]), SigningKey::new_v1a(&[7; 32])] {
        let read = SigningKey::parse(&text).unwrap();
        assert_eq!(sign([&key], ID, 1, BODY), sign([&read], ID, 1, BODY));
        assert_eq!(key.public(), read.public());
    }
}

#[test]
fn what_is_no_key_is_refused() {
    let too_short = format!("whsec_{}", STANDARD.encode([1; 23]));
    let mismatched = format!("whsk_{}", STANDARD.encode([1; 64]));
    for (text, error) in [
        ("", SigningKeyError::Prefix),
        ("whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=", SigningKeyError::Prefix),
        ("whsec_!", SigningKeyError::Base64),
        (&too_short, SigningKeyError::SecretLength),
        ("whsk_AAAA", SigningKeyError::KeyPair),
        (&mismatched, SigningKeyError::KeyPair),
    ] {
        assert_eq!(SigningKey::parse(text).err(), Some(error), "{text}");
    }
}

#[test]
fn debug_shows_nothing_of_a_key_and_the_header_is_sensitive() {
    let NewKey { key, text } = SigningKey::new_v1(&[9; 32]);
    let shown = format!("{key:?}");
    assert_eq!(shown, "SigningKey(v1)");
    assert!(!shown.contains(&text[6..]));
    assert!(sign([&key], ID, 1, BODY).is_sensitive());
}

#[test]
fn no_more_than_eight_keys_sign() {
    let NewKey { key, .. } = SigningKey::new_v1(&[9; 32]);
    let header = sign(std::iter::repeat_n(&key, 20), ID, 1, BODY);
    assert_eq!(header.to_str().unwrap().split(' ').count(), SIGNATURES_MAX);
}

proptest! {
    #[test]
    fn whatever_is_changed_changes_the_signature(
        body in proptest::collection::vec(any::<u8>(), 1..200),
        at in any::<proptest::sample::Index>(),
        timestamp in any::<i64>(),
    ) {
        let NewKey { key, .. } = SigningKey::new_v1(&[3; 32]);
        let signed = sign([&key], ID, timestamp, &body);
        let mut changed = body.clone();
        changed[at.index(body.len())] ^= 1;
        prop_assert_ne!(&signed, &sign([&key], ID, timestamp, &changed));
        prop_assert_ne!(&signed, &sign([&key], ID, timestamp.wrapping_add(1), &body));
        prop_assert_ne!(&signed, &sign([&key], "msg_q", timestamp, &body));
    }
}
