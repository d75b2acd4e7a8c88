use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

/// The number of an event in its tenant's log: 1, 2, 3, … without gaps, in commit order. 0 stands
/// before the first event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seq(u64);

impl Seq {
    pub const ZERO: Self = Self(0);
    /// The largest: every store and every JSON reader holds it exactly (2^53 − 1).
    pub const MAX: Self = Self((1 << 53) - 1);

    /// `n` is at most [`Seq::MAX`]; more is cut to it.
    pub const fn new(n: u64) -> Self {
        if n > Self::MAX.0 { Self::MAX } else { Self(n) }
    }

    pub const fn get(self) -> u64 {
        self.0
    }

    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(self.0 + 1)
    }

    /// The seq before this one; zero stays zero.
    #[must_use]
    pub const fn prev(self) -> Self {
        Self(self.0.saturating_sub(1))
    }

    #[must_use]
    pub const fn plus(self, n: u64) -> Self {
        Self::new(self.0.saturating_add(n))
    }

    /// How many events lie after `earlier` up to and with `self`.
    pub const fn distance_from(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of one history of one tenant. Another epoch's seqs mean nothing here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Epoch(Arc<str>);

impl Epoch {
    /// Letters of an epoch's name.
    const LEN: usize = 8;

    /// A new name from random bytes.
    pub fn generate(entropy: &dyn crate::Entropy) -> Self {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut bytes = [0; Self::LEN];
        entropy.fill(&mut bytes);
        Self(bytes.iter().map(|b| ALPHABET[usize::from(b % 32)] as char).collect::<String>().into())
    }

    /// An epoch as it was stored or received: 1 to 32 lower-case letters and digits.
    pub fn parse(text: &str) -> Result<Self, CursorError> {
        let valid = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
        if valid { Ok(Self(text.into())) } else { Err(CursorError) }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&self.0)
    }
}

/// The last seq that a reader has: `<epoch>:<seq>`, or a bare `<seq>` that is taken on trust.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Cursor {
    pub epoch: Option<Epoch>,
    pub seq: Seq,
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("a cursor is <epoch>:<seq> or a seq from 0 to 9007199254740991")]
pub struct CursorError;

impl Cursor {
    pub const fn new(epoch: Epoch, seq: Seq) -> Self {
        Self { epoch: Some(epoch), seq }
    }

    pub const fn bare(seq: Seq) -> Self {
        Self { epoch: None, seq }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.epoch {
            Some(epoch) => write!(f, "{epoch}:{}", self.seq),
            None => self.seq.fmt(f),
        }
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        let (epoch, seq) = match text.split_once(':') {
            Some((epoch, seq)) => (Some(Epoch::parse(epoch)?), seq),
            None => (None, text),
        };
        // `u64::from_str` would accept a leading plus.
        if seq.is_empty() || !seq.bytes().all(|b| b.is_ascii_digit()) {
            return Err(CursorError);
        }
        let n: u64 = seq.parse().map_err(|_| CursorError)?;
        if n > Seq::MAX.get() {
            return Err(CursorError);
        }
        Ok(Self { epoch, seq: Seq(n) })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(d)?;
        text.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_cursor_is_refused() {
        for text in [
            "",
            "abc",
            "-1",
            "+1",
            "9223372036854775808",
            "9007199254740992",
            "a:",
            ":1",
            "A:1",
            "a:b:1",
            " 1",
            "1 ",
        ] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_cursor_reads_back(epoch in proptest::option::of("[a-z0-9]{1,32}"), seq in 0..=Seq::MAX.get()) {
            let cursor = Cursor { epoch: epoch.map(|e| Epoch::parse(&e).expect("valid")), seq: Seq::new(seq) };
            prop_assert_eq!(cursor.to_string().parse::<Cursor>(), Ok(cursor));
        }
    }
}
