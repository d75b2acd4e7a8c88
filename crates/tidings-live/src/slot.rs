use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use tidings_core::{Epoch, Event, Seq, Subject, UserId, Verbosity};

use crate::{
    Encoding, Form, Transport,
    encoding::payload_start,
    gauge::{Charge, Gauge},
};

/// One event and its frames, each made on first use and shared by every subscriber from then on.
#[derive(Debug)]
pub struct Slot {
    epoch: Epoch,
    event: Arc<Event>,
    /// By transport, then by verbosity: few events are ever wanted on every transport.
    frames: [OnceLock<Box<Frames>>; Transport::COUNT],
    /// As CloudEvents, by verbosity.
    cloud_events: OnceLock<Box<Frames>>,
    charge: Charge,
}

type Frames = [OnceLock<Bytes>; Verbosity::ALL.len()];

impl Slot {
    pub(crate) fn new(epoch: Epoch, event: Arc<Event>, gauge: Arc<Gauge>) -> Self {
        let charge = Charge::new(gauge, Self::cost(&event));
        Self { epoch, event, frames: Default::default(), cloud_events: OnceLock::new(), charge }
    }

    /// Bytes that the event itself takes, frames not counted.
    pub(crate) fn cost(event: &Event) -> usize {
        let text = |t: Option<&str>| t.map_or(0, str::len);
        size_of::<Self>()
            + size_of::<Event>()
            + event.fact.body.len()
            + text(event.fact.owner.as_ref().map(UserId::as_str))
            + text(event.fact.subject.as_ref().map(Subject::as_str))
    }

    /// Bytes that it takes now, frames counted.
    pub(crate) fn held(&self) -> usize {
        self.charge.get()
    }

    pub fn event(&self) -> &Arc<Event> {
        &self.event
    }

    pub fn seq(&self) -> Seq {
        self.event.seq
    }

    /// The whole frame. Where a verbosity adds nothing to a lower one, it is the lower one's.
    pub fn frame(&self, encoding: Encoding) -> &Bytes {
        let verbosity = self.event.fact.body.effective(encoding.verbosity);
        self.made(&self.frames[encoding.transport as usize], verbosity, || {
            Encoding { verbosity, ..encoding }.encode(&self.epoch, &self.event)
        })
    }

    /// What a reader gets who writes no frames.
    pub(crate) fn form(&self, form: Form, verbosity: Verbosity) -> Bytes {
        match form {
            Form::Envelope => self.json(verbosity),
            Form::Data => self.event.fact.body.at(verbosity).bytes(),
            Form::CloudEvent => {
                let verbosity = self.event.fact.body.effective(verbosity);
                let make = || self.event.cloud_event(verbosity).into();
                self.made(&self.cloud_events, verbosity, make).clone()
            }
        }
    }

    fn made<'s>(
        &self,
        frames: &'s OnceLock<Box<Frames>>,
        verbosity: Verbosity,
        make: impl FnOnce() -> Bytes,
    ) -> &'s Bytes {
        let frames = frames.get_or_init(|| {
            self.charge.add(size_of::<Frames>());
            Box::default()
        });
        frames[verbosity.index()].get_or_init(|| {
            let frame = make();
            self.charge.add(frame.len());
            frame
        })
    }

    /// The envelope alone: a part of the WebSocket frame, not another copy.
    pub fn json(&self, verbosity: Verbosity) -> Bytes {
        let frame = self.frame(Encoding { transport: Transport::WebSocket, verbosity });
        frame.slice(payload_start(frame)..)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{event, event_of_size};
    use tidings_core::RawJson;

    fn slot(event: Event, gauge: &Arc<Gauge>) -> Slot {
        Slot::new(Epoch::parse("e1").expect("valid"), Arc::new(event), gauge.clone())
    }

    #[test]
    fn equal_bytes_are_made_once() {
        let slot = slot(event(3), &Arc::default());
        for transport in [Transport::WebSocket, Transport::Sse, Transport::ChunkedSse] {
            let at = |verbosity| slot.frame(Encoding { transport, verbosity });
            assert!(std::ptr::eq(at(Verbosity::Minimal), at(Verbosity::Debug)));
        }
        assert_eq!(slot.json(Verbosity::Detail), slot.event().envelope(Verbosity::Detail));
    }

    #[test]
    fn what_differs_is_made_apart() {
        let mut event = event(3);
        event.fact.body.detail = Some(RawJson::parse(r#"{"more":1}"#).expect("valid"));
        let slot = slot(event, &Arc::default());
        assert_eq!(slot.json(Verbosity::Minimal), slot.event().envelope(Verbosity::Minimal));
        assert_eq!(slot.json(Verbosity::Debug), slot.event().envelope(Verbosity::Detail));
        assert_ne!(slot.json(Verbosity::Minimal), slot.json(Verbosity::Detail));
    }

    #[test]
    fn what_a_slot_holds_is_counted_until_it_goes() {
        let gauge = Arc::new(Gauge::default());
        let slot = slot(event_of_size(1, 1_000), &gauge);
        let bare = gauge.get();
        assert!(bare >= 600);
        let frame = slot.frame(Encoding { transport: Transport::Sse, verbosity: Verbosity::Minimal }).len();
        assert_eq!(gauge.get(), bare + frame + size_of::<Frames>());
        drop(slot);
        assert_eq!(gauge.get(), 0);
    }
}
