//! One node's own count.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};

use foldhash::fast::RandomState;
use tidings_store::{Holder, PlacesAsked, PlacesGiven};
use tokio::sync::oneshot;

use super::Held;

/// Holders that one question names.
const ROUND_MAX: usize = 256;
/// Takers that may wait for an answer; those beyond it are judged by the node's own count.
const WAITING_MAX: usize = 10_000;

/// Holders with a place here, or that other nodes believe to have one.
#[derive(Debug, Default)]
pub(super) struct Table {
    counts: HashMap<Holder, Count, RandomState>,
    waiting: VecDeque<Waiting>,
    /// Whose number is not what was told last. At most as many as there are holders.
    changed: BTreeSet<Holder>,
}

#[derive(Debug, Default)]
struct Count {
    held: u32,
    /// Takers that wait.
    asking: u32,
    /// Others count something for it.
    told: bool,
}

/// Somebody who waits for what the others say.
#[derive(Debug)]
struct Waiting {
    holder: Holder,
    limit: u32,
    wants: Wants,
}

#[derive(Debug)]
enum Wants {
    Place(oneshot::Sender<Option<Held>>),
    /// To know whether there is one.
    Look(oneshot::Sender<bool>),
}

/// Who counts besides this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Others {
    /// It is alone.
    None,
    /// They have the last word.
    Asked,
    /// They are out of reach: told later.
    Silent,
}

/// What the node's own count says.
#[derive(Debug)]
pub(super) enum Verdict<T> {
    Given,
    Full,
    Asked(oneshot::Receiver<T>),
}

/// One question, and who waits for its answer.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) asked: Vec<PlacesAsked>,
    waiting: BTreeMap<Holder, Vec<Waiting>>,
}

/// What is to be sent when the table is no longer locked: dropping a place locks it.
#[derive(Debug, Default)]
pub(super) struct Decided {
    places: Vec<(Holder, oneshot::Sender<Option<Held>>)>,
    refused: Vec<oneshot::Sender<Option<Held>>>,
    looked: Vec<(oneshot::Sender<bool>, bool)>,
}

impl Table {
    /// A place for `holder`, as far as this node can tell.
    pub(super) fn take(
        &mut self,
        holder: &Holder,
        limit: Option<u32>,
        others: Others,
    ) -> Verdict<Option<Held>> {
        let count = self.counts.entry(holder.clone()).or_default();
        match limit {
            Some(limit) if count.held + count.asking >= limit => Verdict::Full,
            Some(limit) if others == Others::Asked && self.waiting.len() < WAITING_MAX => {
                count.asking += 1;
                let (sender, answer) = oneshot::channel();
                self.waiting.push_back(Waiting {
                    holder: holder.clone(),
                    limit,
                    wants: Wants::Place(sender),
                });
                Verdict::Asked(answer)
            }
            limit => {
                count.held += 1;
                // Where there is no limit nobody need be told.
                if others != Others::None && (limit.is_some() || count.told) {
                    self.changed.insert(holder.clone());
                }
                Verdict::Given
            }
        }
    }

    /// Whether [`take`](Self::take) would find a place.
    pub(super) fn look(&mut self, holder: &Holder, limit: Option<u32>, others: Others) -> Verdict<bool> {
        let here = self.counts.get(holder).map_or(0, |count| count.held + count.asking);
        match limit {
            Some(limit) if here >= limit => Verdict::Full,
            Some(limit) if others == Others::Asked && self.waiting.len() < WAITING_MAX => {
                let (sender, answer) = oneshot::channel();
                self.waiting.push_back(Waiting { holder: holder.clone(), limit, wants: Wants::Look(sender) });
                Verdict::Asked(answer)
            }
            _ => Verdict::Given,
        }
    }

    /// A place is free again.
    pub(super) fn free(&mut self, holder: &Holder) {
        let Some(count) = self.counts.get_mut(holder) else { return };
        count.held -= 1;
        if count.told {
            self.changed.insert(holder.clone());
        }
        self.forget_if_empty(holder);
    }

    /// Every holder is to be told of again.
    pub(super) fn all_changed(&mut self, counts: impl Fn(&Holder) -> bool) {
        self.changed.extend(self.counts.keys().filter(|holder| counts(holder)).cloned());
    }

    /// What is to be asked next, in the order of the holders; empty where there is nothing.
    pub(super) fn next_round(&mut self, limit_of: impl Fn(&Holder) -> Option<u32>) -> Round {
        let mut waiting: BTreeMap<Holder, Vec<Waiting>> = BTreeMap::new();
        while waiting.len() < ROUND_MAX
            && let Some(next) = self.waiting.pop_front()
        {
            waiting.entry(next.holder.clone()).or_default().push(next);
        }
        let mut named: BTreeSet<Holder> = waiting.keys().cloned().collect();
        while named.len() < ROUND_MAX
            && let Some(next) = self.changed.pop_first()
        {
            named.insert(next);
        }
        let ask = |holder: Holder| {
            self.changed.remove(&holder);
            let takers = |w: &&Waiting| matches!(w.wants, Wants::Place(_));
            let waiting = waiting.get(&holder);
            let asked = waiting.map_or(0, |all| all.iter().filter(takers).count()) as u32;
            let kept = match self.counts.get_mut(&holder) {
                Some(count) => {
                    // Whatever becomes of the question, they may count it from here on.
                    count.told = true;
                    count.held
                }
                None => 0,
            };
            let limit =
                waiting.and_then(|all| all.iter().map(|w| w.limit).min()).or_else(|| limit_of(&holder));
            PlacesAsked { holder, kept, asked, limit }
        };
        let asked = named.into_iter().map(ask).collect();
        Round { asked, waiting }
    }

    /// Takes the answers, which are in the order of what was asked.
    pub(super) fn answered(&mut self, mut round: Round, answers: &[PlacesGiven]) -> Decided {
        let mut decided = Decided::default();
        for (asked, answer) in round.asked.iter().zip(answers) {
            let mut given = answer.given;
            for waiting in round.waiting.remove(&asked.holder).unwrap_or_default() {
                match waiting.wants {
                    Wants::Place(sender) => {
                        self.decide(waiting.holder, sender, given > 0, &mut decided);
                        given = given.saturating_sub(1);
                    }
                    Wants::Look(sender) => {
                        let taken = asked.kept + answer.given + answer.elsewhere;
                        decided.looked.push((sender, taken < waiting.limit));
                    }
                }
            }
            if asked.kept + answer.given == 0 {
                self.told_of_none(&asked.holder);
            }
        }
        decided
    }

    /// The others cannot be asked: this node's own count, which everybody here has passed, decides.
    pub(super) fn unanswered(&mut self, round: Round) -> Decided {
        let mut decided = Decided::default();
        self.changed.extend(round.asked.into_iter().map(|asked| asked.holder));
        let rest = std::mem::take(&mut self.waiting);
        for waiting in round.waiting.into_values().flatten().chain(rest) {
            match waiting.wants {
                Wants::Place(sender) => self.decide(waiting.holder, sender, true, &mut decided),
                Wants::Look(sender) => decided.looked.push((sender, true)),
            }
        }
        decided
    }

    fn decide(
        &mut self,
        holder: Holder,
        sender: oneshot::Sender<Option<Held>>,
        given: bool,
        decided: &mut Decided,
    ) {
        if let Some(count) = self.counts.get_mut(&holder) {
            count.asking -= 1;
            count.held += u32::from(given);
        }
        if given {
            decided.places.push((holder, sender));
        } else {
            self.forget_if_empty(&holder);
            decided.refused.push(sender);
        }
    }

    fn told_of_none(&mut self, holder: &Holder) {
        if let Some(count) = self.counts.get_mut(holder) {
            count.told = false;
        }
        self.forget_if_empty(holder);
    }

    fn forget_if_empty(&mut self, holder: &Holder) {
        let empty = |count: &Count| count.held == 0 && count.asking == 0 && !count.told;
        if self.counts.get(holder).is_some_and(empty) {
            self.counts.remove(holder);
        }
    }

    #[cfg(test)]
    pub(super) fn held(&self) -> u32 {
        self.counts.values().map(|count| count.held).sum()
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.waiting.is_empty() && self.changed.is_empty()
    }
}

impl Round {
    pub(super) fn is_empty(&self) -> bool {
        self.asked.is_empty()
    }
}

impl Decided {
    /// Tells those who wait. A place that nobody waits for any more is free again at once.
    pub(super) fn tell(self, held: impl Fn(Holder) -> Held) {
        for (holder, sender) in self.places {
            let _ = sender.send(Some(held(holder)));
        }
        for sender in self.refused {
            let _ = sender.send(None);
        }
        for (sender, free) in self.looked {
            let _ = sender.send(free);
        }
    }
}
