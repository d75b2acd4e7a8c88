//! The HTTP API: one module per resource, one file per operation.
//!
//! A handler extracts, authorises, calls one operation and maps the answer. [`table`] is the list of
//! all routes.

pub(crate) mod events;
pub(crate) mod health;
pub(crate) mod jobs;
pub(crate) mod keys;
pub(crate) mod leases;
pub(crate) mod queues;
pub(crate) mod schedules;
pub(crate) mod table;
pub(crate) mod tenants;
pub(crate) mod tickets;
pub(crate) mod webhooks;

use tidings_store::{Command, Journal, Outcome};

use crate::{
    body::{OneOrMany, invalid},
    problem::{Kind, Problem},
    refusal,
};

/// Commits a change, or says why not.
pub(crate) async fn submit(journal: &Journal, command: Command) -> Result<Outcome, Problem> {
    journal.submit(command).await.map_err(refusal::of_command)
}

/// Refuses arrays that are empty or have more than `max` items.
fn batch<T>(items: OneOrMany<T>, max: usize) -> Result<OneOrMany<T>, Problem> {
    match &items {
        OneOrMany::Many(list) if list.is_empty() => Err(invalid("$", "the array is empty")),
        OneOrMany::Many(list) if list.len() > max => {
            let detail = format!("The array has more than {max} items (limits.batch_items).");
            Err(Problem::new(Kind::TooLarge, detail).with("limit", "limits.batch_items"))
        }
        _ => Ok(items),
    }
}

/// `{"<plural>":[…],"next":"…"}` of items that are JSON text already.
fn list_text<'a>(plural: &str, items: impl Iterator<Item = &'a [u8]>, next: Option<&str>) -> Vec<u8> {
    let mut text = format!("{{\"{plural}\":[").into_bytes();
    for (i, item) in items.enumerate() {
        if i > 0 {
            text.push(b',');
        }
        text.extend_from_slice(item);
    }
    text.push(b']');
    if let Some(next) = next {
        text.extend_from_slice(b",\"next\":");
        serde_json::to_writer(&mut text, next).expect("a Vec takes every write");
    }
    text.push(b'}');
    text
}
