use std::error::Error as _;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::{app::StartError, config::Config};

use super::Server;

/// How a server's run ended; each is another exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// SIGTERM or SIGINT, in order.
    Stopped,
    /// A second signal came while it was stopping: what was in flight was cut. Nothing acknowledged is lost.
    Cut,
    /// A part failed that the server cannot be without.
    Failed,
}

/// SIGTERM and SIGINT.
struct EndSignals {
    term: Signal,
    int: Signal,
}

impl EndSignals {
    fn new() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn recv(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }
}

impl Server {
    /// Runs until SIGTERM, SIGINT or a failure, then stops in order; a second signal ends it at once.
    /// SIGHUP reloads; `reloaded` gets the configuration that is then in force.
    pub async fn run_until_signalled(self, reloaded: impl Fn(&Config)) -> Result<Ended, StartError> {
        let mut end = EndSignals::new().map_err(StartError::Signals)?;
        let mut reload = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
        let ended = loop {
            tokio::select! {
                () = end.recv() => break Ended::Stopped,
                () = self.app.failed() => {
                    tracing::error!("a part of the server has failed: stopping");
                    break Ended::Failed;
                }
                _ = reload.recv() => match self.reload() {
                    Ok(config) => {
                        reloaded(&config);
                        tracing::info!("reloaded the configuration");
                    }
                    Err(error) => {
                        let cause = error.source().map(ToString::to_string);
                        tracing::error!(%error, cause, "the configuration was not reloaded: everything stays as it was");
                    }
                }
            }
        };
        tracing::info!("stopping");
        tokio::select! {
            () = self.stop() => Ok(ended),
            () = end.recv() => Ok(if ended == Ended::Failed { ended } else { Ended::Cut }),
        }
    }
}
