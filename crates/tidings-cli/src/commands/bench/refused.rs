use std::io;

use tidings_bench::load::Refusal;
use tidings_client::{ClientError, Problem};

/// What a load says of the server at `host`, as every other command would have met it: so that `exit` decides of
/// it in the same way.
pub(super) fn told(error: anyhow::Error, host: &str) -> anyhow::Error {
    if let Some(Refusal { what, status, body }) = error.downcast_ref() {
        let problem = Problem::read(*status, None, body);
        return anyhow::Error::new(ClientError::Refused(Box::new(problem)))
            .context(format!("{what} was refused"));
    }
    let is_cut = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<io::Error>().is_some_and(|error| is_of_a_connection(error.kind()))
    };
    if error.chain().any(is_cut) {
        return ClientError::Disconnected { url: format!("http://{host}"), why: format!("{error:#}") }.into();
    }
    error
}

fn is_of_a_connection(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::UnexpectedEof
            | Kind::TimedOut
            | Kind::HostUnreachable
            | Kind::NetworkUnreachable
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exit;

    #[test]
    fn the_servers_answer_decides_and_so_does_its_silence() {
        let answered = |status, body: &str| -> anyhow::Error {
            Refusal { what: "a publish", status, body: body.into() }.into()
        };
        let cut = |kind: io::ErrorKind| anyhow::Error::new(io::Error::from(kind)).context("publishing");
        let problem = r#"{"type":"urn:tidings:problem:forbidden","title":"No","status":403,"detail":"Why."}"#;
        for (error, status, sentence) in [
            (answered(403, problem), exit::REFUSED, "a publish was refused: No: Why."),
            (answered(429, ""), exit::TEMPORARY, "a publish was refused: HTTP status 429"),
            (
                cut(io::ErrorKind::ConnectionReset),
                exit::UNREACHABLE,
                "no connection to http://h:1: publishing: ",
            ),
            // Not as where nobody reads what this program prints.
            (cut(io::ErrorKind::BrokenPipe), exit::UNREACHABLE, "no connection to http://h:1: publishing: "),
            (cut(io::ErrorKind::NotFound), exit::FAILURE, "publishing: "),
        ] {
            let error = told(error, "h:1");
            assert_eq!(exit::code(&error), status, "{error:#}");
            assert!(format!("{error:#}").starts_with(sentence), "{error:#}");
        }
    }
}
