use clap::Args;
use serde_json::{Map, Value, json};

use crate::exit::Usage;

/// What an endpoint is told to do.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// What people know it by.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Event types: literals or prefixes such as 'job.*'. May be repeated or joined by commas.
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    types: Vec<String>,
    /// Subjects: literals or prefixes such as 'note/*'.
    #[arg(long, value_delimiter = ',', value_name = "PATTERN")]
    subject: Vec<String>,
    /// Only jobs of these types.
    #[arg(long, value_delimiter = ',', value_name = "TYPE")]
    job_type: Vec<String>,
    /// Owners, or me.
    #[arg(long, value_delimiter = ',', value_name = "USER")]
    owner: Vec<String>,
    /// minimal or detail (progress messages, payloads, results).
    #[arg(long, value_name = "LEVEL", value_parser = ["minimal", "detail"])]
    verbosity: Option<String>,
    /// standard, cloudevents or cloudevents-binary.
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Strictly in the order of the log: an event that fails holds back those after it.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    ordered: Option<bool>,
    /// A header of its own, such as 'x-team: eu'. May be repeated.
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// A note of one's own, such as plan=gold. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    metadata: Vec<String>,
    /// How many requests may be under way at once.
    #[arg(long, value_name = "N")]
    concurrency: Option<u16>,
    /// Such as 10/s or 100/m.
    #[arg(long)]
    rate: Option<String>,
    /// For a whole attempt: 1s to 30s.
    #[arg(long, value_name = "DURATION")]
    timeout: Option<String>,
    /// default, standard (over 28 hours), or delays joined by commas such as 10s,5m,1h.
    #[arg(long, value_name = "SCHEDULE")]
    retries: Option<String>,
    /// How much longer a delay may get, in percent: 0 to 100.
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(..=100))]
    jitter: Option<u8>,
    /// Whether it is tried now and then once it is disabled, so that it heals by itself.
    #[arg(long, value_name = "BOOL")]
    probe: Option<bool>,
}

impl Settings {
    /// What was named, as the API takes it.
    pub(super) fn patch(&self) -> Result<Map<String, Value>, Usage> {
        let mut patch = Map::new();
        let mut set = |name: &str, value: Option<Value>| patch.extend(value.map(|v| (name.to_owned(), v)));
        set("description", self.description.as_ref().map(|text| json!(text)));
        set("filter", self.filter());
        set("verbosity", self.verbosity.as_ref().map(|text| json!(text)));
        set("format", self.format.as_ref().map(|text| json!(text)));
        set("ordered", self.ordered.map(Value::from));
        set("headers", entries(&self.header, ':')?);
        set("metadata", entries(&self.metadata, '=')?);
        set("concurrency", self.concurrency.map(Value::from));
        set("rate", self.rate.as_ref().map(|text| json!(text)));
        set("timeout", self.timeout.as_ref().map(|text| json!(text)));
        set("retries", self.retries.as_ref().map(|text| schedule(text)));
        set("jitter", self.jitter.map(Value::from));
        set("probe", self.probe.map(Value::from));
        Ok(patch)
    }

    fn filter(&self) -> Option<Value> {
        let fields = [
            ("types", &self.types),
            ("subject", &self.subject),
            ("job_type", &self.job_type),
            ("owner", &self.owner),
        ];
        let filter: Map<String, Value> = fields
            .into_iter()
            .filter(|(_, values)| !values.is_empty())
            .map(|(field, values)| (field.to_owned(), json!(values)))
            .collect();
        (!filter.is_empty()).then_some(filter.into())
    }
}

/// What an endpoint is told to do, in the order in which it is shown.
pub(super) const SETTINGS: [&str; 12] = [
    "filter",
    "verbosity",
    "format",
    "ordered",
    "headers",
    "metadata",
    "concurrency",
    "rate",
    "timeout",
    "retries",
    "jitter",
    "probe",
];

/// A setting, or one entry of those that have entries.
pub(super) fn unsettable(text: &str) -> Result<String, String> {
    let entry = ["headers.", "metadata."].iter().find_map(|field| text.strip_prefix(field));
    if text == "description" || SETTINGS.contains(&text) || entry.is_some_and(|name| !name.is_empty()) {
        return Ok(text.to_owned());
    }
    let all = SETTINGS.join(", ");
    Err(format!("no such setting; it is headers.NAME, metadata.KEY or one of description, {all}"))
}

/// Null for each of `fields`, which is how the API is told.
pub(super) fn unset(patch: &mut Map<String, Value>, fields: &[String]) -> Result<(), Usage> {
    for field in fields {
        let (name, entry) = match field.split_once('.') {
            Some((name, entry)) => (name, Some(entry)),
            None => (field.as_str(), None),
        };
        let both = || Usage(format!("{field} cannot be set and unset at once"));
        let Some(entry) = entry else {
            if patch.insert(name.to_owned(), Value::Null).is_some_and(|before| !before.is_null()) {
                return Err(both());
            }
            continue;
        };
        let entries = patch.entry(name).or_insert_with(|| json!({})).as_object_mut().ok_or_else(both)?;
        if entries.insert(entry.to_owned(), Value::Null).is_some_and(|before| !before.is_null()) {
            return Err(both());
        }
    }
    Ok(())
}

/// `None` where there are none.
fn entries(texts: &[String], separator: char) -> Result<Option<Value>, Usage> {
    let mut all = Map::new();
    for text in texts {
        let (name, value) = text
            .split_once(separator)
            .ok_or_else(|| Usage(format!("{text:?} has no {separator:?} between name and value")))?;
        all.insert(name.trim().to_owned(), json!(value.trim()));
    }
    Ok((!all.is_empty()).then_some(all.into()))
}

fn schedule(text: &str) -> Value {
    match text {
        "default" | "standard" => json!(text),
        delays => json!(delays.split(',').map(str::trim).collect::<Vec<_>>()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    #[test]
    fn only_what_is_named_is_set() {
        let patch = |words: &[&str]| {
            let line = Line::try_parse_from([&["x"], words].concat()).expect("parses");
            Value::from(line.settings.patch().expect("reads"))
        };
        assert_eq!(patch(&[]), json!({}));
        assert_eq!(
            patch(&[
                "--types",
                "job.*,note.created",
                "--ordered",
                "--header",
                "x-team: eu",
                "--metadata",
                "a=b=c",
                "--retries",
                "10s, 5m"
            ]),
            json!({"filter": {"types": ["job.*", "note.created"]}, "ordered": true, "headers": {"x-team": "eu"},
                   "metadata": {"a": "b=c"}, "retries": ["10s", "5m"]})
        );
        assert_eq!(
            patch(&["--ordered", "false", "--retries", "standard"]),
            json!({"ordered": false, "retries": "standard"})
        );
    }
}
