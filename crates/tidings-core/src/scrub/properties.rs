//! Secrets of every kind in random surroundings. A failing case prints its seed and shrinks.

use proptest::prelude::*;

use super::{MESSAGE_MAX, scrub};

/// Words and punctuation without a line break, so that the secret is on the line that is shown.
fn around() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        4 => "[a-zA-Z]{1,9}",
        1 => "[0-9]{1,4}",
        1 => "[.,:;!?(){}<>=&%*#|~+-]{1,3}",
        1 => "[\\[\\]\"'`/\\\\@_$]{1,2}",
        1 => "\\PC{1,4}",
        1 => Just("[path]".to_owned()),
        1 => Just("password".to_owned()),
    ];
    proptest::collection::vec(word, 0..6).prop_map(|words| words.join(" "))
}

/// What stands right before and right after a secret.
fn edges() -> impl Strategy<Value = (&'static str, &'static str)> {
    prop_oneof![
        4 => Just((" ", " ")),
        1 => Just((" \"", "\" ")),
        1 => Just((" '", "' ")),
        1 => Just((" (", ") ")),
        1 => Just((": ", ", ")),
        1 => Just((" <", "> ")),
        1 => Just((" [", "] ")),
        1 => Just((" {\"k\":\"", "\"} ")),
        1 => Just((" x=", "; ")),
    ]
}

/// A secret and the parts of it that must not be seen.
fn secret() -> impl Strategy<Value = (String, Vec<String>)> {
    let whole = |s: String| (s.clone(), vec![s]);
    prop_oneof![
        "/(etc|home|srv|data)/q[a-z0-9]{5,9}/q[a-z0-9]{5,9}(\\.[a-z]{2,4})?".prop_map(|p| parts(&p, '/')),
        "[C-Z]:\\\\q[a-z0-9]{5,9}\\\\q[a-z0-9]{5,9}\\.[a-z]{3}".prop_map(|p| parts(&p, '\\')),
        "[.]{1,2}/q[a-z0-9]{5,9}/q[a-z0-9]{5,9}".prop_map(|p| parts(&p, '/')),
        "(https?|postgres|redis|s3|file)://q[a-z0-9]{5,9}/q[a-z0-9]{5,9}".prop_map(|p| parts(&p, '/')),
        "postgres://ana:q[A-Za-z0-9]{5,9}@q[a-z0-9]{5,9}".prop_map(|p| parts(&p, '@')),
        "q[a-z0-9]{5,9}@q[a-z0-9]{5,9}\\.(com|org|internal)".prop_map(|p| parts(&p, '@')),
        (10_u8..=255, 0_u8..=255, 0_u8..=255, 10_u8..=255, proptest::option::of(1_u16..))
            .prop_map(|(a, b, c, d, port)| format!(
                "{a}.{b}.{c}.{d}{}",
                port.map_or(String::new(), |p| format!(":{p}"))
            ))
            .prop_map(whole),
        any::<[u8; 16]>().prop_map(|b| std::net::Ipv6Addr::from(b).to_string()).prop_map(whole),
        "q[a-z]{5,9}-[a-z]{2,5}:[1-9][0-9]{3}".prop_map(whole),
        "q[a-z]{5,9}\\.[a-z]{2,5}\\.internal".prop_map(whole),
        any::<[u8; 16]>().prop_map(|b| b.map(|b| format!("{b:02x}")).concat()).prop_map(whole),
        any::<[u8; 32]>().prop_map(|b| base64(&b, *b"-_")).prop_map(whole),
        any::<[u8; 30]>().prop_map(|b| base64(&b, *b"+/")).prop_map(whole),
        any::<([u8; 16], [u8; 32])>()
            .prop_map(|(id, key)| format!(
                "tdk_{}_{}",
                id.map(|b| format!("{b:02x}")).concat(),
                base64(&key, *b"-_")
            ))
            .prop_map(whole),
        any::<([u8; 15], [u8; 32])>()
            .prop_map(|(c, s)| format!(
                "eyJhbGciOiJub25lIn0.eyJ{}.{}",
                base64(&c, *b"-_"),
                base64(&s, *b"-_")
            ))
            .prop_map(|p| parts(&p, '.')),
        "Bearer q[a-z0-9]{6,12}[0-9]".prop_map(|p| parts(&p, ' ')),
        "(password|api_key|client-secret|DB_PASSWORD|token)(=|: | = )q[A-Za-z0-9!%^]{6,12}"
            .prop_map(|p| (p.clone(), vec![p[p.rfind(['=', ' ']).unwrap_or(0) + 1..].to_owned()])),
        "(SELECT|select) q[a-z]{5,9}, q[a-z]{5,9} (FROM|from) q[a-z]{5,9}".prop_map(|p| parts(&p, ' ')),
        "(INSERT INTO|DELETE FROM|insert into) q[a-z]{5,9}".prop_map(|p| parts(&p, ' ')),
        "at q[a-z]{5,9}\\.q[a-z]{5,9} ?\\(q[a-z]{5,9}\\.(js|java):[1-9][0-9]?\\)"
            .prop_map(|p| parts(&p, '.')),
    ]
}

fn base64(bytes: &[u8], last: [u8; 2]) -> String {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let bits: Vec<u8> = bytes.iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1)).collect();
    let sextets = bits.chunks(6).map(|s| s.iter().chain(&[0; 6]).take(6).fold(0, |n, bit| n << 1 | bit));
    sextets
        .map(|n: u8| char::from(if n < 62 { LETTERS[n as usize] } else { last[n as usize - 62] }))
        .collect()
}

/// The parts that start with a `q`: those that the generators above meant as secret.
fn parts(text: &str, separator: char) -> (String, Vec<String>) {
    let named =
        text.split([separator, '/', '@', ',', '(', ' ']).filter(|p| p.len() > 5 && p.starts_with(['q', 'e']));
    (text.to_owned(), named.map(str::to_owned).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_planted_secret_never_survives(
        before in around(),
        (open, close) in edges(),
        (secret, parts) in secret(),
        after in around(),
    ) {
        let raw = format!("{before}{open}{secret}{close}{after}");
        let clean = scrub(&raw);
        for part in parts {
            prop_assert!(!clean.contains(&part), "{part:?} of {raw:?} survives in {clean:?}");
        }
    }

    #[test]
    fn scrubbing_twice_changes_nothing_more(raw in prop_oneof![
        "\\PC{0,400}",
        "[a-z/\\\\:.@=\\[\\]\"' 0-9A-F%-]{0,400}",
        (around(), edges(), secret(), around()).prop_map(|(b, (o, c), (s, _), a)| format!("{b}{o}{s}{c}{a}{s}{b}").repeat(3)),
        "(\\[path\\]|\\[secret\\]|[/:=.@ ]|password|at |ab){0,90}",
    ]) {
        let once = scrub(&raw);
        prop_assert_eq!(scrub(&once), once);
    }

    #[test]
    fn it_never_panics_and_answers_one_short_line(raw in "(?s).{0,600}") {
        let clean = scrub(&raw);
        prop_assert!(clean.chars().count() <= MESSAGE_MAX);
        let broken = clean.contains(['\n', '\r', '\u{2028}', '\u{2029}']);
        prop_assert!(!broken);
    }
}
