//! The other side of [`Guard`](crate::child::Guard).

use std::{collections::BTreeSet, io::BufRead as _, process::ExitCode};

use crate::child::kill_group;

pub(crate) const NAME: &str = "guard-commands";

/// Keeps count of process groups until its stdin ends, then kills those that are left.
pub(crate) fn run() -> ExitCode {
    let mut groups = BTreeSet::new();
    for line in std::io::stdin().lock().lines().map_while(Result::ok) {
        if let Some(group) = line.strip_prefix('+').and_then(|g| g.parse::<i32>().ok()) {
            groups.insert(group);
        } else if let Some(group) = line.strip_prefix('-').and_then(|g| g.parse::<i32>().ok()) {
            groups.remove(&group);
        }
    }
    for group in groups.into_iter().filter(|g| *g > 1) {
        kill_group(group, libc::SIGKILL);
    }
    ExitCode::SUCCESS
}
