//! W3C trace context of an attempt.

use std::fmt::Write as _;

use tidings_core::Entropy;

/// The value of `traceparent`: a trace that begins with this attempt, and is marked as sampled, so that the receiver decides
/// what of it is kept.
pub(super) fn begin(entropy: &dyn Entropy) -> String {
    let mut ids = [0; 24];
    entropy.fill(&mut ids);
    // An id of zeros alone is none.
    ids[15] |= u8::from(ids[..16] == [0; 16]);
    ids[23] |= u8::from(ids[16..] == [0; 8]);
    let mut text = String::with_capacity(55);
    text.push_str("00-");
    hex(&ids[..16], &mut text);
    text.push('-');
    hex(&ids[16..], &mut text);
    text.push_str("-01");
    text
}

fn hex(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a String takes every write");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Always(u8);

    impl Entropy for Always {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    #[test]
    fn a_trace_and_its_span_are_never_zeros_alone() {
        let ids = |byte| begin(&Always(byte));
        assert_eq!(ids(0xab), "00-abababababababababababababababab-abababababababab-01");
        assert_eq!(ids(0), "00-00000000000000000000000000000001-0000000000000001-01");
    }
}
