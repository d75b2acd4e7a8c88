//! Results as a table for people and as JSON for programs.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets::UTF8_BORDERS_ONLY};
use serde::Serialize;
use serde_json::Value;

/// What one benchmark found.
#[derive(Debug, Serialize)]
pub struct Outcome {
    pub name: String,
    /// One row for each contender: medians over the rounds.
    pub rows: Vec<Row>,
    pub checks: Vec<Check>,
    /// Reasons why the numbers prove nothing, or promises that were seen broken.
    pub objections: Vec<String>,
    /// Every run's own report.
    pub runs: Vec<Value>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub who: String,
    /// Column and value, in the same order in every row.
    pub figures: Vec<Figure>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub name: &'static str,
    /// `None` where it does not apply.
    pub value: Option<f64>,
}

/// A target and whether it was met.
#[derive(Debug, Serialize)]
pub struct Check {
    pub what: String,
    pub measured: f64,
    pub target: Bound,
    pub met: bool,
}

#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Check {
    pub fn new(what: impl Into<String>, measured: f64, target: Bound) -> Self {
        let met = match target {
            Bound::AtLeast(least) => measured >= least,
            Bound::AtMost(most) => measured <= most,
        };
        Self { what: what.into(), measured, target, met }
    }
}

impl Outcome {
    pub fn passed(&self) -> bool {
        self.objections.is_empty() && self.checks.iter().all(|check| check.met)
    }

    /// The tables as text.
    pub fn render(&self) -> String {
        let mut text = format!("\n{}\n{}\n", self.name, self.figures_table());
        for check in &self.checks {
            let (sign, bound) = match check.target {
                Bound::AtLeast(least) => ("≥", least),
                Bound::AtMost(most) => ("≤", most),
            };
            // A figure of an invalid run is neither: chance may have helped it or harmed it.
            let verdict = match (self.objections.is_empty(), check.met) {
                (false, _) => "UNPROVEN",
                (true, true) => "met",
                (true, false) => "MISSED",
            };
            let _ = writeln!(
                text,
                "  {verdict:8}  {}: {} (target {sign} {bound})",
                check.what,
                number(check.measured)
            );
        }
        for objection in &self.objections {
            let _ = writeln!(text, "  INVALID  {objection}");
        }
        text
    }

    fn figures_table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(UTF8_BORDERS_ONLY);
        let names = self.rows.first().map(|row| row.figures.iter().map(|f| f.name)).into_iter().flatten();
        table.set_header(std::iter::once("").chain(names));
        for row in &self.rows {
            let figures = row.figures.iter().map(|f| f.value.map_or_else(|| "–".to_owned(), number));
            table.add_row(std::iter::once(row.who.clone()).chain(figures));
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

/// Three significant digits or so, thousands grouped.
fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1_000.0 => group(value.round() as i64),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn group(value: i64) -> String {
    let digits = value.abs().to_string();
    let mut out = if value < 0 { "-".to_owned() } else { String::new() };
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// The middle value; 0 of nothing.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<_> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        for (value, text) in
            [(1_234_567.4, "1,234,567"), (999.6, "1000"), (123.4, "123"), (12.34, "12.3"), (0.297, "0.30")]
        {
            assert_eq!(number(value), text);
        }
        assert_eq!(group(-1_000), "-1,000");
    }

    #[test]
    fn a_missed_target_or_an_objection_fails() {
        let outcome = |measured, objections| Outcome {
            name: "x".to_owned(),
            rows: Vec::new(),
            checks: vec![Check::new("ratio", measured, Bound::AtLeast(0.8))],
            objections,
            runs: Vec::new(),
        };
        assert!(outcome(0.8, vec![]).render().contains("  met "));
        assert!(outcome(0.7, vec![]).render().contains("  MISSED "));
        let invalid = outcome(9.9, vec!["crowded".to_owned()]).render();
        assert!(invalid.contains("UNPROVEN") && invalid.contains("INVALID") && !invalid.contains("  met "));
        assert!(outcome(0.8, vec![]).passed());
        assert!(!outcome(0.79, vec![]).passed());
        assert!(!outcome(0.9, vec!["lost".to_owned()]).passed());
        assert!((median([3.0, 1.0, 2.0, 10.0]) - 2.5).abs() < 1e-9);
    }
}
