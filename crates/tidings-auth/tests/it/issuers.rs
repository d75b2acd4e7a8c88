//! What may stand in an issuer's configuration.

use std::{fs, sync::Arc, time::Duration};

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _},
};
use serde_json::json;
use tidings_auth::{
    AuthConfig, Authenticator, Cause, ConfigError, IssuerConfig, KeyConfig, KeyMaterial, OpenError,
    SigningAlgorithm,
};
use tidings_core::SystemEntropy;

use crate::{
    signer::{Signer, pem},
    world::{World, cause},
};

fn key(algorithm: SigningAlgorithm, material: KeyMaterial) -> KeyConfig {
    KeyConfig { algorithm, kid: None, material }
}

fn public(algorithm: SigningAlgorithm, pem: impl Into<String>) -> KeyConfig {
    key(algorithm, KeyMaterial::PublicKey(pem.into()))
}

fn secret(text: &str) -> KeyConfig {
    key(SigningAlgorithm::Hs256, KeyMaterial::Secret(text.into()))
}

fn issuer() -> IssuerConfig {
    IssuerConfig::new("https://id.example.com", "tidings-api")
}

const SECRET: &str = "0123456789abcdef0123456789abcdef";

async fn open(world: &World, issuers: Vec<IssuerConfig>) -> Result<Authenticator, OpenError> {
    Authenticator::open(
        AuthConfig { issuers },
        world.keys.clone(),
        world.store.clone(),
        world.journal.clone(),
        Arc::new(world.clock.clone()),
        Arc::new(SystemEntropy),
    )
    .await
}

#[tokio::test]
async fn what_could_weaken_verification_is_refused_at_the_start() {
    let world = World::new().await;
    // A 512-bit RSA key, generated for this test and thrown away.
    let tiny = pem("PUBLIC KEY", &tiny_rsa());
    let p384 = EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).expect("generates");
    let p384 = AsDer::<PublicKeyX509Der<'_>>::as_der(p384.public_key()).expect("encodes");
    let p384 = pem("PUBLIC KEY", p384.as_ref());
    let (rsa, ed) = (Signer::rsa().pem(), Signer::ed().pem());
    let named = |kid: &str| KeyConfig { kid: Some(kid.into()), ..secret(SECRET) };
    let rows: Vec<(&str, Vec<IssuerConfig>)> =
        vec![
            ("no keys", vec![issuer()]),
            ("this server's name", vec![IssuerConfig::new("tidings", "x").with_key(secret(SECRET))]),
            ("named twice", vec![issuer().with_key(secret(SECRET)), issuer().with_key(secret(SECRET))]),
            ("an empty name", vec![IssuerConfig::new("", "x").with_key(secret(SECRET))]),
            ("an empty audience", vec![IssuerConfig::new("x", "").with_key(secret(SECRET))]),
            ("a short secret", vec![issuer().with_key(secret("0123456789abcdef0123456789abcde"))]),
            ("a PEM as a secret", vec![issuer().with_key(secret(&rsa))]),
            ("a public key for HS256", vec![issuer().with_key(public(SigningAlgorithm::Hs256, &rsa))]),
            (
                "a secret for RS256",
                vec![issuer().with_key(key(SigningAlgorithm::Rs256, KeyMaterial::Secret(SECRET.into())))],
            ),
            ("an RSA key for EdDSA", vec![issuer().with_key(public(SigningAlgorithm::EdDsa, &rsa))]),
            ("an Ed25519 key for RS256", vec![issuer().with_key(public(SigningAlgorithm::Rs256, &ed))]),
            ("P-384 for ES256", vec![issuer().with_key(public(SigningAlgorithm::Es256, &p384))]),
            ("a 512-bit RSA key", vec![issuer().with_key(public(SigningAlgorithm::Rs256, &tiny))]),
            (
                "a private key",
                vec![issuer().with_key(public(SigningAlgorithm::EdDsa, ed.replace("PUBLIC", "PRIVATE")))],
            ),
            ("no PEM at all", vec![issuer().with_key(public(SigningAlgorithm::Rs256, "nonsense"))]),
            (
                "a missing file",
                vec![issuer().with_key(key(
                    SigningAlgorithm::Rs256,
                    KeyMaterial::PublicKeyFile("/nowhere/key".into()),
                ))],
            ),
            (
                "an algorithm outside the list",
                vec![IssuerConfig {
                    algorithms: vec![SigningAlgorithm::Rs256],
                    ..issuer().with_key(secret(SECRET))
                }],
            ),
            ("the same kid twice", vec![issuer().with_key(named("a")).with_key(named("a"))]),
            ("an empty kid", vec![issuer().with_key(named(""))]),
            (
                "too much leeway",
                vec![IssuerConfig { leeway: Duration::from_secs(61), ..issuer().with_key(secret(SECRET)) }],
            ),
        ];
    for (what, issuers) in rows {
        assert!(matches!(open(&world, issuers).await, Err(OpenError::Config(_))), "{what}");
    }
    for good in [secret(SECRET), public(SigningAlgorithm::Rs256, &rsa), public(SigningAlgorithm::EdDsa, &ed)]
    {
        open(&world, vec![issuer().with_key(good)]).await.expect("good ones pass");
    }
}

#[tokio::test]
async fn keys_may_stand_in_files() {
    let world = World::new().await;
    let path = world.folder.path().join("secret");
    fs::write(&path, format!("{SECRET}\n")).expect("writes");
    let config = issuer().with_key(key(SigningAlgorithm::Hs256, KeyMaterial::SecretFile(path)));
    world.auth.reload(&AuthConfig { issuers: vec![config] }).expect("loads");
    world.bearer(&token(&world)).await.expect("passes");
}

#[tokio::test]
async fn a_removed_key_stops_counting_at_once_and_a_bad_reload_changes_nothing() {
    let world = World::new().await;
    let config = AuthConfig { issuers: vec![issuer().with_key(secret(SECRET))] };
    world.auth.reload(&config).expect("loads");
    let token = token(&world);
    world.bearer(&token).await.expect("passes");
    let bad = AuthConfig { issuers: vec![issuer()] };
    assert!(matches!(world.auth.reload(&bad), Err(ConfigError::Issuer { .. })));
    world.bearer(&token).await.expect("still passes");
    world.auth.reload(&AuthConfig::default()).expect("loads");
    assert_eq!(cause(world.bearer(&token).await), Cause::Issuer);
}

fn token(world: &World) -> String {
    Signer::Hmac(SECRET.into()).token(
        &json!({ "alg": "HS256" }),
        &json!({
            "iss": "https://id.example.com", "aud": "tidings-api", "sub": "ana", "tenant_id": "acme",
            "exp": world.clock.secs() + 60,
        }),
    )
}

#[test]
fn a_configuration_shows_no_secret() {
    let shown = format!("{:?}", issuer().with_key(secret(SECRET)));
    assert!(!shown.contains(SECRET), "{shown}");
}

/// The SubjectPublicKeyInfo of an RSA key with a modulus of 512 bits.
fn tiny_rsa() -> Vec<u8> {
    let mut modulus = vec![0x02, 0x41, 0x00];
    modulus.extend([0xC1; 64]);
    let mut key = vec![0x30, (modulus.len() + 5) as u8];
    key.extend(modulus);
    key.extend([0x02, 0x03, 0x01, 0x00, 0x01]);
    let mut bits = vec![0x03, (key.len() + 1) as u8, 0x00];
    bits.extend(key);
    let algorithm = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
    let mut info = vec![0x30, (algorithm.len() + bits.len()) as u8];
    info.extend(algorithm);
    info.extend(bits);
    info
}
