use std::{sync::Arc, time::Duration};

use proptest::prelude::*;
use tidings_auth::{Cause, MintError, TicketRequest, TokenRequest};
use tidings_core::{Clock as _, CredentialId, Grant, GrantError, Principal, Scope};
use tidings_store::{Operation, TenantState};

use crate::{
    signer::b64,
    world::{World, cause, grant, operator, scopes, tenant_id, user},
};

const ORIGIN: &str = "https://app.example.com";

async fn minter(world: &World, scopes: &str) -> Arc<Principal> {
    let (_, text) = world.key(scopes, None).await;
    world.bearer(&text).await.expect("passes")
}

fn bound() -> TicketRequest {
    TicketRequest { origin: Some(ORIGIN.into()), ..TicketRequest::default() }
}

#[tokio::test]
async fn a_ticket_counts_once() {
    let world = World::new().await;
    let minter = minter(&world, "events:read events:detail jobs:write keys:manage").await;
    let ticket = world.auth.mint_ticket(&minter, TicketRequest::default()).expect("minted").ticket;
    let principal = world.ticket(&ticket, None).await.expect("passes");
    assert_eq!(
        principal.grant,
        grant("acme", None, "events:read events:detail"),
        "what a stream has use for"
    );
    assert_eq!(principal.credential, minter.credential);
    assert_eq!(cause(world.ticket(&ticket, None).await), Cause::TicketUsed);
}

#[tokio::test]
async fn of_many_that_redeem_it_at_once_one_succeeds() {
    let world = World::new().await;
    let minter = minter(&world, "events:read").await;
    let ticket = world.auth.mint_ticket(&minter, TicketRequest::default()).expect("minted").ticket;
    let tries = (0..20).map(|_| {
        let (auth, ticket) = (world.auth.clone(), ticket.clone());
        tokio::spawn(async move {
            auth.authenticate(tidings_auth::Credential::Ticket { text: &ticket, origin: None }).await
        })
    });
    let mut passed = 0;
    for attempt in tries.collect::<Vec<_>>() {
        match attempt.await.expect("no panic") {
            Ok(_) => passed += 1,
            refused => assert_eq!(cause(refused), Cause::TicketUsed),
        }
    }
    assert_eq!(passed, 1);
}

#[tokio::test]
async fn a_ticket_waits_thirty_seconds() {
    let world = World::new().await;
    let minter = minter(&world, "events:read").await;
    let mint = || world.auth.mint_ticket(&minter, TicketRequest::default()).expect("minted");
    let (early, late) = (mint(), mint());
    assert_eq!(early.expires_at, world.clock.now() + Duration::from_secs(30));
    world.clock.advance(Duration::from_secs(29));
    world.ticket(&early.ticket, None).await.expect("within its time");
    world.clock.advance(Duration::from_secs(2));
    assert_eq!(cause(world.ticket(&late.ticket, None).await), Cause::Expired);
    assert_eq!(cause(world.ticket(&early.ticket, None).await), Cause::Expired);
}

#[tokio::test]
async fn a_bound_ticket_needs_its_very_origin() {
    let world = World::new().await;
    let minter = minter(&world, "events:read").await;
    let ticket = world.auth.mint_ticket(&minter, bound()).expect("minted").ticket;
    for origin in [
        None,
        Some("null"),
        Some(""),
        Some("https://app.example.com.evil.example"),
        Some("https://evil.example"),
        Some("http://app.example.com"),
        Some("https://app.example.com:8443"),
        Some("https://app.example.com/"),
        Some("https://App.example.com"),
    ] {
        assert_eq!(cause(world.ticket(&ticket, origin).await), Cause::TicketOrigin, "{origin:?}");
    }
    world.ticket(&ticket, Some(ORIGIN)).await.expect("refusals did not use it up");
}

#[tokio::test]
async fn origins_are_written_as_browsers_send_them() {
    let world = World::new().await;
    let minter = minter(&world, "events:read").await;
    let mint = |origin: &str| {
        world
            .auth
            .mint_ticket(&minter, TicketRequest { origin: Some(origin.into()), ..TicketRequest::default() })
    };
    for good in ["https://a", "http://localhost:3000", "https://[::1]:8443"] {
        assert!(mint(good).is_ok(), "{good}");
    }
    for bad in [
        "",
        "null",
        "*",
        "https://",
        "app.example.com",
        "https://a/",
        "https://A",
        "https://a b",
        "ftp://a",
        "https://u@a",
    ] {
        assert_eq!(mint(bad).err(), Some(MintError::Origin), "{bad}");
    }
}

#[tokio::test]
async fn a_ticket_carries_no_more_than_its_minter() {
    let world = World::new().await;
    let own = Principal { grant: grant("acme", Some("ana"), "jobs:read:own"), ..operator() };
    let mint = |minter: &Principal, request| world.auth.mint_ticket(minter, request).err();
    let asked = TicketRequest::default;
    let scope = |s| TicketRequest { scopes: Some(scopes(s)), ..asked() };
    let all = Some(MintError::Grant(GrantError::Scope(Scope::JobsReadAll)));
    assert_eq!(mint(&own, scope("jobs:read:all")), all);
    assert_eq!(mint(&own, scope("system:admin")), Some(MintError::NotForStreams(Scope::SystemAdmin)));
    assert_eq!(mint(&own, scope("jobs:write")), Some(MintError::NotForStreams(Scope::JobsWrite)));
    assert_eq!(mint(&own, scope("events:detail")), Some(MintError::NothingToRead));
    let other = TicketRequest { user: Some(user("ben")), ..asked() };
    assert_eq!(mint(&own, other), Some(MintError::Grant(GrantError::User)));
    let elsewhere = TicketRequest { tenant: Some(tenant_id("rival")), ..asked() };
    assert_eq!(mint(&own, elsewhere), Some(MintError::Grant(GrantError::Tenant)));
    assert_eq!(mint(&operator(), asked()), Some(MintError::TenantNeeded));
    assert_eq!(mint(&own, asked()), None);

    let narrow = Grant { subjects: Some(["note/*".parse().expect("valid")].into()), ..own.grant.clone() };
    let narrow = Principal { grant: narrow, ..own };
    let wide = TicketRequest { subjects: Some(["*".parse().expect("valid")].into()), ..asked() };
    assert!(matches!(mint(&narrow, wide), Some(MintError::Grant(GrantError::Subject(_)))));
    let ticket = world.auth.mint_ticket(&narrow, asked()).expect("minted").ticket;
    // Its minter's key is in no store, so it opens nothing; what it would carry is its minter's.
    assert_eq!(cause(world.ticket(&ticket, None).await), Cause::UnknownKey);
}

#[tokio::test]
async fn a_backend_hands_its_user_that_users_jobs_only() {
    let world = World::new().await;
    let backend = minter(&world, "jobs:read:all events:read jobs:write").await;
    let for_ana = TicketRequest { user: Some(user("ana")), ..TicketRequest::default() };
    let ticket = world.auth.mint_ticket(&backend, for_ana.clone()).expect("minted").ticket;
    let ana = world.ticket(&ticket, None).await.expect("passes");
    assert_eq!(ana.grant, grant("acme", Some("ana"), "jobs:read:own events:read"));
    let wide = TicketRequest { scopes: Some(scopes("jobs:read:all")), ..for_ana };
    let ticket = world.auth.mint_ticket(&backend, wide).expect("asked for by name").ticket;
    assert!(world.ticket(&ticket, None).await.expect("passes").has(Scope::JobsReadAll));
}

#[tokio::test]
async fn a_connection_ends_with_what_minted_its_ticket() {
    let world = World::new().await;
    let request = TokenRequest {
        tenant: tenant_id("acme"),
        user: Some(user("ana")),
        scopes: scopes("events:read"),
        subjects: None,
        ttl: Duration::from_secs(20),
    };
    let minter = world.bearer(&world.keys.issue(&request)).await.expect("passes");
    let ticket = world.auth.mint_ticket(&minter, TicketRequest::default()).expect("minted");
    assert_eq!(Some(ticket.expires_at), minter.expires_at, "no later than the token");
    let principal = world.ticket(&ticket.ticket, None).await.expect("passes");
    assert_eq!(principal.expires_at, minter.expires_at);
    assert_eq!(principal.credential, minter.credential);
}

#[tokio::test]
async fn a_revoked_key_takes_its_tickets_with_it() {
    let world = World::new().await;
    let minter = minter(&world, "events:read").await;
    let mint = || world.auth.mint_ticket(&minter, TicketRequest::default()).expect("minted").ticket;
    let (before, after) = (mint(), mint());
    let CredentialId::Key(id) = minter.credential else { panic!("a key") };
    world.tenant_command("acme", Operation::RevokeKey(id)).await;
    assert_eq!(cause(world.ticket(&before, None).await), Cause::Revoked, "even before the next look");
    world.auth.step().await.expect("the store is there");
    assert!(world.auth.is_revoked(&minter.credential));
    assert_eq!(cause(world.ticket(&after, None).await), Cause::Revoked);
}

#[tokio::test]
async fn a_suspended_or_missing_tenant_takes_no_ticket() {
    let world = World::new().await;
    let token = |tenant: &str| TokenRequest {
        tenant: tenant_id(tenant),
        user: None,
        scopes: scopes("events:read"),
        subjects: None,
        ttl: Duration::from_mins(1),
    };
    world.tenant_command("acme", Operation::SetState(TenantState::Suspended)).await;
    for tenant in ["acme", "nowhere"] {
        let minter = world.bearer(&world.keys.issue(&token(tenant))).await.expect("passes");
        let ticket = world.auth.mint_ticket(&minter, TicketRequest::default()).expect("minted").ticket;
        assert_eq!(cause(world.ticket(&ticket, None).await), Cause::TicketTenant, "{tenant}");
    }
}

#[tokio::test]
async fn forged_tickets_are_refused() {
    let (world, rival) = (World::new().await, World::new().await);
    let minter = minter(&world, "events:read").await;
    let good = world.auth.mint_ticket(&minter, TicketRequest::default()).expect("minted").ticket;
    let (payload, mac) = good[4..].split_once('.').expect("two parts");
    let text = String::from_utf8(base64(payload)).expect("JSON");
    let elsewhere = format!("tdt_{}.{mac}", b64(text.replace("acme", "acmf")));
    let foreign = rival.auth.mint_ticket(&minter, TicketRequest::default()).expect("minted").ticket;
    for (attack, ticket, expected) in [
        ("another tenant", elsewhere, Cause::Signature),
        ("another server's key", foreign, Cause::Signature),
        ("no mac", format!("tdt_{payload}."), Cause::Signature),
        ("a short mac", format!("tdt_{payload}.{}", b64([0; 8])), Cause::Signature),
        ("no dot", format!("tdt_{payload}"), Cause::Form),
        ("padding", format!("{good}="), Cause::Encoding),
        ("no prefix", good[4..].into(), Cause::Form),
        ("empty", String::new(), Cause::Form),
        ("100 kB", format!("tdt_{}.{mac}", "A".repeat(100_000)), Cause::TooLong),
    ] {
        assert_eq!(cause(world.ticket(&ticket, None).await), expected, "{attack}");
    }
    assert_eq!(cause(world.bearer(&good).await), Cause::Form, "a ticket is no bearer token");
    world.ticket(&good, None).await.expect("none of that used it up");
    let (_, key) = world.key("events:read", None).await;
    assert_eq!(cause(world.ticket(&key, None).await), Cause::Form, "a key is no ticket");
}

fn base64(text: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).expect("base64url")
}

#[test]
fn a_changed_letter_anywhere_makes_a_ticket_worthless() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let world = runtime.block_on(World::new());
    let minter = runtime.block_on(minter(&world, "events:read"));
    let good = world.auth.mint_ticket(&minter, TicketRequest::default()).expect("minted").ticket;
    proptest!(ProptestConfig::with_cases(200), |(at in 0..good.len(), letter in "[A-Za-z0-9_.-]")| {
        let mut forged = good.clone();
        forged.replace_range(at..=at, &letter);
        if forged != good {
            cause(runtime.block_on(world.ticket(&forged, None)));
        }
    });
    runtime.block_on(world.ticket(&good, None)).expect("the good one still passes");
}
