//! What the load publishes: a JSON object of an exact size that ends with when and as how manyth it
//! was sent. Being the last field of an envelope, it is found from the end without parsing the rest.

/// When a message was due and its number in its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Of [`Ticker`](super::Ticker): 16 digits.
    pub(crate) at_us: u64,
    /// From 0; below 9,000,000,000.
    pub(crate) n: u64,
}

const N_BASE: u64 = 1_000_000_000;
const N_DIGITS: usize = 10;
const AT_DIGITS: usize = 16;
const BETWEEN: &[u8] = br#","n":"#;
const BEFORE: &[u8] = br#"","at":"#;
const HEAD: &[u8] = br#"{"pad":""#;

/// The smallest object: no padding.
pub(crate) const BYTES_MIN: usize = HEAD.len() + BEFORE.len() + AT_DIGITS + BETWEEN.len() + N_DIGITS + 1;

/// An object of `bytes` bytes (at least [`BYTES_MIN`]) whose stamp is yet to be [`patch`]ed in.
pub(crate) fn template(bytes: usize) -> Vec<u8> {
    let mut out = HEAD.to_vec();
    out.resize(HEAD.len() + bytes.saturating_sub(BYTES_MIN), b'x');
    out.extend_from_slice(BEFORE);
    out.extend_from_slice(&[b'0'; AT_DIGITS]);
    out.extend_from_slice(BETWEEN);
    out.extend_from_slice(&[b'0'; N_DIGITS]);
    out.push(b'}');
    out
}

/// Writes the stamp into a text that ends with a [`template`], closing braces aside.
pub(crate) fn patch(text: &mut [u8], stamp: Stamp) {
    let end = digits_end(text);
    write_digits(&mut text[end - N_DIGITS..end], stamp.n + N_BASE);
    let at_end = end - N_DIGITS - BETWEEN.len();
    write_digits(&mut text[at_end - AT_DIGITS..at_end], stamp.at_us);
}

/// The stamp of a payload that ends with one.
pub(crate) fn read(payload: &[u8]) -> Option<Stamp> {
    let end = digits_end(payload);
    let n_start = end.checked_sub(N_DIGITS)?;
    let at_end = n_start.checked_sub(BETWEEN.len())?;
    let at_start = at_end.checked_sub(AT_DIGITS)?;
    if &payload[at_end..n_start] != BETWEEN {
        return None;
    }
    let n = read_digits(&payload[n_start..end])?.checked_sub(N_BASE)?;
    Some(Stamp { at_us: read_digits(&payload[at_start..at_end])?, n })
}

fn digits_end(text: &[u8]) -> usize {
    text.iter().rposition(|b| *b != b'}').map_or(0, |last| last + 1)
}

fn write_digits(out: &mut [u8], mut value: u64) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Reads decimal digits, and nothing else.
pub(crate) fn read_digits(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |value, digit| {
        let digit = digit.wrapping_sub(b'0');
        (digit < 10).then(|| value * 10 + u64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_from_within_an_envelope() {
        let stamp = Stamp { at_us: 1_000_000_123_456_789, n: 77 };
        let mut data = template(300);
        assert_eq!(data.len(), 300);
        patch(&mut data, stamp);
        assert!(serde_json::from_slice::<serde_json::Value>(&data).is_ok());
        assert_eq!(read(&data), Some(stamp));
        let envelope = [br#"{"seq":9,"data":"#.as_slice(), &data, b"}"].concat();
        assert_eq!(read(&envelope), Some(stamp));
    }

    #[test]
    fn other_texts_have_no_stamp() {
        for text in ["", "}", "{}", r#"{"type":"stream.heartbeat","cursor":"ab:1","head":1000000000}"#] {
            assert_eq!(read(text.as_bytes()), None, "{text}");
        }
    }
}
