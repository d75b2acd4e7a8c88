//! A command's pipes: what it is fed, and what is kept of what it says.

use std::{collections::VecDeque, io::Write as _};

use tidings_core::{Failure, RawJson};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    process::ChildStdin,
};

/// Bytes of stdout that are kept: as much as the server takes for a result.
const RESULT_MAX: usize = 64 << 10;

/// Bytes of one line of stderr that is passed on.
const LINE_MAX: u64 = 64 << 10;

/// Where a command's own output is shown besides.
#[derive(Debug, Clone)]
pub(crate) enum Echo {
    /// stderr alone, each line with the job's name in front.
    Labelled,
    /// Both as they come.
    Plain,
}

/// A bounded piece of an output.
#[derive(Debug, Default)]
pub(crate) struct Captured {
    pub(crate) bytes: Vec<u8>,
    /// How long the whole was.
    pub(crate) total: u64,
}

impl Captured {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).trim().to_owned()
    }

    /// JSON where it is JSON, a text where it is not, nothing where nothing was said. What is too long to
    /// be a result is only counted.
    pub(crate) fn result(&self) -> Option<RawJson> {
        if self.total > self.bytes.len() as u64 {
            return Some(RawJson::from_value(&serde_json::json!({ "stdout_bytes": self.total })));
        }
        match self.text() {
            text if text.is_empty() => None,
            text => Some(RawJson::parse(&text).unwrap_or_else(|_| RawJson::from_value(&text))),
        }
    }
}

/// Writes the payload. A command that reads none of it, or not all, is within its rights.
pub(super) async fn feed(stdin: Option<ChildStdin>, payload: RawJson) {
    if let Some(mut stdin) = stdin {
        let _ = stdin.write_all(payload.as_bytes()).await;
        let _ = stdin.write_all(b"\n").await;
    }
}

/// Keeps the start of an output, counts the whole.
pub(super) async fn keep_start(from: Option<impl AsyncRead + Unpin>, echo: Echo) -> Captured {
    let mut captured = Captured::default();
    let Some(mut from) = from else { return captured };
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let piece = &buffer[..n];
        if matches!(echo, Echo::Plain) {
            let mut out = std::io::stdout();
            let _ = out.write_all(piece).and_then(|()| out.flush());
        }
        captured.total += n as u64;
        let room = RESULT_MAX.saturating_sub(captured.bytes.len());
        captured.bytes.extend_from_slice(&piece[..n.min(room)]);
    }
    captured
}

/// Keeps the last lines of an output, as much as a job's raw error holds.
pub(super) async fn keep_end(from: Option<impl AsyncRead + Unpin>, echo: Echo, label: String) -> Captured {
    let (mut lines, mut kept, mut total) = (VecDeque::<Vec<u8>>::new(), 0, 0);
    if let Some(from) = from {
        let mut from = BufReader::new(from);
        loop {
            let mut line = Vec::new();
            let read = (&mut from).take(LINE_MAX).read_until(b'\n', &mut line).await;
            let Ok(n @ 1..) = read else { break };
            total += n as u64;
            show(&line, &echo, &label);
            kept += line.len();
            lines.push_back(line);
            while kept > Failure::RAW_MAX && lines.len() > 1 {
                kept -= lines.pop_front().map_or(0, |l| l.len());
            }
        }
    }
    Captured { bytes: lines.into_iter().flatten().collect(), total }
}

fn show(line: &[u8], echo: &Echo, label: &str) {
    let mut err = std::io::stderr().lock();
    let _ = match echo {
        Echo::Plain => err.write_all(line),
        Echo::Labelled => {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            writeln!(err, "{label} | {}", String::from_utf8_lossy(line))
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn captured(text: &str) -> Captured {
        Captured { bytes: text.into(), total: text.len() as u64 }
    }

    #[test]
    fn a_result_is_json_or_text_or_nothing() {
        assert_eq!(captured(" {\"a\": 1}\n").result().expect("some").as_str(), "{\"a\":1}");
        assert_eq!(captured("done\n").result().expect("some").as_str(), "\"done\"");
        assert!(captured(" \n").result().is_none());
    }

    #[tokio::test]
    async fn a_long_output_is_cut_and_counted() {
        let long = vec![b'x'; RESULT_MAX + 10];
        let start = keep_start(Some(&long[..]), Echo::Labelled).await;
        assert_eq!((start.bytes.len(), start.total), (RESULT_MAX, RESULT_MAX as u64 + 10));
        assert_eq!(
            start.result().expect("some").as_str(),
            format!("{{\"stdout_bytes\":{}}}", RESULT_MAX + 10)
        );
        let lines: Vec<_> = (0..9).map(|n| format!("{:4096} line {n}\n", "")).collect();
        let end = keep_end(Some(lines.concat().as_bytes()), Echo::Plain, String::new()).await;
        assert!(end.bytes.len() <= Failure::RAW_MAX && end.text().ends_with("line 8"));
    }
}
