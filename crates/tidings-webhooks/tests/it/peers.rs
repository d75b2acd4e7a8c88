//! Verified by libraries that others wrote: npm's, PyPI's and the Rust registry's.

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use http::{HeaderMap, HeaderValue};
use serde_json::{Value, json};
use tidings_webhooks::signing::{NewKey, SigningKey, sign};

const ID: &str = "evt_0192.end_7";
const BODY: &str = r#"{"seq":7,"type":"note.changed","data":{"text":"naïve — ☃"}}"#;

#[allow(clippy::disallowed_methods, reason = "the libraries look at the wall clock")]
fn now() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64
}

/// Under an old key and a new one, as during a rotation.
fn headers(keys: &[&SigningKey]) -> HeaderMap {
    let timestamp = now();
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_static(ID));
    headers.insert("webhook-timestamp", timestamp.into());
    headers.insert("webhook-signature", sign(keys.iter().copied(), ID, timestamp, BODY.as_bytes()));
    headers
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Which of the messages, each a secret and a body under `headers`, the peer accepts.
fn accepted(program: &str, args: &[&str], headers: &HeaderMap, messages: &[(&str, &str)]) -> String {
    let installed = root().join("target/peers-node");
    assert!(
        installed.exists() && root().join("target/peers").exists(),
        "peers are missing; run: scripts/prepare test"
    );
    let headers: BTreeMap<&str, &str> =
        headers.iter().map(|(k, v)| (k.as_str(), v.to_str().unwrap())).collect();
    let message = |(secret, body): &(&str, &str)| json!({"secret": secret, "headers": headers, "body": body});
    let messages = messages.iter().map(message).collect::<Value>().to_string();
    let mut child = Command::new(program)
        .args(args)
        .current_dir(root().join("tests/peers"))
        .env("PEERS", installed.canonicalize().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(messages.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().replace(' ', "").trim().to_owned()
}

#[test]
fn libraries_of_other_makers_accept_what_was_signed_and_nothing_else() {
    let (old, new) = (SigningKey::new_v1(&[1; 32]), SigningKey::new_v1(&[2; 32]));
    let NewKey { text: other, .. } = SigningKey::new_v1(&[3; 32]);
    let (headers, changed) = (headers(&[&old.key, &new.key]), BODY.replace('7', "8"));
    let python = root().join("target/peers/bin/python");
    let python = python.to_str().unwrap();
    let peers: [(&str, &[&str]); 3] = [
        (python, &["verify.py", "standardwebhooks"]),
        (python, &["verify.py", "svix"]),
        ("node", &["verify.mjs", "v1"]),
    ];
    for (program, args) in peers {
        let messages = [(&**old.text, BODY), (&**new.text, BODY), (&**old.text, &changed), (&**other, BODY)];
        assert_eq!(accepted(program, args, &headers, &messages), "[true,true,false,false]", "{args:?}");
    }
}

#[test]
fn the_crate_of_standard_webhooks_accepts_it() {
    let (old, new) = (SigningKey::new_v1(&[1; 32]), SigningKey::new_v1(&[2; 32]));
    let headers = headers(&[&old.key, &new.key]);
    for text in [&old.text, &new.text] {
        let webhook = standardwebhooks::Webhook::new(text).unwrap();
        assert!(webhook.verify(BODY.as_bytes(), &headers).is_ok());
        assert!(webhook.verify(b"{}", &headers).is_err());
    }
}

/// No library of those verifies `v1a`; Node's own Ed25519 does.
#[test]
fn the_public_key_verifies_what_the_private_one_signed() {
    let (shared, pair) = (SigningKey::new_v1(&[1; 32]), SigningKey::new_v1a(&[2; 32]));
    let (headers, changed) = (headers(&[&shared.key, &pair.key]), BODY.replace('7', "8"));
    let (public, other) = (pair.key.public().unwrap(), SigningKey::new_v1a(&[3; 32]).key.public().unwrap());
    let messages = [(&*public, BODY), (&*public, &changed), (&*other, BODY)];
    assert_eq!(accepted("node", &["verify.mjs", "v1a"], &headers, &messages), "[true,false,false]");
}
