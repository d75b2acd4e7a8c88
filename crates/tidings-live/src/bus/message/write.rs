use std::sync::Arc;

use tidings_core::{Epoch, Event, RawJson, Seq, TenantId};

use super::{
    DEBUG, DETAIL, EVENTS_MAX, JOB, MESSAGE_BYTES, MESSAGE_BYTES_MAX, NodeId, OWNER, SUBJECT, VERSION,
};

/// One message, ready to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::bus) struct Message {
    pub(in crate::bus) payload: Vec<u8>,
    /// How many events it holds.
    pub(in crate::bus) events: u64,
}

/// The messages for `events` of one tenant and history, in the order of their seqs: at least one, so that
/// the head is told whatever the events' size.
pub(in crate::bus) fn write(
    node: &NodeId,
    tenant: &TenantId,
    epoch: &Epoch,
    events: &[Arc<Event>],
) -> Vec<Message> {
    let head = events.last().map_or(Seq::ZERO, |event| event.seq);
    let begin = || {
        let mut payload = vec![VERSION];
        payload.extend_from_slice(node);
        text8(&mut payload, tenant.as_str());
        text8(&mut payload, epoch.as_str());
        payload.extend_from_slice(&head.get().to_be_bytes());
        payload.extend_from_slice(&[0; 2]);
        Message { payload, events: 0 }
    };
    let mut message = begin();
    let (empty, count_at) = (message.payload.len(), message.payload.len() - 2);
    let mut messages = Vec::new();
    let mut one = Vec::new();
    for event in events {
        one.clear();
        write_event(&mut one, event);
        if empty + one.len() > MESSAGE_BYTES_MAX {
            continue;
        }
        let full = message.payload.len() + one.len() > MESSAGE_BYTES || message.events >= EVENTS_MAX as u64;
        if full && message.events > 0 {
            messages.push(std::mem::replace(&mut message, begin()));
        }
        message.payload.extend_from_slice(&one);
        message.events += 1;
        message.payload[count_at..count_at + 2].copy_from_slice(&(message.events as u16).to_be_bytes());
    }
    if message.events > 0 || messages.is_empty() {
        messages.push(message);
    }
    messages
}

fn write_event(out: &mut Vec<u8>, event: &Event) {
    let fact = &event.fact;
    out.extend_from_slice(&event.seq.get().to_be_bytes());
    out.extend_from_slice(&event.time.as_micros().to_be_bytes());
    out.extend_from_slice(fact.id.as_bytes());
    text8(out, fact.event_type.as_str());
    let part = |there: bool, bit: u8| if there { bit } else { 0 };
    out.push(
        part(fact.job.is_some(), JOB)
            | part(fact.owner.is_some(), OWNER)
            | part(fact.subject.is_some(), SUBJECT)
            | part(fact.body.detail.is_some(), DETAIL)
            | part(fact.body.debug.is_some(), DEBUG),
    );
    if let Some(job) = &fact.job {
        out.extend_from_slice(job.id.as_bytes());
        text8(out, job.job_type.as_str());
    }
    if let Some(owner) = &fact.owner {
        text8(out, owner.as_str());
    }
    if let Some(subject) = &fact.subject {
        text8(out, subject.as_str());
    }
    json32(out, &fact.body.minimal);
    for json in [&fact.body.detail, &fact.body.debug].into_iter().flatten() {
        json32(out, json);
    }
}

/// For what core bounds to 255 bytes: names, types and epochs.
fn text8(out: &mut Vec<u8>, text: &str) {
    out.push(u8::try_from(text.len()).expect("these names have at most 255 bytes"));
    out.extend_from_slice(text.as_bytes());
}

/// One that is too long makes its event too large for any message, so that its length does not matter.
fn json32(out: &mut Vec<u8>, json: &RawJson) {
    out.extend_from_slice(&u32::try_from(json.len()).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(json.as_bytes());
}
