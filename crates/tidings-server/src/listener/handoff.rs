use std::sync::Arc;

use parking_lot::Mutex;
use tidings_delivery::NewConnection;

/// A response extension: once this response's head is written, the socket serves this connection.
///
/// The response has status 101, or a body that never yields anything.
#[derive(Debug, Clone)]
pub(crate) struct Takeover(Arc<Mutex<Option<NewConnection>>>);

impl Takeover {
    pub(crate) fn new(new: NewConnection) -> Self {
        Self(Arc::new(Mutex::new(Some(new))))
    }

    pub(super) fn take(&self) -> Option<NewConnection> {
        self.0.lock().take()
    }
}

/// How far one connection's takeover is: between its service, its stream and its task.
#[derive(Debug, Default)]
pub(super) struct Handoff(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    None,
    /// The response was given to hyper, which has not yet written of it.
    Asked(NewConnection),
    /// Some of the head is written.
    Begun(NewConnection),
    /// The whole head is.
    Flushed(NewConnection),
}

impl Handoff {
    pub(super) fn ask(&self, new: NewConnection) {
        *self.0.lock() = State::Asked(new);
    }

    pub(super) fn wrote(&self) {
        self.step(|state| match state {
            State::Asked(new) => State::Begun(new),
            other => other,
        });
    }

    /// Hyper flushes its stream only when it has nothing left to write.
    pub(super) fn flushed(&self) {
        self.step(|state| match state {
            State::Begun(new) => State::Flushed(new),
            other => other,
        });
    }

    /// The connection, when the head is out.
    pub(super) fn take(&self) -> Option<NewConnection> {
        let mut state = self.0.lock();
        match std::mem::take(&mut *state) {
            State::Flushed(new) => Some(new),
            other => {
                *state = other;
                None
            }
        }
    }

    fn step(&self, next: impl FnOnce(State) -> State) {
        let mut state = self.0.lock();
        *state = next(std::mem::take(&mut *state));
    }
}
