use serde::Deserialize;
use tidings_client::worker::JobContext;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, BufReader};

/// Bytes of one line of progress.
const LINE_MAX: u64 = 16 << 10;

/// `{"percent":40,"message":"page 4 of 10"}`
#[derive(Debug, PartialEq, Deserialize)]
struct Line {
    percent: f64,
    message: Option<String>,
}

/// Passes on what a command says of its progress. What does not read is pointed out once.
pub(super) async fn forward(from: impl AsyncRead + Unpin, context: JobContext) {
    let mut from = BufReader::new(from);
    let mut complained = false;
    loop {
        let mut line = Vec::new();
        let Ok(1..) = (&mut from).take(LINE_MAX).read_until(b'\n', &mut line).await else { return };
        match serde_json::from_slice::<Line>(&line) {
            Ok(Line { percent, message }) => context.progress(percent.clamp(0.0, 100.0) as u8, message),
            Err(_) if line.trim_ascii().is_empty() || complained => {}
            Err(error) => {
                complained = true;
                eprintln!(
                    "a line on descriptor 3 is no progress like {{\"percent\":40,\"message\":\"…\"}}: {error}"
                );
            }
        }
    }
}
