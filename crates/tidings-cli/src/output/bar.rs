//! Progress bars for long work. They draw on stderr and only on a terminal (indicatif sees to that).

use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// Counts to a known end, or on and on.
pub(crate) fn counting(total: Option<u64>, what: &'static str) -> ProgressBar {
    let (bar, template) = match total {
        Some(total) => {
            (ProgressBar::new(total), format!("{{bar:30.cyan}} {{pos}}/{{len}} {what} {{per_sec}} {{eta}}"))
        }
        None => (ProgressBar::new_spinner(), format!("{{spinner:.cyan}} {{pos}} {what} {{per_sec}}")),
    };
    bar.set_style(ProgressStyle::with_template(&template).expect("a valid template"));
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// Zero to a hundred, with a message.
pub(crate) fn percent(prefix: String) -> ProgressBar {
    let bar = ProgressBar::new(100);
    let style = ProgressStyle::with_template("{prefix} {bar:30.cyan} {pos:>3}% {wide_msg}")
        .expect("a valid template");
    bar.set_style(style);
    bar.set_prefix(prefix);
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
