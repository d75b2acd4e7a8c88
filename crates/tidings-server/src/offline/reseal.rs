//! The secrets of webhook endpoints, under another master key.

use std::sync::Arc;

use tidings_auth::{MasterKeys, Rewrapped, WebhookSecrets};
use tidings_core::{Endpoint, EndpointId, SystemEntropy, TenantId};
use tidings_store::{Command, CommandError, EndpointChange, Journal, JournalConfig, Operation, Store};

use super::{Nobody, OfflineError};

const PAGE: usize = 500;
/// How often an endpoint may be changed by others meanwhile.
const TRIES: usize = 10;

/// Seals what the previous key sealed under the present one. Servers that have both may run.
pub(super) async fn webhooks(store: &Arc<dyn Store>, master: MasterKeys) -> Result<Rewrapped, OfflineError> {
    let journal = Journal::start(store.clone(), Arc::new(Nobody), JournalConfig::default());
    let secrets = WebhookSecrets::new(master);
    let done = all(&**store, &journal, &secrets).await;
    journal.close().await;
    done
}

async fn all(
    store: &dyn Store,
    journal: &Journal,
    secrets: &WebhookSecrets,
) -> Result<Rewrapped, OfflineError> {
    let mut done = Rewrapped::default();
    let mut after = None;
    loop {
        let page = store.tenants(after.as_ref(), PAGE).await?;
        for tenant in &page {
            of_tenant(store, journal, secrets, &tenant.id, &mut done).await?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id.clone()),
            _ => return Ok(done),
        }
    }
}

async fn of_tenant(
    store: &dyn Store,
    journal: &Journal,
    secrets: &WebhookSecrets,
    tenant: &TenantId,
    done: &mut Rewrapped,
) -> Result<(), OfflineError> {
    let Some(webhooks) = store.webhooks() else { return Ok(()) };
    let mut after: Option<EndpointId> = None;
    loop {
        let page = webhooks.endpoints(tenant, after, PAGE).await?;
        for endpoint in &page {
            of_endpoint(journal, secrets, endpoint, done).await?;
        }
        match page.last() {
            Some(last) if page.len() == PAGE => after = Some(last.id),
            _ => return Ok(()),
        }
    }
}

async fn of_endpoint(
    journal: &Journal,
    secrets: &WebhookSecrets,
    endpoint: &Endpoint,
    done: &mut Rewrapped,
) -> Result<(), OfflineError> {
    let tenant = &endpoint.tenant;
    let mut anew = Vec::new();
    for secret in &endpoint.secrets {
        if secrets.is_current(&secret.sealed) {
            done.kept += 1;
            continue;
        }
        let place = (tenant, endpoint.id, secret.id);
        let opened = secrets.open(place, &secret.sealed);
        let text = opened.map_err(|source| OfflineError::WebhookSecret { tenant: tenant.clone(), source })?;
        anew.push((secret.id, secrets.seal(place, &text, &SystemEntropy).into()));
    }
    done.rewrapped += anew.len();
    if anew.is_empty() {
        return Ok(());
    }
    let operation = Operation::ChangeEndpoint { id: endpoint.id, change: EndpointChange::Reseal(anew) };
    let command = Command::Tenant { tenant: tenant.clone(), create: false, operation };
    for _ in 0..TRIES {
        match journal.submit(command.clone()).await {
            // Deleted meanwhile.
            Ok(_) | Err(CommandError::NotFound | CommandError::UnknownTenant) => return Ok(()),
            Err(CommandError::Busy) => {}
            Err(source) => return Err(OfflineError::Reseal { tenant: tenant.clone(), source }),
        }
    }
    Err(OfflineError::Reseal { tenant: tenant.clone(), source: CommandError::Busy })
}
