//! What nodes of the release before report, which do not say what a body is.

use std::fmt::Write as _;

use tidings_core::{EventId, Verbosity, webhook::Format};

use super::*;
use crate::{DeliveryQuery, Webhooks as _, conformance::new_endpoint};

#[tokio::test]
async fn bodies_of_the_release_before_are_told_by_how_they_begin() {
    let (name, url) = named_database();
    let store = open(PostgresConfig { connections: 4, ..PostgresConfig::new(url) }).await;
    let new = new_endpoint();
    let endpoint = new.id;
    let put = in_tenant("acme", Operation::PutEndpoint(Box::new(new)));
    // Data that looks like an envelope is none.
    let data = format!(r#"{{"seq":1,"id":"{endpoint}"}}"#);
    let facts = vec![event(&data); 3];
    let publish = in_tenant("acme", Operation::Publish { events: facts, idempotency: None });
    for command in [put, publish] {
        store
            .commit(0, &Batch { commands: vec![command] })
            .await
            .expect("commits")
            .outcomes
            .remove(0)
            .expect("done");
    }
    let log = log_of(&store, "acme").await;
    let minimal = Verbosity::Minimal;
    let bodies = [log[0].envelope(minimal), log[1].cloud_event(minimal), data.into_bytes()];
    let hex = bodies.map(|body| {
        body.iter().fold(String::from("\\x"), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a String takes every write");
            text
        })
    });
    let id = |at: usize| -> EventId { log[at].fact.id };
    // Its parameters, in their order.
    let old = format!(
        "SELECT verdicts FROM tidings.report(gen_random_uuid(), 1, tidings.timeline(), NULL,
             ARRAY['acme'], ARRAY['{endpoint}']::uuid[], ARRAY[1]::bigint[], ARRAY[3]::bigint[], ARRAY[false],
             ARRAY[NULL]::bigint[], ARRAY[NULL]::text[], ARRAY[gen_random_uuid()],
             '{{}}', '{{}}', '{{}}',
             '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}', '{{}}',
             ARRAY[1, 1, 1], ARRAY[1, 2, 3]::bigint[], ARRAY['{}', '{}', '{}']::uuid[],
             ARRAY['a', 'a', 'a'], ARRAY[false, false, false], ARRAY[1, 1, 1], ARRAY[0, 0, 0]::bigint[],
             ARRAY[NULL, NULL, NULL]::smallint[], ARRAY['{}', '{}', '{}']::bytea[],
             '{{}}', '{{}}')",
        id(0),
        id(1),
        id(2),
        hex[0],
        hex[1],
        hex[2]
    );
    assert_eq!(SERVER.psql(&name, &old).trim(), "{0}");
    let query = DeliveryQuery { dead: false, after: Seq::ZERO, limit: 10, bytes: usize::MAX };
    let found = store.deliveries(&tenant_id("acme"), endpoint, query).await.expect("reads");
    let formats: Vec<_> = found.iter().map(|row| row.format).collect();
    assert_eq!(formats, Format::ALL);
}
