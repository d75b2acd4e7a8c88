use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::scrub;

/// Why a job failed, as far as anyone is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    Database,
    Inference,
    Validation,
    Timeout,
    Cancelled,
    Dependency,
    Internal,
}

impl Category {
    pub const ALL: [Self; 7] = [
        Self::Database,
        Self::Inference,
        Self::Validation,
        Self::Timeout,
        Self::Cancelled,
        Self::Dependency,
        Self::Internal,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Database => "database",
            Self::Inference => "inference",
            Self::Validation => "validation",
            Self::Timeout => "timeout",
            Self::Cancelled => "cancelled",
            Self::Dependency => "dependency",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
#[error("a category is database, inference, validation, timeout, cancelled, dependency or internal")]
pub struct CategoryError;

impl FromStr for Category {
    type Err = CategoryError;
    fn from_str(text: &str) -> Result<Self, CategoryError> {
        Self::ALL.into_iter().find(|c| c.as_str() == text).ok_or(CategoryError)
    }
}

/// One failure of a job: what goes out, and the raw text that stays with the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    pub category: Category,
    /// Scrubbed: no SQL, path, stack trace, address, token or e-mail address.
    pub message: String,
    /// As the worker gave it, for holders of `events:detail`; at most [`Failure::RAW_MAX`] bytes.
    pub raw: String,
}

impl Failure {
    /// Bytes of raw text that are kept.
    pub const RAW_MAX: usize = 16 * 1024;

    pub fn new(category: Category, raw: &str) -> Self {
        let end = raw.floor_char_boundary(Self::RAW_MAX);
        Self { category, message: scrub(raw), raw: raw[..end].to_owned() }
    }
}
