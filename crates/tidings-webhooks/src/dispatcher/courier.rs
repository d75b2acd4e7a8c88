//! One endpoint for as long as there is one: delivers while it is active, tries it while it is disabled, waits else.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    Endpoint, Seq, Timestamp,
    webhook::{DisabledReason, EndpointState},
};
use tokio::{sync::watch, time::sleep};

use super::{
    Shared, probe,
    runner::{Over, Runner},
    stats::Standing,
};

/// Until it begins anew after something failed.
const PAUSE: Duration = Duration::from_secs(1);
/// How often an endpoint that is not delivered to is looked at, so that its backlog is seen to age.
const LOOK: Duration = Duration::from_secs(30);

/// What outlives a runner.
#[derive(Debug, Default)]
struct Known {
    /// How far the store was told that a generation is.
    told: Option<(u64, Seq)>,
    /// Until when the receiver at a URL asked to be left alone.
    quiet: Option<(String, Timestamp)>,
}

/// Returns when the endpoint is gone (its sender is dropped) or the server stops.
pub(super) async fn run(
    shared: Arc<Shared>,
    mut changes: watch::Receiver<Arc<Endpoint>>,
    standing: Arc<Standing>,
) {
    let mut known = Known::default();
    // What the store itself said last, which may be newer than what was heard.
    let mut read: Option<Arc<Endpoint>> = None;
    loop {
        let heard = Arc::clone(&changes.borrow_and_update());
        let newer = read.take().filter(|read| read.change > heard.change);
        let endpoint = resumed(&newer.unwrap_or(heard), known.told);
        standing.set_state(endpoint.state.name());
        let over = match endpoint.state {
            EndpointState::Active => deliver(&shared, &endpoint, &standing, &mut changes, &mut known).await,
            EndpointState::Disabled { reason: DisabledReason::Failing, .. } if endpoint.spec.probe => {
                probe_while(&shared, &endpoint, &standing, &mut changes).await
            }
            EndpointState::Paused { .. } | EndpointState::Disabled { .. } => {
                rest(&shared, &endpoint, &standing, &mut changes).await
            }
        };
        let gone = changes.has_changed().is_err();
        if over == Over::Stopped || gone {
            return;
        }
        if over == Over::Anew {
            tokio::select! {
                () = sleep(PAUSE) => {}
                _ = changes.changed() => {}
                () = shared.stop.cancelled() => return,
            }
            read = reread(&shared, &endpoint).await;
        }
    }
}

/// What it stopped for may be a change of its own making, such as that the endpoint is disabled.
async fn reread(shared: &Shared, endpoint: &Endpoint) -> Option<Arc<Endpoint>> {
    let webhooks = shared.store.webhooks()?;
    webhooks.endpoint(&endpoint.tenant, endpoint.id).await.ok().flatten().map(Arc::new)
}

/// What the store said may be older than what it was told since.
fn resumed(endpoint: &Arc<Endpoint>, told: Option<(u64, Seq)>) -> Arc<Endpoint> {
    match told {
        Some((generation, cursor)) if generation == endpoint.generation && cursor > endpoint.cursor => {
            Arc::new(Endpoint { cursor, ..Endpoint::clone(endpoint) })
        }
        _ => Arc::clone(endpoint),
    }
}

async fn deliver(
    shared: &Arc<Shared>,
    endpoint: &Arc<Endpoint>,
    standing: &Arc<Standing>,
    changes: &mut watch::Receiver<Arc<Endpoint>>,
    known: &mut Known,
) -> Over {
    let Some(mut runner) = Runner::open(shared, Arc::clone(endpoint), Arc::clone(standing)).await else {
        return Over::Anew;
    };
    let asked = known.quiet.take().filter(|(url, _)| *url == endpoint.spec.url);
    // What the store says may be older, and is all there is after a restart.
    runner.keep_quiet(asked.map(|(_, until)| until).max(endpoint.quiet_until));
    let ended = runner.run(changes).await;
    known.told = Some((endpoint.generation, ended.cursor));
    known.quiet = ended.quiet_until.map(|until| (endpoint.spec.url.clone(), until));
    ended.over
}

/// Waits for a change, and keeps the age of what waits up to date.
async fn rest(
    shared: &Shared,
    endpoint: &Endpoint,
    standing: &Standing,
    changes: &mut watch::Receiver<Arc<Endpoint>>,
) -> Over {
    loop {
        note_backlog(shared, endpoint, standing).await;
        tokio::select! {
            _ = changes.changed() => return Over::Changed,
            () = shared.stop.cancelled() => return Over::Stopped,
            () = sleep(LOOK) => {}
        }
    }
}

async fn probe_while(
    shared: &Arc<Shared>,
    endpoint: &Arc<Endpoint>,
    standing: &Standing,
    changes: &mut watch::Receiver<Arc<Endpoint>>,
) -> Over {
    let every = shared.config.load().probe_every;
    let pause = every + every.mul_f64(shared.entropy.unit() / 4.0);
    tokio::select! {
        over = rest(shared, endpoint, standing, changes) => over,
        () = sleep(pause) => {
            probe::try_once(shared, endpoint).await;
            Over::Changed
        }
    }
}

async fn note_backlog(shared: &Shared, endpoint: &Endpoint, standing: &Standing) {
    let Some(webhooks) = shared.store.webhooks() else { return };
    if let Ok(Some(backlog)) = webhooks.backlog(&endpoint.tenant, endpoint.id).await {
        // Which has what is retried in it.
        standing.set_oldest(backlog.oldest);
        standing.set_oldest_retried(None);
        standing.set_retrying(backlog.retrying);
    }
}
