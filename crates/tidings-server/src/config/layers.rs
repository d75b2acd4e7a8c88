//! Putting values over one another, and remembering where each came from.

use std::collections::BTreeMap;

use toml::{Table, Value};

use super::Origin;

/// A tree of values with the origin of each leaf that was set.
#[derive(Debug, Clone, Default)]
pub(super) struct Layers {
    pub(super) table: Table,
    pub(super) origins: BTreeMap<String, Origin>,
}

impl Layers {
    /// Puts a file's values over what there is.
    pub(super) fn put_table(&mut self, table: &Table, origin: &Origin) {
        for (path, value) in leaves(table) {
            self.put(&path, value, origin.clone());
        }
    }

    /// Puts one value over what there is; a section in its way is replaced.
    pub(super) fn put(&mut self, path: &[String], value: Value, origin: Origin) {
        let Some((last, sections)) = path.split_last() else { return };
        let mut table = &mut self.table;
        for section in sections {
            let entry = table.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            if !entry.is_table() {
                *entry = Value::Table(Table::new());
            }
            table = entry.as_table_mut().expect("it was made a table just now");
        }
        table.insert(last.clone(), value);
        self.origins.insert(path.join("."), origin);
    }

    /// A tree with this one leaf, to find out which leaf does not fit.
    pub(super) fn only(&self, key: &str) -> Table {
        let mut one = Self::default();
        if let Some((path, value)) = leaves(&self.table).into_iter().find(|(path, _)| path.join(".") == key) {
            one.put(&path, value, Origin::Default);
        }
        one.table
    }
}

/// Every value that is not a section, with its path. Lists are leaves; so are empty sections.
pub(super) fn leaves(table: &Table) -> Vec<(Vec<String>, Value)> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            Value::Table(inner) if !inner.is_empty() => {
                for (mut path, value) in leaves(inner) {
                    path.insert(0, key.clone());
                    found.push((path, value));
                }
            }
            Value::Table(_) => {}
            other => found.push((vec![key.clone()], other.clone())),
        }
    }
    found
}

/// Reads text from the environment or a flag as the type that the default has.
pub(super) fn typed(text: &str, default: Option<&Value>) -> Value {
    let integer = || text.parse().map(Value::Integer).ok();
    let boolean = || text.parse().map(Value::Boolean).ok();
    let parsed = match default {
        Some(Value::Integer(_)) => integer(),
        Some(Value::Boolean(_)) => boolean(),
        Some(Value::Array(_)) => Some(list(text)),
        // What it is a limit of, only the text can tell.
        Some(Value::String(off)) if off == "off" => integer(),
        Some(_) => None,
        None => integer().or_else(boolean),
    };
    parsed.unwrap_or_else(|| Value::String(text.to_owned()))
}

/// A TOML array, or texts joined by commas.
fn list(text: &str) -> Value {
    let document = format!("list = {text}");
    let array =
        toml::from_str::<Table>(&document).ok().and_then(|mut t| t.remove("list")).filter(Value::is_array);
    array.unwrap_or_else(|| {
        let items = text.split(',').map(str::trim).filter(|t| !t.is_empty());
        Value::Array(items.map(|t| Value::String(t.to_owned())).collect())
    })
}

/// The value at a path.
pub(super) fn at<'a>(table: &'a Table, path: &[String]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    let value = table.get(first)?;
    if rest.is_empty() { Some(value) } else { at(value.as_table()?, rest) }
}
