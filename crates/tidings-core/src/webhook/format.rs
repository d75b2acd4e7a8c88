use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// How an event looks in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// The envelope of every other transport.
    #[default]
    Standard,
    /// CloudEvents 1.0 in structured mode: one JSON object.
    Cloudevents,
    /// CloudEvents 1.0 in binary mode: attributes as `ce-` headers, the data as the body.
    CloudeventsBinary,
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("a format is standard, cloudevents or cloudevents-binary")]
pub struct FormatError;

impl Format {
    pub const ALL: [Self; 3] = [Self::Standard, Self::Cloudevents, Self::CloudeventsBinary];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Cloudevents => "cloudevents",
            Self::CloudeventsBinary => "cloudevents-binary",
        }
    }

    /// Its number in stores.
    pub const fn code(self) -> i16 {
        match self {
            Self::Standard => 0,
            Self::Cloudevents => 1,
            Self::CloudeventsBinary => 2,
        }
    }

    pub fn from_code(code: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.code() == code)
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Format {
    type Err = FormatError;
    fn from_str(text: &str) -> Result<Self, FormatError> {
        Self::ALL.into_iter().find(|format| format.as_str() == text).ok_or(FormatError)
    }
}
