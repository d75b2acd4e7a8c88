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

use super::{
    PATIENCE,
    stage::{On, Stage, endpoint, percentile, soak},
};

/// The size of it.
struct Form {
    tenants: usize,
    /// Of each tenant. Of these, [`Form::warm`] are before anything is measured, and [`Form::alone`] before there are sick ones.
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
        }
    }

    const fn warm(&self) -> usize {
        self.events / 40
    }

    const fn alone(&self) -> usize {
        self.events / 8
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

    /// Publishes the events of each tenant from one number to another.
    fn publish(&mut self, from: usize, to: usize) -> f64 {
        let form = &self.form;
        let paced = Paced { tenants: &self.tenants, rate: form.rate, events: (to - from) * form.tenants };
        let Published { seqs, rate } =
            paced.publish(
                |number| {
                    if (number + 1).is_multiple_of(form.rare) { "note.rare" } else { "note.common" }
                },
            );
        for (all, new) in self.published.iter_mut().zip(seqs) {
            all.extend(new.into_iter().map(|(seq, number)| (seq, from + number)));
        }
        rate
    }

    fn wait_healthy(&self) {
        wait::until_true("the healthy to have everything", PATIENCE, || {
            self.healthy.iter().all(|p| p.receiver.record().taken() >= self.published[p.tenant].len())
        });
    }

    /// What the healthy waited for each event since the `skip`th attempt of each, sorted.
    fn latencies(&self, skip: usize) -> Vec<Duration> {
        let of = |p: &Patient| p.receiver.record().came()[skip..].iter().map(|c| c.after).collect::<Vec<_>>();
        let mut all: Vec<_> = self.healthy.iter().flat_map(of).collect();
        all.sort_unstable();
        all
    }

    /// The seqs that were published in the time of the sick ones, and are for them.
    fn rare(&self, tenant: usize, from: usize) -> BTreeSet<u64> {
        let rare = |number: usize| number >= from && (number - from + 1).is_multiple_of(self.form.rare);
        self.published[tenant].iter().filter(|(_, number)| rare(*number)).map(|(seq, _)| *seq).collect()
    }
}

fn whoever_takes_in_the_end_has_everything(on: On) {
    let start = Instant::now();
    let mut ward = Ward::open(on);
    let (first, alone, all) = (ward.form.warm(), ward.form.alone(), ward.form.events);
    ward.add_healthy();
    ward.publish(0, first);
    ward.wait_healthy();
    ward.publish(first, alone);
    ward.wait_healthy();
    let without = ward.latencies(first);
    ward.add_sick();
    let before = Instant::now();
    let rate = ward.publish(alone, all);
    println!(
        "{on:?}: published {rate:.0} of {:.0} events a second in {:?}",
        ward.form.rate,
        before.elapsed()
    );
    ward.wait_healthy();
    let with = ward.latencies(alone);
    wait::until_true("the sick to have everything", PATIENCE * 5, || {
        let cured = |p: &Patient| p.receiver.record().taken() >= ward.rare(p.tenant, alone).len();
        ward.sick.iter().filter(|p| !p.is_hopeless()).all(cured)
    });
    judge(&ward, alone);
    report(&ward, on, (&without, &with), start.elapsed());
    if soak().is_some() {
        assert!(
            rate >= ward.form.rate * 0.95,
            "it offered {rate:.0} events a second: the figures are not of its rate"
        );
        let ratio = percentile(&with, 0.95).as_secs_f64() / percentile(&without, 0.95).as_secs_f64();
        assert!(
            ratio <= 2.0,
            "with the sick beside them the healthy's p95 is {ratio:.2} of what it is without"
        );
    }
}

fn judge(ward: &Ward, alone: usize) {
    let mut ids = HashSet::new();
    for patient in ward.healthy.iter().chain(&ward.sick) {
        let record = patient.receiver.record();
        let all = || ward.published[patient.tenant].iter().map(|(seq, _)| *seq).collect();
        let expected = if patient.manner.is_none() { all() } else { ward.rare(patient.tenant, alone) };
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
