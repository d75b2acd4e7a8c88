//! The limits that are in force, in whatever section they stand.

use std::time::Duration;

use serde::Serialize;
use serde_json::Value;
use tidings_core::{Quota, Rate, parse_duration};

use super::{Config, Limits};

/// What one limit lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bound {
    Count(u64),
    Bytes(u64),
    Time(Duration),
    Rate(Quota),
}

/// What holds only where another limit is set.
const LIFTED_WITH: [(&str, &str); 2] = [
    ("limits.listener_connections_per_ip", "limits.connections_per_ip"),
    ("limits.pong_deadline", "limits.ping_interval"),
];

impl Config {
    /// Every limit that is in force, by its key: all of `[limits]`, and those of other sections. One that is off is not among them.
    pub(crate) fn bounds(&self) -> Vec<(String, Bound)> {
        let own = json(&self.limits);
        let own = own.as_object().into_iter().flatten();
        let own = own.map(|(name, value)| (format!("limits.{name}"), value.clone()));
        let of_jobs = &self.jobs.concurrency;
        let of_jobs = of_jobs.iter().map(|(of, most)| (format!("jobs.concurrency.{of}"), json(most)));
        let others = [
            ("live.stall", json(&self.live.stall)),
            ("webhooks.rate_per_tenant", json(&self.webhooks.rate_per_tenant)),
            ("webhooks.endpoints_per_tenant", json(&self.webhooks.endpoints_per_tenant)),
            ("retention.dead_letters", json(&self.retention.dead_letters)),
            ("retention.dead_letters_per_endpoint", json(&self.retention.dead_letters_per_endpoint)),
        ];
        let others = others.map(|(key, value)| (key.to_owned(), value));
        let all = own.chain(of_jobs).chain(others);
        let mut bounds: Vec<_> =
            all.filter_map(|(key, value)| Bound::of(&key, &value).map(|bound| (key, bound))).collect();
        for (key, with) in LIFTED_WITH {
            if !bounds.iter().any(|(other, _)| other == with) {
                bounds.retain(|(lifted, _)| lifted != key);
            }
        }
        bounds
    }
}

impl Bound {
    /// The bound that a value is as `tidings config` shows it; `None`: it is off.
    fn of(key: &str, value: &Value) -> Option<Self> {
        match value {
            // A type of jobs may be called anything.
            Value::Number(number) if key.starts_with("limits.") && key.ends_with("_bytes") => {
                number.as_u64().map(Self::Bytes)
            }
            Value::Number(number) => number.as_u64().map(Self::Count),
            Value::String(text) => match text.parse() {
                Ok(rate) => Some(Self::Rate(quota(key, rate))),
                Err(_) => parse_duration(text).ok().map(Self::Time),
            },
            _ => None,
        }
    }
}

fn quota(key: &str, rate: Rate) -> Quota {
    match key {
        "limits.new_tenants" => Limits::new_tenants_quota(rate),
        "webhooks.rate_per_tenant" => Quota::plain(rate),
        _ => Quota::twice(rate),
    }
}

fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).expect("a limit is a number or a text")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::config::{Loaded, Off, RateText, Sources};

    fn with(sets: &[String]) -> Config {
        Loaded::load(Sources { sets: sets.to_vec(), ..Sources::default() }).expect("valid").config
    }

    fn keys(config: &Config) -> BTreeSet<String> {
        config.bounds().into_iter().map(|(key, _)| key).collect()
    }

    /// With every limit that is shipped off set to whatever it takes.
    fn everything() -> Config {
        let shipped = json(&Config::default().limits);
        let is_off = |(_, value): &(&String, &Value)| *value == "off";
        let off = shipped.as_object().expect("a section").iter().filter(is_off);
        let mut sets = vec!["jobs.concurrency.embedding=4".to_owned()];
        for (name, _) in off {
            let takes = |value: &&str| {
                let sets = vec![format!("limits.{name}={value}")];
                Loaded::load(Sources { sets, ..Sources::default() }).is_ok()
            };
            let value = ["7", "7/s"].into_iter().find(takes).expect("a number or a rate");
            sets.push(format!("limits.{name}={value}"));
        }
        with(&sets)
    }

    #[test]
    fn every_key_of_the_section_is_a_bound_unless_it_is_off() {
        let shipped = json(&Config::default().limits);
        for (name, value) in shipped.as_object().expect("a section") {
            let key = format!("limits.{name}");
            assert_eq!(keys(&Config::default()).contains(&key), value != "off", "{key} is {value}");
            assert!(keys(&everything()).contains(&key), "{key} can be set");
        }
    }

    #[test]
    fn the_page_of_limits_has_each_of_them() {
        let page = include_str!("../../../../docs/limits.md");
        let written = |text: &str| -> BTreeSet<String> {
            let mut section = "";
            let quoted = text.split('`').skip(1).step_by(2);
            let keys = quoted.filter_map(|quoted| {
                // `limits.requests_per_tenant`, `…_per_key`
                let key = match quoted.strip_prefix('…') {
                    Some(end) => format!("{}{end}", section.rsplit_once("_per_")?.0),
                    None => quoted.replace("<type>", "embedding"),
                };
                section = quoted;
                key.contains('.').then_some(key)
            });
            keys.collect()
        };
        let rows = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").nth(1));
        let table: BTreeSet<_> = rows.flat_map(written).collect();
        let shown = keys(&everything());
        let missing: Vec<_> = table.difference(&shown).collect();
        assert!(table.len() > 30 && missing.is_empty(), "{missing:?} of {table:?} are no bounds");
        let whole = written(page);
        let unwritten: Vec<_> = shown.difference(&whole).collect();
        assert!(unwritten.is_empty(), "docs/limits.md has no {unwritten:?}");
    }

    #[test]
    fn each_is_in_the_unit_of_its_key() {
        let mut config = everything();
        config.limits.bytes_per_tenant = Off::at(RateText::per_minute(600));
        let bounds = config.bounds();
        let of = |key: &str| bounds.iter().find(|(other, _)| other == key).expect("there").1;
        let rate = |count, per, burst| Bound::Rate(Quota { rate: Rate { count, per }, burst });
        let (second, minute) = (Duration::from_secs(1), Duration::from_mins(1));
        assert_eq!(of("limits.connections_per_ip"), Bound::Count(10));
        assert_eq!(of("limits.body_bytes"), Bound::Bytes(1 << 20));
        assert_eq!(of("limits.refusal_delay"), Bound::Time(Duration::from_millis(100)));
        assert_eq!(of("limits.upgrades_per_ip"), rate(10, second, 20));
        assert_eq!(of("limits.new_tenants"), rate(10, second, 100));
        assert_eq!(of("limits.bytes_per_tenant"), rate(600, minute, 1_200));
        assert_eq!(of("webhooks.rate_per_tenant"), rate(100, minute, 100));
        assert_eq!(of("jobs.concurrency.embedding"), Bound::Count(4));
    }

    #[test]
    fn what_another_limit_lifts_is_none() {
        let config = with(&["limits.connections_per_ip=off".into(), "limits.ping_interval=off".into()]);
        let lifted: Vec<_> = keys(&Config::default()).difference(&keys(&config)).cloned().collect();
        assert_eq!(
            lifted,
            [
                "limits.connections_per_ip",
                "limits.listener_connections_per_ip",
                "limits.ping_interval",
                "limits.pong_deadline"
            ]
        );
    }
}
