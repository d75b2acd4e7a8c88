use std::io::IsTerminal as _;

use anyhow::Context as _;
use tidings_server::config::{Log, LogFormat};
use tracing_subscriber::{
    EnvFilter, Layer as _, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

use crate::output::Paint;

/// Starts logging to stderr. The function returned sets another filter.
pub(super) fn start(log: &Log, paint: Paint) -> anyhow::Result<impl Fn(&str) + use<>> {
    let filter: EnvFilter = log.filter.parse().context("log.filter")?;
    let (filter, handle) = reload::Layer::new(filter);
    let text = match log.format {
        LogFormat::Auto => std::io::stderr().is_terminal(),
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if text {
        layer.with_ansi(paint.err().is_on()).with_target(false).boxed()
    } else {
        layer.json().flatten_event(true).boxed()
    };
    tracing_subscriber::registry().with(filter).with(layer).try_init().context("starting the log")?;
    Ok(move |text: &str| match text.parse::<EnvFilter>() {
        Ok(filter) => {
            let _ = handle.reload(filter);
        }
        Err(error) => tracing::error!(%error, "the log filter stays as it was"),
    })
}
