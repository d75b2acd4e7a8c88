//! The check after every fault: what was submitted, acknowledged, stored and delivered must agree.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::{Api, follower::Page};

/// One tenant's whole log, read by replay pages.
#[derive(Debug, Clone)]
pub struct Log {
    pub tenant: String,
    pub epoch: String,
    pub events: Vec<(u64, String)>,
}

/// An event, read.
#[derive(Debug, Clone)]
pub struct Read {
    pub seq: u64,
    pub value: Value,
}

impl Read {
    pub fn text(&self, key: &str) -> Option<&str> {
        self.value[key].as_str()
    }
}

impl Log {
    /// Reads everything there is, at `query`'s verbosity if it names one.
    ///
    /// # Panics
    /// When the log has a gap, repeats a number, or holds another tenant's event.
    #[track_caller]
    pub fn read(api: &Api, tenant: &str, query: &str) -> Self {
        let mut session = api.session().expect("connects");
        let (mut next, mut events) = ("0".to_owned(), Vec::new());
        loop {
            let path = format!("/api/v1/events?since={next}&limit=1000&{query}");
            let reply = session.get(path.trim_end_matches('&')).expect("answers").expect(200);
            let page = Page::parse(&reply.body).expect("a page");
            let end = page.events.is_empty();
            events.extend(page.events);
            next = page.next;
            if end {
                assert_eq!(events.len() as u64, page.head, "events up to the head of {tenant}");
                break;
            }
        }
        let epoch = next.split_once(':').map(|(e, _)| e.to_owned()).expect("next is <epoch>:<seq>");
        let log = Self { tenant: tenant.to_owned(), epoch, events };
        for (i, event) in log.reads().enumerate() {
            assert_eq!(event.seq, i as u64 + 1, "the log of {tenant} has a gap or a repeat");
            assert_eq!(event.value["seq"], event.seq);
            assert_eq!(event.text("tenant_id"), Some(tenant), "another tenant's event");
        }
        log
    }

    pub fn reads(&self) -> impl Iterator<Item = Read> {
        self.events.iter().map(|(seq, raw)| Read {
            seq: *seq,
            value: serde_json::from_str(raw).expect("an envelope is JSON"),
        })
    }

    /// Time never falls, and no event's id is used twice.
    #[track_caller]
    pub fn assert_orderly(&self) {
        let (mut last, mut ids) = (String::new(), BTreeSet::new());
        for event in self.reads() {
            let time = event.text("time").expect("a time").to_owned();
            assert!(time >= last, "time fell at {} of {}: {last} > {time}", event.seq, self.tenant);
            last = time;
            assert!(ids.insert(event.text("id").expect("an id").to_owned()), "an id twice at {}", event.seq);
        }
    }

    /// A reader got exactly the events that match, in order, with these very bytes.
    #[track_caller]
    pub fn assert_delivered(&self, who: &str, got: &[(u64, String)], matches: impl Fn(&Value) -> bool) {
        for pair in got.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{who}: {} came after {}", pair[1].0, pair[0].0);
        }
        let wanted: Vec<_> = self
            .reads()
            .zip(&self.events)
            .filter(|(read, _)| matches(&read.value))
            .map(|(_, event)| event)
            .collect();
        for (got, wanted) in got.iter().zip(&wanted) {
            assert_eq!(got, *wanted, "{who} differs");
        }
        assert_eq!(
            got.len(),
            wanted.len(),
            "{who}: events delivered (last {:?})",
            got.last().map(|(s, _)| s)
        );
    }

    /// A reader of everything got exactly this log, with its very bytes.
    #[track_caller]
    pub fn assert_delivered_whole(&self, who: &str, got: &[(u64, String)]) {
        for (got, wanted) in got.iter().zip(&self.events) {
            assert_eq!(got, wanted, "{who} differs");
        }
        assert_eq!(got.len(), self.events.len(), "{who}: events delivered");
    }

    /// Every job's events are in causal order and end with exactly one terminal event; returns it per job.
    ///
    /// # Panics
    /// Also when a job of `jobs` never ended, or one ended that is not among them.
    #[track_caller]
    pub fn assert_each_job_ended_once(&self, jobs: &BTreeSet<String>) -> BTreeMap<String, String> {
        let mut ended = BTreeMap::new();
        let mut begun: BTreeMap<String, bool> = BTreeMap::new();
        for event in self.reads() {
            let kind = event.text("type").expect("a type").to_owned();
            let Some(job) = event.text("job_id").map(str::to_owned) else { continue };
            assert!(!ended.contains_key(&job), "{kind} after the end of {job} at {}", event.seq);
            let running = begun.get(&job).copied();
            match kind.as_str() {
                "job.queued" => assert_eq!(begun.insert(job, false), None, "queued twice"),
                "job.scheduled" => {
                    begun.insert(job, false);
                }
                "job.started" => {
                    assert_eq!(running, Some(false), "{job} was started while it ran, at {}", event.seq);
                    begun.insert(job, true);
                }
                "job.progress" => assert_eq!(running, Some(true), "progress of a job that does not run"),
                "job.retrying" => {
                    assert_eq!(running, Some(true), "retrying what does not run");
                    begun.insert(job, false);
                }
                "job.completed" => {
                    assert_eq!(running, Some(true), "completed what does not run");
                    ended.insert(job, kind);
                }
                "job.failed" | "job.cancelled" => {
                    ended.insert(job, kind);
                }
                other => panic!("{other} carries a job_id"),
            }
        }
        let all: BTreeSet<_> = begun.keys().cloned().collect();
        assert_eq!(&all, jobs, "jobs in the log and jobs enqueued");
        let missing: Vec<_> = all.iter().filter(|j| !ended.contains_key(*j)).collect();
        assert!(missing.is_empty(), "never ended: {missing:?}");
        ended
    }
}

/// What clients did, by mark: a text of their own in each submission's data.
#[derive(Debug, Default)]
pub struct History {
    submitted: BTreeSet<String>,
    /// Mark → the number that the acknowledgement named.
    acknowledged: BTreeMap<String, u64>,
}

impl History {
    pub fn submit(&mut self, mark: &str) {
        self.submitted.insert(mark.to_owned());
    }

    #[track_caller]
    pub fn acknowledge(&mut self, mark: &str, seq: u64) {
        let before = self.acknowledged.insert(mark.to_owned(), seq);
        assert!(before.is_none_or(|b| b == seq), "{mark} was acknowledged as {before:?} and as {seq}");
    }

    pub fn acknowledged(&self) -> usize {
        self.acknowledged.len()
    }

    /// The highest number that an acknowledgement named.
    pub fn last_acknowledged(&self) -> u64 {
        self.acknowledged.values().copied().max().unwrap_or(0)
    }

    /// Acknowledged ⊆ stored, at the number that was told; stored ⊆ submitted; each at most once.
    #[track_caller]
    pub fn assert_holds(&self, log: &Log, mark_of: impl Fn(&Value) -> Option<String>) {
        let mut stored = BTreeMap::new();
        for event in log.reads() {
            let Some(mark) = mark_of(&event.value) else { continue };
            assert!(self.submitted.contains(&mark), "{mark} was stored and never submitted");
            assert_eq!(stored.insert(mark.clone(), event.seq), None, "{mark} was stored twice");
        }
        for (mark, seq) in &self.acknowledged {
            assert_eq!(stored.get(mark), Some(seq), "{mark} was acknowledged at {seq}");
        }
    }
}

/// The judge is judged: each kind of fault is found.
#[cfg(test)]
mod tests {
    use super::*;

    fn log(events: &[&str]) -> Log {
        let events = events.iter().enumerate().map(|(i, rest)| {
            let seq = i as u64 + 1;
            (seq, format!(r#"{{"seq":{seq},"id":"{seq}","time":"t{seq}",{rest}}}"#))
        });
        Log { tenant: "acme".into(), epoch: "e".into(), events: events.collect() }
    }

    fn job(kind: &str) -> String {
        format!(r#""type":"job.{kind}","job_id":"j""#)
    }

    fn ended_once(kinds: &[&str]) {
        let events: Vec<_> = kinds.iter().map(|k| job(k)).collect();
        let events: Vec<_> = events.iter().map(String::as_str).collect();
        log(&events).assert_each_job_ended_once(&BTreeSet::from(["j".to_owned()]));
    }

    #[test]
    fn a_good_history_passes() {
        let log = log(&[r#""type":"a","data":{"mark":"x"}"#, r#""type":"b","data":{}"#]);
        log.assert_orderly();
        log.assert_delivered("all", &log.events, |_| true);
        log.assert_delivered("one", &log.events[1..], |e| e["type"] == "b");
        let mut history = History::default();
        history.submit("x");
        history.submit("never acknowledged");
        history.acknowledge("x", 1);
        history.assert_holds(&log, |e| e["data"]["mark"].as_str().map(str::to_owned));
        ended_once(&["queued", "started", "retrying", "started", "progress", "completed"]);
    }

    #[test]
    #[should_panic(expected = "differs")]
    fn a_missing_event_is_found() {
        let log = log(&[r#""type":"a""#, r#""type":"a""#, r#""type":"a""#]);
        log.assert_delivered("gap", &[log.events[0].clone(), log.events[2].clone()], |_| true);
    }

    #[test]
    #[should_panic(expected = "events delivered")]
    fn a_missing_last_event_is_found() {
        let log = log(&[r#""type":"a""#, r#""type":"a""#]);
        log.assert_delivered("short", &log.events[..1], |_| true);
    }

    #[test]
    #[should_panic(expected = "came after")]
    fn a_repeat_is_found() {
        let log = log(&[r#""type":"a""#]);
        log.assert_delivered("twice", &[log.events[0].clone(), log.events[0].clone()], |_| true);
    }

    #[test]
    #[should_panic(expected = "differs")]
    fn other_bytes_are_found() {
        let log = log(&[r#""type":"a""#]);
        log.assert_delivered("bytes", &[(1, log.events[0].1.replace("\"a\"", " \"a\""))], |_| true);
    }

    #[test]
    #[should_panic(expected = "was acknowledged at")]
    fn a_lost_acknowledgement_is_found() {
        let mut history = History::default();
        history.submit("x");
        history.acknowledge("x", 1);
        history.assert_holds(&log(&[]), |_| None);
    }

    #[test]
    #[should_panic(expected = "never submitted")]
    fn an_invented_event_is_found() {
        History::default().assert_holds(&log(&[r#""type":"a""#]), |_| Some("x".into()));
    }

    #[test]
    #[should_panic(expected = "after the end")]
    fn two_ends_of_a_job_are_found() {
        ended_once(&["queued", "started", "completed", "completed"]);
    }

    #[test]
    #[should_panic(expected = "never ended")]
    fn a_job_without_an_end_is_found() {
        ended_once(&["queued", "started"]);
    }

    #[test]
    #[should_panic(expected = "while it ran")]
    fn two_runs_at_once_are_found() {
        ended_once(&["queued", "started", "started", "completed"]);
    }
}
