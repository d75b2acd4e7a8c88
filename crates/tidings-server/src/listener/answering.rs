use http::StatusCode;
use parking_lot::Mutex;

/// Whether a request is being answered on a connection: between its service, its stream and its task.
#[derive(Debug, Default)]
pub(super) struct Answering(Mutex<Phase>);

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// No request has ever come, or not the whole of its head.
    #[default]
    Fresh,
    /// No other request has come, or not the whole of its head.
    Over,
    Working,
    /// The answer is hyper's and not yet all written. Bodies are whole here: hyper takes one at once.
    Made,
    /// Hyper could not read what came, and has answered so; its answer was kept back.
    Refused(StatusCode),
}

impl Answering {
    pub(super) fn begun(&self) {
        *self.0.lock() = Phase::Working;
    }

    pub(super) fn made(&self) {
        *self.0.lock() = Phase::Made;
    }

    /// Hyper flushes its stream only when it has nothing left to write.
    pub(super) fn flushed(&self) {
        let mut phase = self.0.lock();
        if *phase == Phase::Made {
            *phase = Phase::Over;
        }
    }

    /// Hyper's own answer was not written. Always true.
    pub(super) fn kept_back(&self, status: StatusCode) -> bool {
        *self.0.lock() = Phase::Refused(status);
        true
    }

    /// What hyper answered by itself.
    pub(super) fn refused(&self) -> Option<StatusCode> {
        match *self.0.lock() {
            Phase::Refused(status) => Some(status),
            _ => None,
        }
    }

    pub(super) fn is_fresh(&self) -> bool {
        *self.0.lock() == Phase::Fresh
    }

    /// Nothing is being answered.
    pub(super) fn is_over(&self) -> bool {
        matches!(*self.0.lock(), Phase::Fresh | Phase::Over)
    }
}
