use std::{fmt, str::FromStr};

use crate::Timestamp;

/// Whether an endpoint is delivered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndpointState {
    Active,
    /// By a person, or since its creator's user was revoked.
    Paused {
        at: Timestamp,
    },
    Disabled {
        reason: DisabledReason,
        at: Timestamp,
    },
}

/// Why Tidings itself stopped delivering.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DisabledReason {
    /// Nothing was delivered for days.
    Failing,
    /// The receiver answered 410.
    Gone,
}

/// The state's name: what is stored, shown and listed by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StateName {
    Active,
    Paused,
    Disabled,
}

impl EndpointState {
    pub const fn name(self) -> StateName {
        match self {
            Self::Active => StateName::Active,
            Self::Paused { .. } => StateName::Paused,
            Self::Disabled { .. } => StateName::Disabled,
        }
    }

    /// Since when it is not active.
    pub const fn since(self) -> Option<Timestamp> {
        match self {
            Self::Active => None,
            Self::Paused { at } | Self::Disabled { at, .. } => Some(at),
        }
    }

    pub const fn reason(self) -> Option<DisabledReason> {
        match self {
            Self::Disabled { reason, .. } => Some(reason),
            Self::Active | Self::Paused { .. } => None,
        }
    }

    /// Of what [`name`](Self::name), [`since`](Self::since) and [`reason`](Self::reason) say.
    pub const fn from_parts(
        name: StateName,
        since: Option<Timestamp>,
        reason: Option<DisabledReason>,
    ) -> Option<Self> {
        match (name, since, reason) {
            (StateName::Active, None, None) => Some(Self::Active),
            (StateName::Paused, Some(at), None) => Some(Self::Paused { at }),
            (StateName::Disabled, Some(at), Some(reason)) => Some(Self::Disabled { reason, at }),
            _ => None,
        }
    }
}

macro_rules! named {
    ($name:ident { $($variant:ident = $text:literal),+ }, $error:ident, $what:literal) => {
        impl $name {
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),+
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        #[derive(Debug, Clone, Copy, thiserror::Error, PartialEq, Eq)]
        #[error($what)]
        pub struct $error;

        impl FromStr for $name {
            type Err = $error;
            fn from_str(text: &str) -> Result<Self, $error> {
                match text {
                    $($text => Ok(Self::$variant),)+
                    _ => Err($error),
                }
            }
        }
    };
}

named!(StateName { Active = "active", Paused = "paused", Disabled = "disabled" }, StateNameError,
    "an endpoint is active, paused or disabled");
named!(DisabledReason { Failing = "failing", Gone = "gone" }, DisabledReasonError,
    "an endpoint is disabled since it is failing or gone");
