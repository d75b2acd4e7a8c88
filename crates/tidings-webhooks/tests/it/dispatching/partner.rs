//! A receiver that keeps count of what it has taken.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use tidings_testkit::wait;

use crate::receiver::{Message, OK, Receiver};

const PATIENCE: Duration = Duration::from_mins(1);

/// What a partner does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Does {
    Take,
    /// Answers with this status line and headers.
    Say(&'static str),
    /// Takes it, after so long.
    TakeAfter(Duration),
    /// Never answers.
    Hang,
    /// Ends the connection without an answer.
    Close,
    Reset,
}

pub(crate) struct Partner {
    receiver: Receiver,
    taken: Arc<Mutex<Vec<u64>>>,
}

impl Message {
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn seq(&self) -> u64 {
        self.json()["seq"].as_u64().unwrap_or(0)
    }

    pub(crate) fn to_headers(&self) -> http::HeaderMap {
        let header = |name: &'static str| (http::HeaderName::from_static(name), self.header(name).unwrap());
        let names = ["webhook-id", "webhook-timestamp", "webhook-signature"];
        names.into_iter().map(header).map(|(name, value)| (name, value.parse().unwrap())).collect()
    }
}

impl Partner {
    pub(crate) fn taking() -> Self {
        Self::doing(|_, _| Does::Take)
    }

    /// Does with each message what `what` says, which is told how many came before.
    pub(crate) fn doing(what: impl Fn(&Message, usize) -> Does + Send + Sync + 'static) -> Self {
        let taken = Arc::<Mutex<Vec<u64>>>::default();
        let (took, count) = (taken.clone(), std::sync::atomic::AtomicUsize::new(0));
        let receiver = Receiver::start(move |line| {
            loop {
                let message = line.take()?;
                let before = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let take = || took.lock().unwrap().push(message.seq());
                match what(&message, before) {
                    Does::Take => take(),
                    Does::TakeAfter(pause) => {
                        wait::pause(pause);
                        take();
                    }
                    Does::Say(answer) => {
                        line.say(&format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\n\r\n"))?;
                        continue;
                    }
                    Does::Hang => return line.hang(),
                    Does::Close => return Ok(()),
                    Does::Reset => return line.reset(),
                }
                line.say(OK)?;
            }
        });
        Self { receiver, taken }
    }

    pub(crate) fn url(&self) -> String {
        self.receiver.url()
    }

    pub(crate) fn messages(&self) -> Vec<Message> {
        self.receiver.messages()
    }

    /// The messages, when there are so many.
    pub(crate) fn wait(&self, count: usize) -> Vec<Message> {
        wait::until("messages", PATIENCE, || Some(self.messages()).filter(|found| found.len() >= count))
    }

    /// What it has answered with success, in order.
    pub(crate) fn taken(&self) -> Vec<u64> {
        self.taken.lock().unwrap().clone()
    }

    /// Waits until it has taken every one of these, in whatever order, and checks that it took no other.
    pub(crate) fn has_taken(&self, seqs: &[u64]) {
        let wanted: BTreeSet<u64> = seqs.iter().copied().collect();
        let all = || BTreeSet::from_iter(self.taken());
        let there = wait::is_true_within(PATIENCE, || wanted.is_subset(&all()));
        assert!(there, "not taken: {:?}", wanted.difference(&all()));
        assert_eq!(all(), wanted);
    }
}
