use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use tidings_core::SystemEntropy;

use super::*;

fn key(byte: u8) -> MasterKey {
    STANDARD.encode([byte; 32]).parse().expect("a key")
}

fn only(byte: u8) -> MasterKeys {
    MasterKeys::new(key(byte), None)
}

#[test]
fn one_key_is_written_in_many_ways_and_what_is_no_key_is_not_quoted() {
    let bytes: [u8; 32] = std::array::from_fn(|i| 255 - i as u8);
    let hex = format!("{bytes:02x?}").replace(['[', ']', ',', ' '], "");
    let texts = [
        STANDARD.encode(bytes),
        STANDARD_NO_PAD.encode(bytes),
        URL_SAFE.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        hex.to_uppercase(),
        format!(" {hex}\n"),
    ];
    let ids = texts.map(|text| text.parse::<MasterKey>().expect("a key").id());
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    for bad in ["", "hunter2", &hex[2..], &format!("{hex}00"), &STANDARD.encode([1; 31]), &"g".repeat(64)] {
        let error = bad.parse::<MasterKey>().expect_err("no key");
        assert!(error.to_string().contains("openssl rand -base64 32"));
        assert!(bad.is_empty() || !error.to_string().contains(bad));
    }
    let shown = format!("{:?} {:?}", key(7), only(7));
    assert!(!shown.contains(&STANDARD.encode([7; 32])) && shown.contains(&key(7).id().to_string()));
}

#[test]
fn a_secret_opens_for_its_purpose_under_its_key_alone() {
    let keys = only(1);
    let sealed = keys.seal("signing", b"a secret", &SystemEntropy);
    assert_eq!(keys.open("signing", &sealed).expect("opens").as_slice(), b"a secret");
    assert!(!sealed.windows(8).any(|w| w == b"a secret"));
    assert_eq!(keys.open("ticket", &sealed), Err(UnsealError::Damaged));
    let error = only(2).open("signing", &sealed).expect_err("another key");
    assert_eq!(error, UnsealError::OtherKey { sealed: key(1).id(), given: key(2).id() });
    assert_ne!(sealed, keys.seal("signing", b"a secret", &SystemEntropy), "no two are alike");
}

#[test]
fn during_a_change_either_key_opens_and_the_new_one_seals() {
    let both = MasterKeys::new(key(2), Some(key(1)));
    let old = only(1).seal("x", b"old", &SystemEntropy);
    let new = both.seal("x", b"new", &SystemEntropy);
    assert_eq!(both.open("x", &old).expect("opens").as_slice(), b"old");
    assert_eq!(only(2).open("x", &new).expect("opens").as_slice(), b"new");
    assert!(both.is_current(&new) && !both.is_current(&old) && !both.is_current(b""));
}

#[test]
fn a_form_of_a_later_release_is_named() {
    let mut sealed = only(1).seal("x", b"secret", &SystemEntropy);
    sealed[0] = 9;
    assert_eq!(only(1).open("x", &sealed), Err(UnsealError::Form(9)));
}

proptest! {
    #[test]
    fn a_changed_or_shortened_one_is_never_opened(at in 0_usize..46, bit in 0_u8..8, cut in 0_usize..46) {
        let keys = only(1);
        let sealed = keys.seal("x", b"a secret!", &SystemEntropy);
        prop_assert_eq!(sealed.len(), 46);
        let mut changed = sealed.clone();
        changed[at] ^= 1 << bit;
        prop_assert!(keys.open("x", &changed).is_err());
        prop_assert!(keys.open("x", &sealed[..cut]).is_err());
    }

    #[test]
    fn nothing_at_all_makes_it_panic(bytes: Vec<u8>, text: String) {
        let _ = only(1).open("x", &bytes);
        let _ = text.parse::<MasterKey>();
    }
}
