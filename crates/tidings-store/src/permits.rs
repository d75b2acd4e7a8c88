//! A few of something that all tenants share, for one caller at a time.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tidings_core::TenantId;
use tokio::sync::{Notify, oneshot};

/// A bounded number of permits. Each tenant's callers wait in a line of their own, and the lines have their turns: a
/// thousand callers of one tenant are in front of another's as one.
#[derive(Debug, Clone)]
pub(crate) struct Permits(Arc<Shared>);

/// It goes to the next in turn when it is dropped.
#[derive(Debug)]
pub(crate) struct Permit(Option<Arc<Shared>>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    count: usize,
    /// The last one has come back, after the end.
    all_back: Notify,
}

/// Whose line it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Whose {
    Tenant(TenantId),
    /// Whoever asks for a key of which it is not known yet whose it is.
    Key,
    /// The node itself.
    Node,
}

#[derive(Debug, Default)]
struct State {
    /// Nobody waits while there are any.
    free: usize,
    lines: HashMap<Whose, VecDeque<oneshot::Sender<Permit>>, RandomState>,
    /// Each line once, the next one first.
    turns: VecDeque<Whose>,
    closed: bool,
}

impl Permits {
    pub(crate) fn new(count: usize) -> Self {
        let state = State { free: count, ..State::default() };
        Self(Arc::new(Shared { state: Mutex::new(state), count, all_back: Notify::new() }))
    }

    /// Waits for its turn. `None`: there are none any more.
    pub(crate) async fn acquire(&self, whose: Whose) -> Option<Permit> {
        let granted = {
            let mut state = self.0.state.lock();
            if state.closed {
                return None;
            }
            if state.free > 0 {
                state.free -= 1;
                return Some(Permit(Some(Arc::clone(&self.0))));
            }
            state.wait(whose)
        };
        granted.await.ok()
    }

    /// Gives no more, and waits until all are back.
    pub(crate) async fn close(&self) {
        let waiting = {
            let mut state = self.0.state.lock();
            state.closed = true;
            state.turns.clear();
            std::mem::take(&mut state.lines)
        };
        drop(waiting);
        while self.0.state.lock().free < self.0.count {
            self.0.all_back.notified().await;
        }
        // For others who wait for the same.
        self.0.all_back.notify_one();
    }
}

impl State {
    fn wait(&mut self, whose: Whose) -> oneshot::Receiver<Permit> {
        let (sender, granted) = oneshot::channel();
        let line = self.lines.entry(whose.clone()).or_default();
        if line.is_empty() {
            self.turns.push_back(whose);
        }
        line.push_back(sender);
        granted
    }

    /// Whoever has waited longest in the line whose turn it is. Who has gone uses no turn of it.
    fn next(&mut self) -> Option<oneshot::Sender<Permit>> {
        loop {
            let whose = self.turns.pop_front()?;
            let line = self.lines.get_mut(&whose)?;
            while line.front().is_some_and(oneshot::Sender::is_closed) {
                line.pop_front();
            }
            let next = line.pop_front();
            if line.is_empty() {
                self.lines.remove(&whose);
            } else {
                self.turns.push_back(whose);
            }
            if next.is_some() {
                return next;
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let Some(shared) = self.0.take() else { return };
        let mut state = shared.state.lock();
        while let Some(next) = state.next() {
            match next.send(Self(Some(Arc::clone(&shared)))) {
                Ok(()) => return,
                // Whoever waited has gone: it is no permit then.
                Err(mut refused) => refused.0 = None,
            }
        }
        state.free += 1;
        if state.closed && state.free == shared.count {
            shared.all_back.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::Future as _,
        pin::{Pin, pin},
        task::{Context, Poll, Waker},
    };

    use super::*;

    type Waiting<'a> = Pin<Box<dyn Future<Output = Option<Permit>> + 'a>>;

    fn poll(waiting: &mut Waiting<'_>) -> Poll<Option<Permit>> {
        waiting.as_mut().poll(&mut Context::from_waker(Waker::noop()))
    }

    fn tenant(name: &str) -> Whose {
        Whose::Tenant(TenantId::new(name).expect("valid"))
    }

    /// Callers in their order, each of whom waits.
    fn wait_for<'a>(permits: &'a Permits, whose: &[Whose]) -> Vec<Waiting<'a>> {
        let mut all: Vec<Waiting<'a>> =
            whose.iter().map(|whose| Box::pin(permits.acquire(whose.clone())) as Waiting<'a>).collect();
        for waiting in &mut all {
            assert!(poll(waiting).is_pending());
        }
        all
    }

    /// Who gets the permit, one after another, as their places in `all`.
    fn order(held: Permit, all: &mut [Waiting<'_>]) -> Vec<usize> {
        let (mut order, mut held) = (Vec::new(), Some(held));
        while held.take().is_some() {
            let next = all.iter_mut().enumerate().filter(|(at, _)| !order.contains(at)).collect::<Vec<_>>();
            for (at, waiting) in next {
                if let Poll::Ready(permit) = poll(waiting) {
                    order.push(at);
                    held = permit;
                    break;
                }
            }
        }
        order
    }

    #[tokio::test]
    async fn each_tenants_line_has_its_turn() {
        let permits = Permits::new(1);
        let held = permits.acquire(Whose::Node).await.expect("it is free");
        let (flood, quiet, other) = (tenant("flood"), tenant("quiet"), tenant("other"));
        let tenants = [&flood, &flood, &flood, &flood, &quiet, &other, &quiet].map(Clone::clone);
        let mut all = wait_for(&permits, &tenants);
        assert_eq!(order(held, &mut all), [0, 4, 5, 1, 6, 2, 3]);
        assert!(permits.0.state.lock().lines.is_empty());
    }

    #[tokio::test]
    async fn who_has_gone_keeps_nobody_waiting_and_no_permit() {
        let permits = Permits::new(1);
        let held = permits.acquire(Whose::Node).await.expect("it is free");
        let tenants = [tenant("a"), tenant("b"), tenant("c")];
        let mut all = wait_for(&permits, &tenants);
        // One goes before it is given the permit, one with the permit given and not taken.
        drop(all.remove(0));
        drop(held);
        drop(all.remove(0));
        assert!(matches!(poll(&mut all[0]), Poll::Ready(Some(_))));
        assert_eq!(permits.0.state.lock().free, 1);
    }

    #[tokio::test]
    async fn who_has_gone_uses_no_turn_of_its_line() {
        let permits = Permits::new(1);
        let held = permits.acquire(Whose::Node).await.expect("it is free");
        let (flood, quiet) = (tenant("flood"), tenant("quiet"));
        let callers = [&flood, &flood, &flood, &quiet, &quiet, &quiet].map(Clone::clone);
        let mut all = wait_for(&permits, &callers);
        drop(all.drain(..2));
        assert_eq!(order(held, &mut all), [0, 1, 2, 3], "the flood's last goes first: it is its turn");
        assert!(permits.0.state.lock().lines.is_empty());
    }

    #[tokio::test]
    async fn closing_waits_for_those_that_are_out_and_for_nobody_else() {
        let permits = Permits::new(1);
        let held = permits.acquire(Whose::Node).await.expect("it is free");
        let tenants = [tenant("a")];
        let mut all = wait_for(&permits, &tenants);
        let mut closing = pin!(permits.close());
        let mut context = Context::from_waker(Waker::noop());
        assert!(closing.as_mut().poll(&mut context).is_pending());
        assert!(matches!(poll(&mut all[0]), Poll::Ready(None)));
        assert!(permits.acquire(Whose::Node).await.is_none());
        drop(held);
        assert!(closing.as_mut().poll(&mut context).is_ready());
    }
}
