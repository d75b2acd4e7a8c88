use std::fmt;

use serde::Deserialize;
use tidings_client::Envelope;

use super::{Palette, table::printable};

/// One event on one line: seq, time, type, job, what happened, whom and what it is about.
pub(crate) struct EventLine<'a> {
    pub(crate) event: &'a Envelope,
    pub(crate) palette: Palette,
    /// Characters of a line; longer data is cut.
    pub(crate) width: usize,
}

/// The end of an id is its random part: enough to tell jobs of one screen apart.
pub(crate) fn short(id: impl fmt::Display) -> String {
    let id = id.to_string();
    id[id.len().saturating_sub(8)..].to_owned()
}

/// What job events carry, at any verbosity.
#[derive(Default, Deserialize)]
#[serde(default)]
struct JobData {
    percent: Option<u8>,
    message: Option<String>,
    attempt: Option<u32>,
    category: Option<String>,
    worker: Option<String>,
    reason: Option<String>,
    run_at: Option<String>,
    payload: Option<serde_json::Value>,
    result: Option<serde_json::Value>,
}

impl fmt::Display for EventLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, palette, .. } = self;
        let time = event.time.to_string();
        let kind = event.event_type.as_str();
        write!(f, "{:>7} {} ", palette.dim(event.seq), palette.dim(&time[11..23]))?;
        match kind {
            "job.completed" => write!(f, "{:<15}", palette.green(kind)),
            "job.failed" => write!(f, "{:<15}", palette.red(kind)),
            "job.retrying" | "job.cancelled" => write!(f, "{:<15}", palette.yellow(kind)),
            "job.progress" => write!(f, "{:<15}", palette.cyan(kind)),
            _ if event.event_type.is_job() => write!(f, "{:<15}", palette.blue(kind)),
            _ => write!(f, "{:<15}", palette.magenta(kind)),
        }?;
        if let (Some(job_type), Some(id)) = (&event.job_type, event.job_id) {
            write!(f, " {} {}", palette.bold(format_args!("{:<12}", job_type.as_str())), short(id))?;
        }
        let tail = self.tail();
        let room = self.width.saturating_sub(62 + tail.chars().count()).max(20);
        let mut what = printable(&self.what());
        if what.chars().count() > room {
            what = what.chars().take(room - 1).chain(['…']).collect();
        }
        if !what.is_empty() {
            write!(f, " {what}")?;
        }
        if tail.is_empty() { Ok(()) } else { write!(f, " {}", palette.dim(tail)) }
    }
}

impl EventLine<'_> {
    fn what(&self) -> String {
        if !self.event.event_type.is_job() {
            return self.event.data_text().to_owned();
        }
        let data: JobData = self.event.data().unwrap_or_default();
        let mut parts = Vec::new();
        if let Some(percent) = data.percent {
            parts.push(format!("{} {percent:>3}%", gauge(percent)));
        }
        if let Some(attempt) = data.attempt.filter(|n| *n > 1) {
            parts.push(format!("attempt {attempt}"));
        }
        parts.extend(data.worker.map(|w| format!("by {w}")));
        parts.extend(data.category.map(|c| format!("{c}:")));
        parts.extend(data.message);
        parts.extend(data.reason);
        if matches!(self.event.event_type.as_str(), "job.scheduled" | "job.retrying") {
            parts.extend(data.run_at.and_then(|at| at.get(11..19).map(|t| format!("at {t}"))));
        }
        parts.extend(data.payload.filter(|p| !p.is_null()).map(|p| p.to_string()));
        parts.extend(data.result.map(|r| r.to_string()));
        parts.join(" ")
    }

    fn tail(&self) -> String {
        let subject = self.event.subject.as_ref().map(ToString::to_string);
        let owner = self.event.owner.as_ref().map(|o| format!("@{o}"));
        subject.into_iter().chain(owner).collect::<Vec<_>>().join(" ")
    }
}

fn gauge(percent: u8) -> String {
    let full = usize::from(percent.min(100)) / 10;
    format!("{}{}", "█".repeat(full), "░".repeat(10 - full))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &'static str) -> String {
        let event = Envelope::parse(text.as_bytes().into()).expect("reads");
        EventLine { event: &event, palette: Palette::plain(), width: 120 }.to_string()
    }

    #[test]
    fn lines_are_aligned_and_carry_no_control_characters() {
        let progress = line(concat!(
            r#"{"seq":1042,"id":"01010101-0101-0101-0101-010101010101","type":"job.progress","time":"2026-11-23T07:12:09.123456Z","#,
            r#""tenant_id":"acme","job_id":"02020202-0202-0202-0202-0202aabbccdd","job_type":"embedding","owner":"ana","#,
            r#""subject":"note/42","data":{"percent":40,"message":"page\u001b[31m 4"}}"#
        ));
        assert_eq!(
            progress,
            "   1042 07:12:09.123 job.progress    embedding    aabbccdd ████░░░░░░  40% page\u{FFFD}[31m 4 note/42 @ana"
        );
        let published = line(concat!(
            r#"{"seq":7,"id":"01010101-0101-0101-0101-010101010101","type":"note.created","time":"2026-11-23T07:12:09.123456Z","#,
            r#""tenant_id":"acme","data":{"a":1}}"#
        ));
        assert_eq!(published, r#"      7 07:12:09.123 note.created    {"a":1}"#);
    }
}
