//! What an error of SQLite means for the batch it struck.

use rusqlite::{Error, ErrorCode};

use crate::{CommandError, ReadError};

/// Why a command stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// Its own doing: nothing of it was written, the batch goes on.
    Command(CommandError),
    /// The batch goes back whole.
    Database(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Database(error)
    }
}

impl From<CommandError> for Stop {
    fn from(error: CommandError) -> Self {
        Self::Command(error)
    }
}

impl From<tidings_core::webhook::EndpointRefused> for Stop {
    fn from(refused: tidings_core::webhook::EndpointRefused) -> Self {
        Self::Command(refused.into())
    }
}

impl From<tidings_core::job::Refused> for Stop {
    fn from(refused: tidings_core::job::Refused) -> Self {
        Self::Command(refused.into())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A value cannot be stored: the batch may pass without its command.
    Rejected,
    /// Nothing is wrong with the file; it may pass later.
    Unavailable,
    /// The file or the disk cannot be trusted: what is committed can no longer be told.
    Fatal,
}

impl Fault {
    /// Judges an error of a statement, or of COMMIT itself.
    pub(super) fn of(error: &Error) -> Self {
        match error {
            Error::SqliteFailure(failure, _) => match failure.code {
                ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch | ErrorCode::TooBig => {
                    Self::Rejected
                }
                ErrorCode::DiskFull
                | ErrorCode::DatabaseBusy
                | ErrorCode::DatabaseLocked
                | ErrorCode::OutOfMemory
                | ErrorCode::OperationInterrupted => Self::Unavailable,
                _ => Self::Fatal,
            },
            // A value that does not convert, in one direction or the other.
            _ => Self::Rejected,
        }
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        let corrupt = match &error {
            Error::SqliteFailure(failure, _) => {
                matches!(failure.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
            }
            Error::FromSqlConversionFailure(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::InvalidColumnType(..) => true,
            _ => false,
        };
        if corrupt { Self::Corrupt(error.to_string()) } else { Self::Unavailable(error.to_string()) }
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::ffi;

    use super::*;

    #[test]
    fn only_what_is_known_to_be_harmless_is_survived() {
        let of = |code| Fault::of(&Error::SqliteFailure(ffi::Error::new(code), None));
        assert_eq!(of(ffi::SQLITE_CONSTRAINT_UNIQUE), Fault::Rejected);
        assert_eq!(of(ffi::SQLITE_TOOBIG), Fault::Rejected);
        assert_eq!(of(ffi::SQLITE_FULL), Fault::Unavailable);
        assert_eq!(of(ffi::SQLITE_BUSY), Fault::Unavailable);
        for code in [
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_WRITE,
            ffi::SQLITE_CORRUPT,
            ffi::SQLITE_NOTADB,
            ffi::SQLITE_READONLY,
        ] {
            assert_eq!(of(code), Fault::Fatal, "{code}");
        }
    }
}
