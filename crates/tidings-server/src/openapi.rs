//! The OpenAPI 3.1 document, from the handlers' own descriptions.

mod schema;
mod webhooks;

use std::sync::OnceLock;

use axum::response::Response;
use bytes::Bytes;
use http::StatusCode;
use utoipa::{
    Modify, OpenApi,
    openapi::{
        Components, ContentBuilder, Ref, RefOr, ResponseBuilder,
        security::{Http, HttpAuthScheme, SecurityScheme},
    },
};

use crate::{body, routes, streams};

pub(crate) use schema::{
    EventPage, Job, JobPage, Key, KeyPage, Leases, NewKey, OneOrMany, Problem, Published, Reach, Ticket,
    TicketRequest,
};
pub(crate) use webhooks::{
    DeliveryPage, NewWebhook, PausedWebhooks, Replaying, Webhook, WebhookEnable, WebhookPage, WebhookPatch,
    WebhookReplay, WebhookRotate, WebhookTest,
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tidings",
        description = "Jobs in, one durable log, events out live. Errors are application/problem+json; docs/problems.md lists their types.",
    ),
    paths(
        routes::jobs::enqueue::enqueue, routes::jobs::list::list, routes::jobs::show::show,
        routes::jobs::events::events, routes::jobs::cancel::cancel, routes::jobs::retry::retry,
        routes::leases::claim::claim, routes::leases::heartbeat::heartbeat, routes::leases::progress::progress,
        routes::leases::complete::complete, routes::leases::fail::fail, routes::leases::release::release,
        routes::leases::stop::stop,
        routes::queues::queues, routes::events::publish::publish, routes::events::replay::read,
        routes::schedules::create::create, routes::schedules::list::list, routes::schedules::show::show,
        routes::schedules::put::put, routes::schedules::delete::delete, routes::schedules::pause::pause,
        routes::schedules::pause::resume, routes::schedules::trigger::trigger,
        routes::webhooks::create::create, routes::webhooks::list::list, routes::webhooks::show::show,
        routes::webhooks::update::update, routes::webhooks::delete::delete, routes::webhooks::state::pause,
        routes::webhooks::state::enable, routes::webhooks::rotate::rotate_secret, routes::webhooks::replay::replay,
        routes::webhooks::deliveries::deliveries, routes::webhooks::of_event::of_event,
        routes::webhooks::pause_user::pause_user, routes::webhooks::test::test,
        streams::ws, document_route, routes::tickets::mint,
        routes::keys::create::create, routes::keys::list::list, routes::keys::show::show, routes::keys::revoke::revoke,
        routes::tenants::create, routes::tenants::list, routes::tenants::show, routes::tenants::delete,
        routes::tenants::suspend, routes::tenants::resume, routes::tenants::renew_epoch,
        routes::health::summary, routes::health::live, routes::health::ready,
    ),
    components(schemas(Problem, schema::Event)),
    modifiers(&Common),
    security(("bearer" = [])),
)]
struct Document;

/// This document.
#[utoipa::path(
    get, path = "/api/v1/openapi.json", tag = "health", operation_id = "openapi", security(()),
    responses((status = 200, description = "OpenAPI 3.1")),
)]
#[allow(dead_code, reason = "stands for the route in the OpenAPI document")]
fn document_route() {}

/// What every operation has: problems as its default answer, and the way to authenticate.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        document.info.version = env!("CARGO_PKG_VERSION").into();
        document.info.license = None;
        let components = document.components.get_or_insert_with(Components::new);
        let bearer =
            Http::builder().scheme(HttpAuthScheme::Bearer).description(Some("An API key or a JWT")).build();
        components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
        for item in document.paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.post, &mut item.put, &mut item.patch, &mut item.delete];
            for operation in operations.into_iter().flatten() {
                let content = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
                let refused = ResponseBuilder::new()
                    .description("Refused: docs/problems.md lists the types")
                    .content("application/problem+json", content)
                    .build();
                operation.responses.responses.insert("default".into(), RefOr::T(refused));
            }
        }
    }
}

/// The document as JSON; made once.
pub(crate) fn document() -> Bytes {
    static TEXT: OnceLock<Bytes> = OnceLock::new();
    TEXT.get_or_init(|| Document::openapi().to_json().expect("the document serialises").into()).clone()
}

pub(crate) async fn serve() -> Response {
    body::raw(StatusCode::OK, document())
}
