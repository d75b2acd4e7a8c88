use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How much of an event's data a reader gets. What each level carries is decided when the event is
/// made, so that no transport can differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verbosity {
    /// Every type, without progress message, result or payload.
    #[default]
    Minimal,
    /// Those too; needs the scope `events:detail`.
    Detail,
    /// Raw errors too; needs `events:detail` and a server in development mode.
    Debug,
}

impl Verbosity {
    pub const ALL: [Self; 3] = [Self::Minimal, Self::Detail, Self::Debug];

    pub const fn index(self) -> usize {
        self as usize
    }
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("verbosity is minimal, detail or debug")]
pub struct VerbosityError;

impl FromStr for Verbosity {
    type Err = VerbosityError;

    fn from_str(text: &str) -> Result<Self, VerbosityError> {
        match text {
            "minimal" => Ok(Self::Minimal),
            "detail" => Ok(Self::Detail),
            "debug" => Ok(Self::Debug),
            _ => Err(VerbosityError),
        }
    }
}
