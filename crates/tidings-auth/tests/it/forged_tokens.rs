//! Every attack on a token that the project knows of, each a row; each kind of key has a good token
//! beside it that passes.

use std::time::Duration;

use serde_json::{Value, json};
use tidings_auth::{AuthConfig, Cause, IssuerConfig, KeyConfig, KeyMaterial, SigningAlgorithm};
use tidings_core::{Scope, Tenants};

use crate::{
    signer::{Signer, b64},
    world::{START, World, cause, tenant_id, user},
};

const ISSUER: &str = "https://id.example.com/";
const AUDIENCE: &str = "tidings-api";

/// One issuer with a key of each algorithm, and another issuer with a key of its own.
struct Forge {
    world: World,
    rsa: Signer,
    ec: Signer,
    ed: Signer,
    secret: Signer,
    other: Signer,
}

impl Forge {
    async fn new() -> Self {
        let secret = b"0123456789abcdef0123456789abcdef".to_vec();
        let (rsa, ec, ed, other) = (Signer::rsa(), Signer::ec(), Signer::ed(), Signer::ed());
        let public = |algorithm, kid: &str, signer: &Signer| KeyConfig {
            algorithm,
            kid: Some(kid.into()),
            material: KeyMaterial::PublicKey(signer.pem()),
        };
        let text = String::from_utf8(secret.clone()).expect("ASCII");
        let main = IssuerConfig { leeway: Duration::from_secs(10), ..IssuerConfig::new(ISSUER, AUDIENCE) }
            .with_key(public(SigningAlgorithm::Rs256, "rsa", &rsa))
            .with_key(public(SigningAlgorithm::Es256, "ec", &ec))
            .with_key(public(SigningAlgorithm::EdDsa, "ed", &ed))
            .with_key(KeyConfig {
                algorithm: SigningAlgorithm::Hs256,
                kid: None,
                material: KeyMaterial::Secret(text.into()),
            });
        let second = IssuerConfig::new("https://other.example.com", AUDIENCE).with_key(public(
            SigningAlgorithm::EdDsa,
            "other",
            &other,
        ));
        let world = World::with(AuthConfig { issuers: vec![main, second] }).await;
        Self { world, rsa, ec, ed, secret: Signer::Hmac(secret), other }
    }

    /// A good token but for these claims; `null` takes one out.
    fn claims(&self, changes: &Value) -> String {
        self.ed.token(&header(), &with(claims(), changes))
    }

    /// A good token but for these members of its header.
    fn header(&self, changes: &Value) -> String {
        self.ed.token(&with(header(), changes), &claims())
    }
}

fn header() -> Value {
    json!({ "alg": "EdDSA", "kid": "ed", "typ": "JWT" })
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ana", "tenant_id": "acme", "scope": "events:read openid",
        "iat": START, "nbf": START, "exp": START + 600, "jti": "t-1",
    })
}

fn with(mut object: Value, changes: &Value) -> Value {
    let members = object.as_object_mut().expect("an object");
    for (name, value) in changes.as_object().expect("an object") {
        match value {
            Value::Null => members.remove(name),
            other => members.insert(name.clone(), other.clone()),
        };
    }
    object
}

#[tokio::test]
async fn good_tokens_of_every_kind_pass() {
    let forge = Forge::new().await;
    let kinds = [
        (&forge.rsa, json!({ "alg": "RS256", "kid": "rsa" })),
        (&forge.rsa, json!({ "alg": "RS256" })),
        (&forge.ec, json!({ "alg": "ES256", "kid": "ec", "typ": "at+jwt" })),
        (&forge.ed, json!({ "alg": "EdDSA", "kid": "ed", "typ": "application/at+jwt", "x5t": "ignored" })),
        (&forge.secret, json!({ "alg": "HS256", "typ": "JWT" })),
    ];
    for (signer, header) in kinds {
        let principal = forge.world.bearer(&signer.token(&header, &claims())).await.expect("passes");
        assert_eq!(principal.grant.tenants, Tenants::One(tenant_id("acme")));
        assert_eq!(principal.user(), Some(&user("ana")));
        assert!(principal.has(Scope::EventsRead) && !principal.has(Scope::JobsReadAll));
        assert_eq!(
            principal.expires_at.map(tidings_core::Timestamp::as_secs),
            Some(START + 610),
            "with the leeway"
        );
    }
    for good in [
        json!({ "aud": ["another", AUDIENCE] }),
        json!({ "scope": null, "scp": ["events:read"] }),
        json!({ "exp": START - 9 }),
        json!({ "nbf": START + 10, "iat": START + 10 }),
        json!({ "jti": null, "iat": null, "nbf": null }),
        json!({ "subjects": ["note/*"] }),
        json!({ "token_use": "access", "typ": "Bearer" }),
    ] {
        let principal = forge.world.bearer(&forge.claims(&good)).await;
        assert!(principal.expect("passes").has(Scope::EventsRead), "{good}");
    }
}

/// Rows of (attack, forged token, the cause that the audit names).
fn forgeries(forge: &Forge) -> Vec<(&'static str, String, Cause)> {
    let mut rows = algorithms(forge);
    rows.extend(signatures(forge));
    rows.extend(headers(forge));
    rows.extend(shapes(forge));
    rows.extend(times(forge));
    rows.extend(statements(forge));
    rows
}

fn algorithms(forge: &Forge) -> Vec<(&'static str, String, Cause)> {
    let none =
        |alg: &str| format!("{}.{}.", b64(json!({ "alg": alg }).to_string()), b64(claims().to_string()));
    let signed_none = |alg: &str| forge.header(&json!({ "alg": alg }));
    vec![
        ("alg none, no signature", none("none"), Cause::Signature),
        ("alg nOnE, no signature", none("nOnE"), Cause::Signature),
        ("alg none, signed", signed_none("none"), Cause::Algorithm),
        ("alg None, signed", signed_none("None"), Cause::Algorithm),
        ("alg NONE, signed", signed_none("NONE"), Cause::Algorithm),
        ("alg empty", signed_none(""), Cause::Algorithm),
        ("alg in lower case", signed_none("eddsa"), Cause::Algorithm),
        ("alg missing", forge.header(&json!({ "alg": null })), Cause::Algorithm),
        ("alg a list", forge.header(&json!({ "alg": ["EdDSA"] })), Cause::Algorithm),
        ("alg outside every list", signed_none("HS512"), Cause::Algorithm),
        ("alg of a family we have", signed_none("PS256"), Cause::Algorithm),
    ]
}

fn signatures(forge: &Forge) -> Vec<(&'static str, String, Cause)> {
    let good = forge.claims(&json!({}));
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let mut bits = forge.ed.sign(message.as_bytes());
    bits[7] ^= 1;
    let confused = Signer::Hmac(forge.rsa.pem().into_bytes());
    let trimmed = Signer::Hmac(forge.rsa.pem().trim().as_bytes().to_vec());
    let es_zero = {
        let message = format!("{}.{}", b64(json!({ "alg": "ES256" }).to_string()), b64(claims().to_string()));
        format!("{message}.{}", b64([0; 64]))
    };
    let changed = with(claims(), &json!({ "tenant_id": "rival" })).to_string();
    let swapped = format!("{}.{}.{signature}", b64(header().to_string()), b64(changed));
    vec![
        ("signature taken off", format!("{message}."), Cause::Signature),
        ("one bit changed", format!("{message}.{}", b64(&bits)), Cause::Signature),
        ("signature cut", format!("{message}.{}", b64(&bits[..40])), Cause::Signature),
        ("claims exchanged", swapped, Cause::Signature),
        (
            "HS256 with the RSA public key",
            confused.token(&json!({ "alg": "HS256" }), &claims()),
            Cause::Signature,
        ),
        (
            "… without its last newline",
            trimmed.token(&json!({ "alg": "HS256" }), &claims()),
            Cause::Signature,
        ),
        (
            "… under the RSA key's id",
            confused.token(&json!({ "alg": "HS256", "kid": "rsa" }), &claims()),
            Cause::Signature,
        ),
        (
            "RS256 header over an Ed25519 signature",
            forge.header(&json!({ "alg": "RS256", "kid": "rsa" })),
            Cause::Signature,
        ),
        ("a key's id with another algorithm", forge.header(&json!({ "kid": "rsa" })), Cause::KeyId),
        ("ES256 with r = s = 0", es_zero, Cause::Signature),
        ("a key nobody configured", Signer::ed().token(&header(), &claims()), Cause::Signature),
        ("another issuer's key", forge.other.token(&header(), &claims()), Cause::Signature),
        (
            "another issuer's key and its id",
            forge.other.token(&with(header(), &json!({ "kid": "other" })), &claims()),
            Cause::KeyId,
        ),
        (
            "our issuer with an algorithm only the other has",
            {
                forge.rsa.token(
                    &json!({ "alg": "RS256" }),
                    &with(claims(), &json!({ "iss": "https://other.example.com" })),
                )
            },
            Cause::Algorithm,
        ),
    ]
}

fn headers(forge: &Forge) -> Vec<(&'static str, String, Cause)> {
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "x": b64([1; 32]) });
    let own = Signer::ed();
    let jwk_signed = own.token(&with(header(), &json!({ "jwk": jwk })), &claims());
    let long = "k".repeat(4_000);
    vec![
        ("jwk of the attacker's own", jwk_signed, Cause::HeaderMember),
        ("jwk beside a good signature", forge.header(&json!({ "jwk": jwk })), Cause::HeaderMember),
        ("jku", forge.header(&json!({ "jku": "http://127.0.0.1:1/jwks" })), Cause::HeaderMember),
        ("x5u", forge.header(&json!({ "x5u": "http://127.0.0.1:1/cert" })), Cause::HeaderMember),
        ("x5c", forge.header(&json!({ "x5c": ["MIIB"] })), Cause::HeaderMember),
        ("crit", forge.header(&json!({ "crit": ["exp"] })), Cause::HeaderMember),
        ("crit empty", forge.header(&json!({ "crit": [] })), Cause::HeaderMember),
        ("b64 false", forge.header(&json!({ "b64": false })), Cause::HeaderMember),
        ("b64 true", forge.header(&json!({ "b64": true })), Cause::HeaderMember),
        ("zip", forge.header(&json!({ "zip": "DEF" })), Cause::HeaderMember),
        ("nested", forge.header(&json!({ "cty": "JWT" })), Cause::HeaderMember),
        ("a JWE's header", forge.header(&json!({ "enc": "A256GCM" })), Cause::HeaderMember),
        ("kid unknown", forge.header(&json!({ "kid": "zz" })), Cause::KeyId),
        ("kid in another case", forge.header(&json!({ "kid": "ED" })), Cause::KeyId),
        ("kid with traversal", forge.header(&json!({ "kid": "../../../../dev/null" })), Cause::KeyId),
        ("kid with SQL", forge.header(&json!({ "kid": "ed' OR '1'='1" })), Cause::KeyId),
        ("kid with NUL", forge.header(&json!({ "kid": "ed\0" })), Cause::KeyId),
        ("kid empty", forge.header(&json!({ "kid": "" })), Cause::KeyId),
        ("kid a number", forge.header(&json!({ "kid": 1 })), Cause::KeyId),
        ("kid of 4 kB", forge.header(&json!({ "kid": long })), Cause::KeyId),
        ("kid of 10 kB", forge.header(&json!({ "kid": "k".repeat(10_000) })), Cause::TooLong),
        ("a logout token", forge.header(&json!({ "typ": "logout+jwt" })), Cause::HeaderType),
        ("a type that is no text", forge.header(&json!({ "typ": 1 })), Cause::HeaderType),
        ("a proof of possession", forge.header(&json!({ "typ": "dpop+jwt" })), Cause::HeaderType),
    ]
}

fn shapes(forge: &Forge) -> Vec<(&'static str, String, Cause)> {
    let good = forge.claims(&json!({}));
    let (message, signature) = good.rsplit_once('.').expect("three parts");
    let (head, body) = message.split_once('.').expect("two parts");
    let text = claims().to_string();
    let twice = |member: &str| format!("{{{member},{}", &text[1..]);
    vec![
        ("empty", String::new(), Cause::Form),
        ("one part", head.into(), Cause::Form),
        ("two parts", message.into(), Cause::Form),
        ("four parts", format!("{good}.{signature}"), Cause::Form),
        ("five parts: a JWE", format!("{good}.{signature}.{signature}"), Cause::Form),
        ("only dots", "..".into(), Cause::Signature),
        ("padded signature", format!("{good}=="), Cause::Encoding),
        ("padded header", format!("{head}=.{body}.{signature}"), Cause::Encoding),
        ("white space before", format!(" {good}"), Cause::Encoding),
        ("white space after", format!("{good} "), Cause::Encoding),
        ("a newline in it", format!("{message}.\n{signature}"), Cause::Encoding),
        ("the standard alphabet", format!("{message}.+/{}", &signature[2..]), Cause::Encoding),
        ("stray bits at the end", format!("{message}.{}", stray_bits(signature)), Cause::Encoding),
        ("not ASCII", format!("{message}.ä{}", &signature[1..]), Cause::Encoding),
        ("100 kB", forge.claims(&json!({ "pad": "x".repeat(100_000) })), Cause::TooLong),
        ("100 kB of dots", ".".repeat(100_000), Cause::TooLong),
        ("header no JSON", forge.ed.raw("alg=EdDSA", &text), Cause::Json),
        ("header a list", forge.ed.raw("[]", &text), Cause::Json),
        ("claims a text", forge.ed.raw(&header().to_string(), "\"x\""), Cause::Json),
        ("claims with text after", forge.ed.raw(&header().to_string(), &format!("{text}x")), Cause::Json),
        (
            "claims with a byte order mark",
            forge.ed.raw(&header().to_string(), &format!("\u{feff}{text}")),
            Cause::Json,
        ),
        ("claims nested deep", forge.ed.raw(&header().to_string(), &"{\"a\":".repeat(900)), Cause::Json),
        (
            "alg twice",
            forge.ed.raw(r#"{"alg":"none","alg":"EdDSA","kid":"ed"}"#, &text),
            Cause::DuplicateMember,
        ),
        (
            "tenant twice",
            forge.ed.raw(&header().to_string(), &twice(r#""tenant_id":"rival""#)),
            Cause::DuplicateMember,
        ),
        (
            "exp twice",
            forge.ed.raw(&header().to_string(), &twice(r#""exp":9999999999"#)),
            Cause::DuplicateMember,
        ),
        (
            "iss twice, one escaped",
            forge.ed.raw(&header().to_string(), &twice(r#""\u0069ss":"x""#)),
            Cause::DuplicateMember,
        ),
        (
            "deep member twice",
            forge.ed.raw(&header().to_string(), &twice(r#""x":[{"a":1,"a":1}]"#)),
            Cause::DuplicateMember,
        ),
    ]
}

/// Another spelling of the same bytes: the last of the 86 letters of 64 bytes has four unused bits.
fn stray_bits(signature: &str) -> String {
    let last = signature.as_bytes()[85];
    let next = if last == b'A' { 'B' } else { char::from(last + 1) };
    format!("{}{next}", &signature[..85])
}

fn times(forge: &Forge) -> Vec<(&'static str, String, Cause)> {
    let raw = |exp: &str| {
        let text = with(claims(), &json!({ "exp": null })).to_string();
        forge.ed.raw(&header().to_string(), &format!("{{\"exp\":{exp},{}", &text[1..]))
    };
    vec![
        ("expired", forge.claims(&json!({ "exp": START - 60 })), Cause::Expired),
        ("expired beyond the leeway", forge.claims(&json!({ "exp": START - 10 })), Cause::Expired),
        ("exp missing", forge.claims(&json!({ "exp": null })), Cause::Expiry),
        ("exp a text", raw("\"9999999999\""), Cause::Expiry),
        ("exp null", raw("null"), Cause::Expiry),
        ("exp true", raw("true"), Cause::Expiry),
        ("exp a list", raw("[9999999999]"), Cause::Expiry),
        ("exp a fraction", raw("9999999999.5"), Cause::Expiry),
        ("exp a float", raw("9999999999.0"), Cause::Expiry),
        ("exp negative", raw("-1"), Cause::Expiry),
        ("exp zero", raw("0"), Cause::Expiry),
        ("exp 1e308", raw("1e308"), Cause::Expiry),
        ("exp 1e309", raw("1e309"), Cause::Json),
        ("exp 2^63", raw("9223372036854775808"), Cause::Expiry),
        ("exp 2^64 + 1", raw("18446744073709551617"), Cause::Expiry),
        ("exp in milliseconds", raw("1790000000000"), Cause::Expiry),
        ("not valid yet", forge.claims(&json!({ "nbf": START + 11 })), Cause::NotYetValid),
        ("nbf a text", forge.claims(&json!({ "nbf": "0" })), Cause::NotYetValid),
        ("nbf a float", forge.claims(&json!({ "nbf": 0.5 })), Cause::NotYetValid),
        ("issued in the future", forge.claims(&json!({ "iat": START + 3_600 })), Cause::NotYetValid),
    ]
}

fn statements(forge: &Forge) -> Vec<(&'static str, String, Cause)> {
    let row = |name, changes: Value, cause| (name, forge.claims(&changes), cause);
    vec![
        row("iss missing", json!({ "iss": null }), Cause::Issuer),
        row("iss unknown", json!({ "iss": "https://evil.example.com/" }), Cause::Issuer),
        row("iss without its slash", json!({ "iss": "https://id.example.com" }), Cause::Issuer),
        row("iss with another slash", json!({ "iss": "https://id.example.com//" }), Cause::Issuer),
        row("iss in another case", json!({ "iss": "https://ID.example.com/" }), Cause::Issuer),
        row("iss a list", json!({ "iss": [ISSUER] }), Cause::Issuer),
        row("iss empty", json!({ "iss": "" }), Cause::Issuer),
        row("iss ours", json!({ "iss": "tidings", "aud": "tidings" }), Cause::KeyId),
        row("aud missing", json!({ "aud": null }), Cause::Audience),
        row("aud another", json!({ "aud": "another" }), Cause::Audience),
        row("aud in another case", json!({ "aud": "Tidings-API" }), Cause::Audience),
        row("aud with a slash", json!({ "aud": "tidings-api/" }), Cause::Audience),
        row("aud as a prefix", json!({ "aud": "tidings-api-admin" }), Cause::Audience),
        row("aud empty list", json!({ "aud": [] }), Cause::Audience),
        row("aud list with a number", json!({ "aud": [AUDIENCE, 1] }), Cause::Audience),
        row("aud an object", json!({ "aud": { AUDIENCE: true } }), Cause::Audience),
        row("an ID token (nonce)", json!({ "nonce": "n" }), Cause::Purpose),
        row("an ID token (at_hash)", json!({ "at_hash": "h" }), Cause::Purpose),
        row("an ID token of Cognito", json!({ "token_use": "id" }), Cause::Purpose),
        row("an ID token of Keycloak", json!({ "typ": "ID" }), Cause::Purpose),
        row("a refresh token of Keycloak", json!({ "typ": "Refresh" }), Cause::Purpose),
        row("tenant missing", json!({ "tenant_id": null }), Cause::Tenant),
        row("tenant empty", json!({ "tenant_id": "" }), Cause::Tenant),
        row("tenant a list", json!({ "tenant_id": ["acme"] }), Cause::Tenant),
        row("tenant an object", json!({ "tenant_id": { "id": "acme" } }), Cause::Tenant),
        row("tenant no id", json!({ "tenant_id": "Acme Inc" }), Cause::Tenant),
        row("tenant with traversal", json!({ "tenant_id": "../acme" }), Cause::Tenant),
        row("tenant a wildcard", json!({ "tenant_id": "*" }), Cause::Tenant),
        row("user missing", json!({ "sub": null }), Cause::User),
        row("user a number", json!({ "sub": 7 }), Cause::User),
        row("user with a comma", json!({ "sub": "ana,ben" }), Cause::User),
        row("user with invisible letters", json!({ "sub": "ana\u{200b}" }), Cause::User),
        row("scope a number", json!({ "scope": 1 }), Cause::Scopes),
        row("scope a list with a number", json!({ "scope": ["events:read", 1] }), Cause::Scopes),
        row("subjects a text", json!({ "subjects": "note/*" }), Cause::Subjects),
        row("subjects malformed", json!({ "subjects": ["no*te"] }), Cause::Subjects),
        row("jti a number", json!({ "jti": 1 }), Cause::TokenId),
        row("jti too long", json!({ "jti": "j".repeat(300) }), Cause::TokenId),
    ]
}

#[tokio::test]
async fn forged_tokens_are_refused_and_told_nothing() {
    let forge = Forge::new().await;
    let rows = forgeries(&forge);
    assert!(rows.len() > 120, "{} rows", rows.len());
    for (attack, token, expected) in rows {
        assert_eq!(cause(forge.world.bearer(&token).await), expected, "{attack}");
    }
    forge.world.bearer(&forge.claims(&json!({}))).await.expect("a good token passes after all that");
}

#[tokio::test]
async fn no_issuer_makes_operators() {
    let forge = Forge::new().await;
    for scope in [json!("system:admin events:read"), json!(["system:admin", "events:read"])] {
        let principal = forge.world.bearer(&forge.claims(&json!({ "scope": scope }))).await.expect("passes");
        assert!(!principal.is_operator());
        assert!(principal.has(Scope::EventsRead));
    }
}

#[tokio::test]
async fn a_remembered_token_ends_at_its_expiry() {
    let forge = Forge::new().await;
    let token = forge.claims(&json!({}));
    forge.world.bearer(&token).await.expect("passes");
    forge.world.clock.advance(Duration::from_secs(609));
    forge.world.auth.step().await.expect("the store is there");
    forge.world.bearer(&token).await.expect("within the leeway");
    forge.world.clock.advance(Duration::from_secs(1));
    assert_eq!(cause(forge.world.bearer(&token).await), Cause::Expired);
}

#[tokio::test]
async fn a_token_without_an_id_is_named_by_a_digest() {
    let forge = Forge::new().await;
    let token = forge.claims(&json!({ "jti": null }));
    let principal = forge.world.bearer(&token).await.expect("passes");
    let named = format!("{:?}", principal.credential);
    assert!(named.contains("sha256:"), "{named}");
    assert!(!token.split('.').any(|part| named.contains(part)));
}
