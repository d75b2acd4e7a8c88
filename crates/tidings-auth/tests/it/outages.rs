use std::time::Duration;

use tidings_auth::{AuthError, Cause, Outage, TicketRequest, TokenRequest};

use crate::world::{World, cause, scopes, tenant_id};

#[tokio::test]
async fn cached_verdicts_serve_a_minute_then_nothing_is_believed() {
    let world = World::new().await;
    let (_, key) = world.key("events:read", None).await;
    let (_, unseen) = world.key("events:read", None).await;
    let token = world.keys.issue(&TokenRequest {
        tenant: tenant_id("acme"),
        user: None,
        scopes: scopes("events:read"),
        subjects: None,
        ttl: Duration::from_hours(1),
    });
    let minter = world.bearer(&key).await.expect("passes");
    world.bearer(&token).await.expect("passes");
    let ticket = world.auth.mint_ticket(&minter, TicketRequest::default()).expect("minted").ticket;

    world.store.lose(true);
    assert!(world.auth.step().await.is_err());
    world.clock.advance(Duration::from_secs(20));
    world.bearer(&key).await.expect("remembered");
    world.bearer(&token).await.expect("remembered");
    assert!(matches!(world.bearer(&unseen).await, Err(AuthError::Unavailable(Outage::Read(_)))));
    assert!(matches!(world.ticket(&ticket, None).await, Err(AuthError::Unavailable(_))));
    assert_eq!(cause(world.bearer("nonsense").await), Cause::Form, "what is wrong whatever the store says");

    world.clock.advance(Duration::from_secs(41));
    for credential in [&key, &token] {
        assert!(matches!(world.bearer(credential).await, Err(AuthError::Unavailable(Outage::Stale))));
    }

    world.store.lose(false);
    world.auth.step().await.expect("the store is back");
    for credential in [&key, &unseen, &token] {
        world.bearer(credential).await.expect("passes again");
    }
}

#[tokio::test]
async fn a_ticket_that_could_not_be_redeemed_can_be_tried_again() {
    let world = World::new().await;
    let token = world.keys.issue(&TokenRequest {
        tenant: tenant_id("acme"),
        user: None,
        scopes: scopes("events:read"),
        subjects: None,
        ttl: Duration::from_hours(1),
    });
    let minter = world.bearer(&token).await.expect("passes");
    let ticket = world.auth.mint_ticket(&minter, TicketRequest::default()).expect("minted").ticket;
    world.store.lose(true);
    assert!(matches!(world.ticket(&ticket, None).await, Err(AuthError::Unavailable(Outage::Redeem(_)))));
    world.store.lose(false);
    world.ticket(&ticket, None).await.expect("nothing was taken");
}
