//! Hundreds of endpoints, half of them at sick receivers: whoever takes in the end has everything, in order where that is
//! promised, and the healthy are as fast as without the sick.
//!
//! `make test` has 60 endpoints. A soak has 1,000, a million deliveries spread over its seconds, and timeouts as shipped.

use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidings_tests::{
    Api, Receiver, Receivers,
    paced::{Paced, Published},
    receivers::{Manner, Sickness, When},
    wait,
};

use crate::soak;

use super::{
    PATIENCE,
    stage::{On, Stage, endpoint, percentile},
};

/// The size of it.
struct Form {
    tenants: usize,
    /// Of each tenant: see [`Form::parts`].
    events: usize,
    /// Of so many events, one is for the sick as well.
    rare: usize,
    /// Events a second, of all tenants together.
    rate: f64,
    timeout: Duration,
    /// Within the timeout.
    slow: Duration,
    /// Beyond it.
    late: Duration,
    /// For the sick to have everything, once it is published.
    patience: Duration,
}

/// Of each tenant.
const HEALTHY: usize = 10;
/// Of the healthy.
const HEALTHY_ORDERED: usize = 2;
const SICK: usize = 10;

impl Form {
    fn of_now() -> Self {
        let Some(length) = soak() else {
            return Self {
                tenants: 3,
                events: 120,
                rare: 12,
                rate: 36.0,
                timeout: Duration::from_secs(2),
                slow: Duration::from_millis(1_200),
                late: Duration::from_secs(3),
                patience: PATIENCE,
            };
        };
        let (tenants, events) = (50, 2_000);
        Self {
            tenants,
            events,
            rare: 100,
            rate: (tenants * events) as f64 / length.as_secs_f64(),
            timeout: Duration::from_secs(10),
            slow: Duration::from_secs(9),
            late: Duration::from_secs(11),
            patience: PATIENCE * 5,
        }
    }

    /// Whether the event of this number is one that the sick are sent.
    const fn is_rare(&self, number: usize) -> bool {
        let [_, alone, beside, _] = self.parts();
        alone <= number && number < beside && (number + 1).is_multiple_of(self.rare)
    }

    /// The events of each tenant in four parts: before anything is measured, without sick endpoints, with them, and with none for
    /// them any more. So a machine that others slow down meanwhile is not taken for the sick ones' doing.
    const fn parts(&self) -> [usize; 4] {
        let (first, eighth) = (self.events / 40, self.events / 8);
        [first, first + eighth, self.events - eighth, self.events]
    }

    /// The sick ones of the `n`th tenant, and whether they are ordered.
    fn sick(&self, n: usize, trap: std::net::SocketAddr) -> [(Manner, bool); SICK] {
        let hopeless = [Sickness::Redirects(trap), Sickness::Hangs, Sickness::Fails][n % 3];
        [
            (Sickness::Slow(self.slow), When::Always, false),
            (Sickness::Slow(self.slow), When::Always, true),
            (Sickness::Slow(self.late), When::First(1), false),
            (Sickness::Fails, When::Chance(0.3), false),
            (Sickness::Fails, When::Chance(0.3), true),
            (Sickness::Redirects(trap), When::First(1), false),
            (Sickness::Hangs, When::First(1), false),
            (Sickness::Closes, When::Chance(0.5), false),
            (Sickness::Resets, When::Chance(0.5), false),
            (hopeless, When::Always, false),
        ]
        .map(|(sickness, when, ordered)| (Some((sickness, when)), ordered))
    }
}

struct Patient {
    name: String,
    tenant: usize,
    receiver: Receiver,
    manner: Manner,
    ordered: bool,
}

impl Patient {
    fn is_hopeless(&self) -> bool {
        matches!(self.manner, Some((sickness, When::Always)) if !matches!(sickness, Sickness::Slow(_)))
    }
}

struct Ward {
    form: Form,
    tenants: Vec<Api>,
    receivers: Receivers,
    healthy: Vec<Patient>,
    sick: Vec<Patient>,
    /// Where redirects lead.
    trap: (std::net::SocketAddr, Arc<AtomicUsize>),
    published: Vec<Vec<(u64, usize)>>,
    stage: Stage,
}

impl Ward {
    fn open(on: On) -> Self {
        let stage = Stage::open(
            on,
            &[
                ("webhooks.allow_cidrs", "127.0.0.0/8"),
                ("webhooks.rate_per_tenant", "off"),
                ("retention.attempts", "1h"),
            ],
        );
        let (form, receivers) = (Form::of_now(), Receivers::start());
        let tenants = stage.tenants(form.tenants);
        let (trap, published) = (receivers.add_trap(), vec![Vec::new(); form.tenants]);
        let (healthy, sick) = (Vec::new(), Vec::new());
        Self { form, tenants, receivers, healthy, sick, trap, published, stage }
    }

    fn add(&self, tenant: usize, manner: Manner, ordered: bool, mut fields: Value) -> Patient {
        let receiver = self.receivers.add(manner);
        fields["ordered"] = json!(ordered);
        endpoint(&self.tenants[tenant], &receiver, fields);
        let name = format!("{manner:?}, ordered {ordered}, of tenant {tenant}");
        Patient { name, tenant, receiver, manner, ordered }
    }

    fn add_healthy(&mut self) {
        for tenant in 0..self.form.tenants {
            for n in 0..HEALTHY {
                let patient = self.add(tenant, None, n < HEALTHY_ORDERED, json!({}));
                self.healthy.push(patient);
            }
        }
    }

    fn add_sick(&mut self) {
        let timeout = format!("{}s", self.form.timeout.as_secs());
        let fields = |retries: Value| json!({ "filter": { "types": ["note.rare"] }, "timeout": timeout, "retries": retries, "jitter": 10 });
        for tenant in 0..self.form.tenants {
            for (manner, ordered) in self.form.sick(tenant, self.trap.0) {
                let chances = if matches!(manner, Some((_, When::Always))) { 3 } else { 20 };
                let patient = self.add(tenant, manner, ordered, fields(json!(vec!["1s"; chances])));
                self.sick.push(patient);
            }
        }
    }

    /// Publishes the events of each tenant from one number to another, and waits until the healthy have them.
    fn publish(&mut self, from: usize, to: usize) -> f64 {
        let form = &self.form;
        let paced =
            Paced { tenants: &self.tenants, rate: form.rate, events: (to - from) * form.tenants, padding: 0 };
        let Published { seqs, rate } =
            paced.publish(|number| if form.is_rare(from + number) { "note.rare" } else { "note.common" });
        for (all, new) in self.published.iter_mut().zip(seqs) {
            all.extend(new.into_iter().map(|(seq, number)| (seq, from + number)));
        }
        self.wait_healthy();
        rate
    }

    fn wait_healthy(&self) {
        wait::until_true("the healthy to have everything", PATIENCE, || {
            self.healthy.iter().all(|p| p.receiver.record().taken() >= self.published[p.tenant].len())
        });
    }

    /// The latencies of the healthy, from one attempt of each to another.
    fn latencies(&self, from: usize, to: usize) -> Vec<Duration> {
        let of = |p: &Patient| {
            p.receiver.record().came()[from..to].iter().map(|came| came.after).collect::<Vec<_>>()
        };
        self.healthy.iter().flat_map(of).collect()
    }

    /// The seqs that are for the sick.
    fn rare(&self, tenant: usize) -> BTreeSet<u64> {
        let rare = |number: usize| self.form.is_rare(number);
        self.published[tenant].iter().filter(|(_, number)| rare(*number)).map(|(seq, _)| *seq).collect()
    }

    /// Whether all that take in the end have everything. What is missing is [`judge`]'s to say.
    fn wait_cured(&self) {
        let wanted: Vec<_> = (0..self.form.tenants).map(|tenant| self.rare(tenant).len()).collect();
        let is_cured = |p: &Patient| p.is_hopeless() || p.receiver.record().taken() >= wanted[p.tenant];
        wait::is_true_within(self.form.patience, || self.sick.iter().all(is_cured));
    }
}

fn whoever_takes_in_the_end_has_everything(on: On) {
    let start = Instant::now();
    let mut ward = Ward::open(on);
    let [first, alone, beside, all] = ward.form.parts();
    ward.add_healthy();
    ward.publish(0, first);
    ward.publish(first, alone);
    ward.add_sick();
    let rate = ward.publish(alone, beside);
    let mut with = ward.latencies(alone, beside);
    ward.wait_cured();
    ward.publish(beside, all);
    let mut without = [ward.latencies(first, alone), ward.latencies(beside, all)].concat();
    without.sort_unstable();
    with.sort_unstable();
    judge(&ward);
    report(&ward, on, (&without, &with), start.elapsed());
    if soak().is_some() {
        let offered = rate / ward.form.rate;
        assert!(
            offered >= 0.95,
            "it offered {:.1} % of its rate: nothing is said of the rate",
            offered * 100.0
        );
        let ratio = percentile(&with, 0.95).as_secs_f64() / percentile(&without, 0.95).as_secs_f64();
        assert!(
            ratio <= 2.0,
            "with the sick beside them the healthy's p95 is {ratio:.2} of what it is without"
        );
    }
}

fn judge(ward: &Ward) {
    let mut ids = HashSet::new();
    for patient in ward.healthy.iter().chain(&ward.sick) {
        let record = patient.receiver.record();
        let all = || ward.published[patient.tenant].iter().map(|(seq, _)| *seq).collect();
        let expected = if patient.manner.is_none() { all() } else { ward.rare(patient.tenant) };
        if patient.is_hopeless() {
            record.assert_nothing_else(&patient.name, &expected);
            assert_eq!(record.taken(), 0, "{}", patient.name);
        } else {
            record.assert_whole(&patient.name, &expected);
        }
        if patient.ordered {
            record.assert_in_order(&patient.name);
        }
        if matches!(patient.manner, Some((Sickness::Slow(pause), _)) if pause > ward.form.timeout) {
            assert!(record.repeats() >= expected.len(), "{}: each timed out once", patient.name);
        }
        assert!(record.ids().all(|id| ids.insert(id)), "{}: another endpoint's id came again", patient.name);
    }
    let redirected = ward.trap.1.load(Ordering::SeqCst);
    assert_eq!(redirected, 0, "a redirect was followed");
}

fn report(ward: &Ward, on: On, (without, with): (&[Duration], &[Duration]), took: Duration) {
    let count = |patients: &[Patient]| {
        patients.iter().fold((0, 0), |(came, repeats), p| {
            let record = p.receiver.record();
            (came + record.came().len(), repeats + record.repeats())
        })
    };
    let (healthy, again) = count(&ward.healthy);
    let (sick, sick_again) = count(&ward.sick);
    let endpoints = ward.healthy.len() + ward.sick.len();
    println!("{on:?}: {endpoints} endpoints, {} attempts in {took:?}", healthy + sick);
    println!(
        "  the healthy: {healthy} attempts, {again} of them repeats; the sick: {sick}, {sick_again} repeats"
    );
    for (what, all) in [("without the sick", without), ("with them", with)] {
        let at = |part| percentile(all, part);
        println!("  {what}: p50 {:?}, p95 {:?}, p99 {:?} of {}", at(0.5), at(0.95), at(0.99), all.len());
    }
    let of_slow = |p: &&Patient| matches!(p.manner, Some((Sickness::Slow(_), When::Always)));
    let (first, events) = ward.sick.iter().filter(of_slow).fold((0, 0), |(first, events), p| {
        let record = p.receiver.record();
        (first + record.taken_at_first(), events + record.taken())
    });
    println!("  the slow within their timeout took {first} of {events} events at the first attempt");
    let log = ward.stage.node().metric("webhook_dead_letters_total", "");
    println!("  dead letters: {log:?}");
}

#[test]
fn whoever_takes_in_the_end_has_everything_on_the_embedded_store() {
    whoever_takes_in_the_end_has_everything(On::Embedded);
}

#[test]
fn whoever_takes_in_the_end_has_everything_on_postgresql() {
    whoever_takes_in_the_end_has_everything(On::Postgres);
}
