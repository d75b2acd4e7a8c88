use std::{collections::BTreeMap, fmt, path::PathBuf};

use toml::Table;

use super::{
    Config, ConfigError, Limits,
    layers::{Layers, at, leaves, typed},
    secret::masked,
};

/// What configuration is read from, kept so that it can be read again.
#[derive(Clone, Default)]
pub struct Sources {
    pub file: Option<PathBuf>,
    /// The environment; only `TIDINGS_SECTION__KEY` counts.
    pub env: Vec<(String, String)>,
    /// `--set section.key=value`, in order.
    pub sets: Vec<String>,
    /// A flag of its own, its key and its value: `("--listen", "server.listen", "0.0.0.0:80")`.
    pub flags: Vec<(String, String, String)>,
}

/// Where a value came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(PathBuf),
    Env(String),
    Flag(String),
}

/// The effective configuration and the origin of each value.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub config: Config,
    origins: BTreeMap<String, Origin>,
    sources: Sources,
}

/// One effective value as `tidings config` prints it; secrets are masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    pub key: String,
    /// As TOML.
    pub value: String,
    pub origin: Origin,
}

impl Loaded {
    pub fn load(sources: Sources) -> Result<Self, ConfigError> {
        let mut layers = gather(&sources)?;
        let mut config: Config = match layers.table.clone().try_into() {
            Ok(config) => config,
            Err(error) => return Err(blame(&layers, &error)),
        };
        let read = config.read_files().map_err(|error| located(error, &layers.origins))?;
        for (key, path) in read {
            layers.origins.insert(key.into(), Origin::File(path));
        }
        config.validate().map_err(|error| located(error, &layers.origins))?;
        Ok(Self { config, origins: layers.origins, sources })
    }

    /// Reads the same sources again; the environment and the flags are as they were at the start.
    pub fn reload(&self) -> Result<Self, ConfigError> {
        Self::load(self.sources.clone())
    }

    /// Every effective value, in the order of the sections.
    pub fn rows(&self) -> Vec<Row> {
        leaves(&as_table(&self.config))
            .into_iter()
            .map(|(path, value)| {
                let key = path.join(".");
                let origin = self.origins.get(&key).cloned().unwrap_or(Origin::Default);
                Row { value: masked(&key, value).to_string(), key, origin }
            })
            .collect()
    }
}

/// Without any value: some are secrets.
impl fmt::Debug for Sources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sources").field("file", &self.file).finish_non_exhaustive()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Env(name) => f.write_str(name),
            Self::Flag(flag) => f.write_str(flag),
        }
    }
}

fn gather(sources: &Sources) -> Result<Layers, ConfigError> {
    let defaults = as_table(&Config::default());
    let mut layers = Layers::default();
    if let Some(path) = &sources.file {
        layers.put_table(&read_file(path)?, &Origin::File(path.clone()));
    }
    for (name, value) in &sources.env {
        let Some(path) = env_path(name) else { continue };
        layers.put(&path, typed(value, at(&defaults, &path)), Origin::Env(name.clone()));
    }
    for set in &sources.sets {
        let (path, value) = set_parts(set).ok_or_else(|| ConfigError::Set(set.chars().take(80).collect()))?;
        let value = typed(value, at(&defaults, &path));
        layers.put(&path, value, Origin::Flag(format!("--set {}", path.join("."))));
    }
    for (flag, key, value) in &sources.flags {
        let path: Vec<_> = key.split('.').map(str::to_owned).collect();
        layers.put(&path, typed(value, at(&defaults, &path)), Origin::Flag(flag.clone()));
    }
    Ok(layers)
}

fn read_file(path: &PathBuf) -> Result<Table, ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
    // TOML's errors quote the line, which may hold a secret: only the message is passed on.
    toml::from_str(&text)
        .map_err(|e: toml::de::Error| ConfigError::Syntax { path: path.clone(), message: syntax(&text, &e) })
}

fn syntax(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|s| text[..s.start.min(text.len())].lines().count().max(1));
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}

/// `TIDINGS_LIMITS__CONNECTIONS` is `limits.connections`; with no double underscore it is not ours.
fn env_path(name: &str) -> Option<Vec<String>> {
    let rest = name.strip_prefix("TIDINGS_")?;
    rest.contains("__").then(|| rest.split("__").map(str::to_ascii_lowercase).collect())
}

fn set_parts(set: &str) -> Option<(Vec<String>, &str)> {
    let (key, value) = set.split_once('=')?;
    let path: Vec<_> = key.trim().split('.').map(str::to_owned).collect();
    (path.len() > 1 && path.iter().all(|p| !p.is_empty())).then_some((path, value.trim()))
}

/// Finds the one value that does not fit, to say where it came from.
fn blame(layers: &Layers, whole: &toml::de::Error) -> ConfigError {
    for (key, origin) in &layers.origins {
        if let Err(error) = layers.only(key).try_into::<Config>() {
            let message = Limits::form(key).unwrap_or_else(|| in_words(error.message()));
            return ConfigError::Key { origin: format!("{key} (from {origin})"), message };
        }
    }
    ConfigError::Key { origin: "configuration".into(), message: whole.message().to_owned() }
}

/// A message without the names that Rust has for numbers.
fn in_words(message: &str) -> String {
    const NAMES: [(&str, &str); 3] = [
        ("expected usize", "expected a whole number of 0 or more"),
        ("expected u64", "expected a whole number of 0 or more"),
        ("expected u32", "expected a whole number from 0 to 4294967295"),
    ];
    NAMES.iter().fold(message.to_owned(), |message, (name, words)| message.replace(name, words))
}

/// Adds where the value came from to a check's sentence.
fn located(error: ConfigError, origins: &BTreeMap<String, Origin>) -> ConfigError {
    match error {
        ConfigError::Invalid { key, message } => match origins.get(&key) {
            Some(origin) => ConfigError::Invalid { key: format!("{key} (from {origin})"), message },
            None => ConfigError::Invalid { key, message },
        },
        other => other,
    }
}

fn as_table(config: &Config) -> Table {
    Table::try_from(config).expect("a configuration is a table of tables")
}

#[cfg(test)]
mod tests;
