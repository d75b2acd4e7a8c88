//! Finds the server and the credential: `--url`/`--token`, `TIDINGS_URL`/`TIDINGS_TOKEN`, the data folder.

use std::path::Path;

use anyhow::Context as _;
use secrecy::{ExposeSecret as _, SecretString};
use tidings_client::{Client, Credential, JobListRequest};
use tidings_core::TenantId;

use crate::{args::TargetArgs, exit::Usage, server_file::ServerFile};

/// Where `serve` listens unless it is told otherwise.
const URL_DEFAULT: &str = "http://127.0.0.1:3000";

/// A server and a credential for it.
pub(crate) struct Resolved {
    pub(crate) url: String,
    pub(crate) token: SecretString,
    /// It is the administrator's of the data folder.
    pub(crate) local_key: bool,
}

impl TargetArgs {
    /// A client that acts for the right tenant.
    pub(crate) async fn connect(&self) -> anyhow::Result<Client> {
        let (client, local_key) = self.client()?;
        if self.tenant()?.is_some() {
            return Ok(client);
        }
        if local_key || needs_tenant(&client).await {
            return Ok(client.for_tenant(Some(default_tenant())));
        }
        Ok(client)
    }

    /// A client for what belongs to no tenant; and whether its credential is the administrator's of the
    /// data folder.
    pub(crate) fn client(&self) -> anyhow::Result<(Client, bool)> {
        let Resolved { url, token, local_key } = self.resolve()?;
        let mut builder = Client::builder(url).credential(Credential::fixed(token.expose_secret()));
        if let Some(tenant) = self.tenant()? {
            builder = builder.tenant(tenant);
        }
        Ok((builder.build()?, local_key))
    }

    pub(crate) fn resolve(&self) -> anyhow::Result<Resolved> {
        let local = ServerFile::read(&self.data);
        let url = url(self.url.as_deref(), local.as_ref());
        let given = self.given_token()?;
        let local_key = given.is_none();
        let token = match given {
            Some(token) => SecretString::from(token.expose_secret().trim().to_owned()),
            None => self.local_token(&url, local.as_ref())?,
        };
        Ok(Resolved { url, token, local_key })
    }

    fn given_token(&self) -> anyhow::Result<Option<SecretString>> {
        match (&self.token, &self.token_file) {
            (Some(token), _) => Ok(Some(token.clone())),
            (None, Some(file)) => read_secret(file).map(Some),
            (None, None) => Ok(variable("TIDINGS_TOKEN")?.map(SecretString::from)),
        }
    }

    fn tenant(&self) -> anyhow::Result<Option<TenantId>> {
        if let Some(tenant) = &self.tenant {
            return Ok(Some(tenant.clone()));
        }
        let named = variable("TIDINGS_TENANT")?.map(|text| text.parse());
        named.transpose().map_err(|e| Usage(format!("TIDINGS_TENANT: {e}")).into())
    }

    /// The administrator key goes to the data folder's own server only, never to another that `--url` names.
    fn local_token(&self, url: &str, local: Option<&ServerFile>) -> anyhow::Result<SecretString> {
        let own = match (&self.url, local) {
            (None, _) => true,
            (Some(_), Some(local)) => local.url.trim_end_matches('/') == url.trim_end_matches('/'),
            (Some(_), None) => false,
        };
        if !own {
            let message = format!("{url} needs a credential: --token-file, --token or TIDINGS_TOKEN");
            return Err(Usage(message).into());
        }
        let file = self.data.join("admin.key");
        if !file.exists() {
            let folder = self.data.display();
            let message = format!(
                "no credential: give --token-file, --token or TIDINGS_TOKEN, or start a server here \
                 (`tidings serve --data {folder}`), whose key is then found in {folder}/admin.key"
            );
            return Err(Usage(message).into());
        }
        read_secret(&file)
    }
}

fn variable(name: &str) -> Result<Option<String>, Usage> {
    let text = std::env::var_os(name).map(std::ffi::OsString::into_string);
    text.transpose().map_err(|_| Usage(format!("{name} is not UTF-8")))
}

/// The server that was given, else the data folder's, else where one listens by default.
pub(crate) fn url(given: Option<&str>, local: Option<&ServerFile>) -> String {
    given.or(local.map(|l| l.url.as_str())).unwrap_or(URL_DEFAULT).to_owned()
}

fn read_secret(file: &Path) -> anyhow::Result<SecretString> {
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("reading the credential in {}", file.display()))?;
    Ok(SecretString::from(text.trim().to_owned()))
}

fn default_tenant() -> TenantId {
    TenantId::new("default").expect("a valid tenant id")
}

/// An operator's credential must name its tenant, and any other must not: the server alone knows which
/// one this is.
async fn needs_tenant(client: &Client) -> bool {
    let list = JobListRequest { limit: Some(1), ..JobListRequest::default() };
    match client.jobs(&list).await {
        Err(error) => error.problem().is_some_and(|p| p.is("tenant-required")),
        Ok(_) => false,
    }
}
