use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use secrecy::ExposeSecret as _;
use tidings_core::{Cursor, Entropy, Seq, Timestamp};
use tokio::time::Instant;

use super::super::super::dial::{Dial, Ended, Incoming, Wire};
use crate::{ClientError, Credential, Envelope, EventsPage, Problem, Token};

type Log<T> = Arc<Mutex<Vec<T>>>;

#[derive(Debug, Clone)]
pub(super) enum Step {
    Say(String),
    Wait(Duration),
    /// Nothing more comes, and no end either.
    Hang,
    Cut,
    Close(u16),
}

/// A server that says what it was told to say. A dial beyond its script finds nobody.
#[derive(Default)]
pub(super) struct Script {
    connections: Mutex<VecDeque<Result<Vec<Step>, ClientError>>>,
    /// What the replay knows; it fails where it knows nothing.
    log: Vec<u64>,
    random: Option<Mutex<Random>>,
    credential: Option<Credential>,
    beats: bool,
    dialled: Log<String>,
    replays: Log<String>,
    tokens: Log<String>,
    handed: Log<String>,
}

/// All ones: jitter at its upper end.
struct Ones;

impl Entropy for Ones {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(0xff);
    }
}

/// A small generator that a seed decides (splitmix64).
struct Random {
    state: u64,
    total: u64,
}

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }

    /// A connection that goes on after `from` and leaves out, repeats, reorders and cuts at will; its
    /// last heartbeat is honest, and it says what it has heard of in the end.
    fn connection(&mut self, from: u64) -> Vec<Step> {
        let mut steps = vec![open("abc", self.total, 1)];
        for seq in from + 1..=self.total {
            match self.below(12) {
                0 => {}
                1 => steps.extend([event(seq), event(seq)]),
                2 => steps.extend([event(seq), event(1 + self.below(seq))]),
                3 => return steps,
                4 => {
                    steps.push(if self.below(2) == 0 { Step::Cut } else { close(4408) });
                    return steps;
                }
                5 => steps.extend([event(seq), heartbeat(&format!("abc:{seq}"), self.total)]),
                _ => steps.push(event(seq)),
            }
        }
        steps.push(heartbeat(&format!("abc:{}", self.total), self.total));
        steps
    }
}

impl Script {
    pub(super) fn with_log(seqs: impl IntoIterator<Item = u64>) -> Self {
        Self { log: seqs.into_iter().collect(), ..Self::default() }
    }

    pub(super) fn random(seed: u64, total: u64) -> Self {
        let random = Some(Mutex::new(Random { state: seed, total }));
        Self { random, ..Self::with_log(1..=total) }
    }

    pub(super) fn connection(self, steps: impl IntoIterator<Item = Step>) -> Self {
        self.connections.lock().expect("held by nobody").push_back(Ok(steps.into_iter().collect()));
        self
    }

    pub(super) fn refusal(self, error: ClientError) -> Self {
        self.connections.lock().expect("held by nobody").push_back(Err(error));
        self
    }

    pub(super) fn credential(self, credential: Credential) -> Self {
        Self { credential: Some(credential), ..self }
    }

    /// While it waits, it shows that it lives.
    pub(super) fn beating(self) -> Self {
        Self { beats: true, ..self }
    }

    pub(super) fn dialled(&self) -> Log<String> {
        self.dialled.clone()
    }

    pub(super) fn replays(&self) -> Log<String> {
        self.replays.clone()
    }

    pub(super) fn tokens(&self) -> Log<String> {
        self.tokens.clone()
    }

    pub(super) fn handed(&self) -> Log<String> {
        self.handed.clone()
    }

    fn answer(&self, from: Option<&Cursor>) -> Result<Vec<Step>, ClientError> {
        if let Some(random) = &self.random {
            let from = from.map_or(0, |c| c.seq.get());
            return Ok(random.lock().expect("held by nobody").connection(from));
        }
        let scripted = self.connections.lock().expect("held by nobody").pop_front();
        scripted.unwrap_or_else(|| {
            Err(ClientError::Disconnected { url: "script".into(), why: "nobody is there".into() })
        })
    }
}

impl Dial for Script {
    type Wire = ScriptedWire;

    fn dial(&self, from: Option<Cursor>, token: &Token) -> BoxFuture<'_, Result<ScriptedWire, ClientError>> {
        let since = from.as_ref().map_or_else(|| "now".into(), ToString::to_string);
        self.dialled.lock().expect("held by nobody").push(since);
        self.tokens.lock().expect("held by nobody").push(token.secret.expose_secret().to_owned());
        let answer = self.answer(from.as_ref());
        let (handed, beats) = (self.handed.clone(), self.beats);
        Box::pin(async move { Ok(ScriptedWire { steps: answer?.into(), handed, beats, waiting: None }) })
    }

    fn replay(&self, after: Cursor) -> BoxFuture<'_, Result<EventsPage, ClientError>> {
        self.replays.lock().expect("held by nobody").push(after.to_string());
        let fails = match &self.random {
            Some(random) => random.lock().expect("held by nobody").below(4) == 0,
            None => self.log.is_empty(),
        };
        let events: Vec<_> = self
            .log
            .iter()
            .filter(|seq| **seq > after.seq.get())
            // Small pages, so that a gap takes several.
            .take(2)
            .map(|seq| Envelope::parse(text(*seq).into()).expect("reads"))
            .collect();
        let head = self.log.last().copied().unwrap_or_default();
        let next = if events.len() == 2 { events[1].seq } else { Seq::new(head) };
        let page = EventsPage {
            events,
            next: Cursor { epoch: after.epoch, seq: next },
            head: Seq::new(head),
            oldest: Seq::new(1),
        };
        Box::pin(async move { if fails { Err(refused(503)) } else { Ok(page) } })
    }

    fn credential(&self) -> &Credential {
        static FIXED: std::sync::OnceLock<Credential> = std::sync::OnceLock::new();
        self.credential.as_ref().unwrap_or_else(|| FIXED.get_or_init(|| Credential::fixed("fixed")))
    }

    fn now(&self) -> Timestamp {
        now()
    }

    fn entropy(&self) -> &dyn Entropy {
        &Ones
    }
}

/// A wall clock that goes with the runtime's paused one.
pub(super) fn now() -> Timestamp {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    let now = Instant::now().into_std();
    let start = *START.get_or_init(|| now);
    Timestamp::from_secs(1_800_000_000) + now.saturating_duration_since(start)
}

pub(super) struct ScriptedWire {
    steps: VecDeque<Step>,
    handed: Log<String>,
    beats: bool,
    waiting: Option<Instant>,
}

impl Wire for ScriptedWire {
    async fn next(&mut self) -> Result<Incoming, Ended> {
        loop {
            if let Some(until) = self.waiting {
                let beat = Instant::now() + Duration::from_secs(10);
                if self.beats && beat < until {
                    tokio::time::sleep_until(beat).await;
                    return Ok(Incoming::Alive);
                }
                tokio::time::sleep_until(until).await;
                self.waiting = None;
            }
            match self.steps.pop_front() {
                Some(Step::Say(text)) => return Ok(Incoming::Message(Bytes::from(text))),
                Some(Step::Wait(length)) => self.waiting = Some(Instant::now() + length),
                Some(Step::Cut) => return Err(Ended { code: None, reason: "cut".into() }),
                Some(Step::Close(code)) => return Err(Ended { code: Some(code), reason: String::new() }),
                Some(Step::Hang) | None => std::future::pending().await,
            }
        }
    }

    async fn authenticate(&mut self, token: &Token) -> bool {
        self.handed.lock().expect("held by nobody").push(token.secret.expose_secret().to_owned());
        true
    }
}

fn text(seq: u64) -> String {
    format!(
        r#"{{"seq":{seq},"id":"01010101-0101-0101-0101-010101010101","type":"note.created","time":"2026-11-23T07:12:09.123456Z","tenant_id":"acme","data":{{"n":{seq}}}}}"#
    )
}

pub(super) fn event(seq: u64) -> Step {
    Step::Say(text(seq))
}

pub(super) fn open(epoch: &str, head: u64, oldest: u64) -> Step {
    Step::Say(format!(
        r#"{{"type":"stream.open","connection_id":"c1","epoch":"{epoch}","head":{head},"oldest":{oldest},"heartbeat_s":15}}"#
    ))
}

pub(super) fn heartbeat(cursor: &str, head: u64) -> Step {
    Step::Say(format!(r#"{{"type":"stream.heartbeat","cursor":"{cursor}","head":{head}}}"#))
}

pub(super) fn reset(reason: &str, epoch: &str, oldest: u64) -> Step {
    Step::Say(format!(r#"{{"type":"stream.reset","reason":"{reason}","epoch":"{epoch}","oldest":{oldest}}}"#))
}

pub(super) fn close(code: u16) -> Step {
    Step::Close(code)
}

pub(super) fn refused(status: u16) -> ClientError {
    ClientError::Refused(Box::new(Problem::read(status, None, b"{}")))
}
