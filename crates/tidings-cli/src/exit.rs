//! What the exit status says; `docs/cli.md` and `tidings help` say the same.

use std::process::ExitCode;

use tidings_client::{ClientError, Problem, StreamError};
use tidings_server::{StartError, config::ConfigError, offline::OfflineError};

use crate::output::Paint;

pub(crate) const FAILURE: u8 = 1;
/// Also clap's own, and where the server finds what was asked wrong.
pub(crate) const USAGE: u8 = 2;
/// The server refuses the credential, or the credential may not do that.
pub(crate) const REFUSED: u8 = 3;
pub(crate) const NOT_FOUND: u8 = 4;
pub(crate) const UNREACHABLE: u8 = 5;
/// `migrate --check` found that the schema is not up to date.
pub(crate) const TO_DO: u8 = 6;
/// `EX_TEMPFAIL`: the same command may succeed later.
pub(crate) const TEMPORARY: u8 = 75;

/// For `--help`.
pub(crate) const HELP: &str = "\
Exit status:
  0   done
  1   failed
  2   wrong usage or configuration
  3   refused: the credential is missing, does not count, or may not do that
  4   not found
  5   no server answers
  6   there is something to do (migrate --check)
  75  the server cannot now (busy, restarting, rate-limited): try again later";

/// A mistake in how a command was called that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Usage(pub(crate) String);

/// Says what went wrong and returns the status that says it to programs.
pub(crate) fn report(error: &anyhow::Error, paint: Paint) -> ExitCode {
    if is_broken_pipe(error) {
        // Whoever read the output has enough, as in `tidings tail | head`.
        return ExitCode::SUCCESS;
    }
    eprintln!("{} {}", paint.err().red("error:"), sentence(error));
    if let Some(hint) = hint(error) {
        eprintln!("{}", paint.err().dim(hint));
    }
    ExitCode::from(code(error))
}

/// The error and its causes; a cause that only repeats is left out.
fn sentence(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn hint(error: &anyhow::Error) -> Option<&'static str> {
    if client_error(error).and_then(ClientError::problem).is_some_and(is_foreign) {
        return Some(
            "That is no answer of Tidings' API: --url or TIDINGS_URL must name server.listen (not server.ops_listen), or the proxy before it.",
        );
    }
    match code(error) {
        UNREACHABLE => {
            Some("Is the server running? `tidings serve` starts one; --url or TIDINGS_URL names another.")
        }
        REFUSED if client_error(error).and_then(ClientError::status) == Some(401) => Some(
            "The credential comes from --token, --token-file, TIDINGS_TOKEN, or admin.key in the data folder.",
        ),
        _ => None,
    }
}

fn client_error(error: &anyhow::Error) -> Option<&ClientError> {
    error.chain().find_map(|cause| match cause.downcast_ref::<StreamError>() {
        Some(StreamError::Refused(inner)) => Some(inner),
        _ => cause.downcast_ref::<ClientError>(),
    })
}

pub(crate) fn code(error: &anyhow::Error) -> u8 {
    if error.chain().any(is_usage) {
        return USAGE;
    }
    if let Some(error) = client_error(error) {
        return code_of(error);
    }
    match error.chain().find_map(|cause| cause.downcast_ref::<StreamError>()) {
        Some(StreamError::Closed { code: 4403, .. }) => REFUSED,
        Some(StreamError::GaveUp { .. }) => UNREACHABLE,
        _ => FAILURE,
    }
}

/// Something else has to be asked for or configured.
fn is_usage(cause: &(dyn std::error::Error + 'static)) -> bool {
    let is_configuration = |error: &StartError| {
        matches!(
            error,
            StartError::NoMasterKey | StartError::Config(_) | StartError::Redis(_) | StartError::Issuers(_)
        )
    };
    match cause.downcast_ref::<OfflineError>() {
        // What it is shown as passes its cause over.
        Some(OfflineError::Open(error)) => is_configuration(error),
        Some(error) => {
            matches!(
                error,
                OfflineError::NothingSealed | OfflineError::NoPreviousKey | OfflineError::NoStore(_)
            )
        }
        None => {
            cause.is::<Usage>()
                || cause.is::<ConfigError>()
                || cause.downcast_ref::<StartError>().is_some_and(is_configuration)
        }
    }
}

fn code_of(error: &ClientError) -> u8 {
    match error {
        ClientError::Refused(problem) => match problem.status {
            // Whether the mistake was noticed here or there is nothing to the caller.
            400 | 413 | 422 => USAGE,
            401 | 403 => REFUSED,
            // It says nothing about what was asked for.
            _ if is_foreign(problem) => UNREACHABLE,
            404 => NOT_FOUND,
            _ if error.is_temporary() => TEMPORARY,
            _ => FAILURE,
        },
        ClientError::Unreachable { .. } | ClientError::Disconnected { .. } => UNREACHABLE,
        ClientError::Credential(_) => REFUSED,
        ClientError::Invalid(_) => USAGE,
        ClientError::Unreadable { .. } => FAILURE,
    }
}

/// Whether something else answers there: Tidings' API never redirects, and says in a problem what it has not. The
/// operators' address says that it is not the API.
fn is_foreign(problem: &Problem) -> bool {
    problem.is("not-the-api") || problem.is("about:blank") && matches!(problem.status, 300..=399 | 404 | 405)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|cause| cause.kind() == std::io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_program_answers_is_told_from_what_a_server_does() {
        let answered = |status, body: &[u8]| {
            anyhow::Error::new(ClientError::Refused(Box::new(Problem::read(status, None, body))))
        };
        let not_found = br#"{"type":"urn:tidings:problem:not-found","title":"Not found","status":404}"#;
        for (status, body, expected, is_hinted) in [
            (404, &not_found[..], NOT_FOUND, false),
            (404, b"", UNREACHABLE, true),
            (
                404,
                br#"{"type":"urn:tidings:problem:not-the-api","title":"No","status":404}"#,
                UNREACHABLE,
                true,
            ),
            (405, b"", UNREACHABLE, true),
            (301, b"<html>moved", UNREACHABLE, true),
            (400, b"", USAGE, false),
            (413, b"", USAGE, false),
            (422, b"", USAGE, false),
            (403, b"<html>no", REFUSED, false),
            (502, b"<html>bad gateway", TEMPORARY, false),
        ] {
            let error = answered(status, body);
            assert_eq!(code(&error), expected, "{status}");
            let said = hint(&error).is_some_and(|hint| hint.contains("no answer of Tidings"));
            assert_eq!(said, is_hinted, "{status}");
        }
    }
}
