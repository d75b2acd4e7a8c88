use parking_lot::Mutex;

use super::scanner::Scanner;

/// What the bytes of one connection say about where its requests begin and end: between its stream, which sees
/// them before hyper does, and its service, which gets what hyper has made of them.
#[derive(Debug, Default)]
pub(super) struct Framing(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    scanner: Scanner,
    /// Requests that hyper has handed over.
    served: u64,
}

impl Framing {
    pub(super) fn see(&self, bytes: &[u8]) {
        self.0.lock().scanner.see(bytes);
    }

    /// What makes the bytes so far none of one meaning.
    pub(super) fn doubt(&self) -> Option<&'static str> {
        self.0.lock().scanner.doubt()
    }

    /// How many fields the head has that is being read.
    pub(super) fn fields(&self) -> usize {
        self.0.lock().scanner.fields()
    }

    /// Judges the next request. One that is refused is the last: what follows it has no certain beginning.
    pub(super) fn judge(&self) -> Result<(), &'static str> {
        let State { scanner, served } = &mut *self.0.lock();
        *served += 1;
        if *served <= scanner.passed() { Ok(()) } else { Err(scanner.why()) }
    }
}
