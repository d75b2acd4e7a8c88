//! Secrets from files: arguments show in process lists, and orchestrators mount secrets as files.

use std::path::{Path, PathBuf};

use super::{Config, ConfigError, Secret};

/// Bytes of such a file: what is longer is something else.
const FILE_MAX: usize = 64 << 10;

impl Config {
    /// Puts what `…_file` keys name in the place of the value itself; returns which keys came from which
    /// file. Doing it again changes nothing.
    pub(crate) fn read_files(&mut self) -> Result<Vec<(&'static str, PathBuf)>, ConfigError> {
        let mut read = Vec::new();
        let Self { server, secrets, .. } = self;
        if let Some(path) = server.store_file.take() {
            // The default is not a choice.
            if server.store.expose() != "sqlite" {
                return Err(both("server.store"));
            }
            server.store = secret(&path)?;
            read.push(("server.store", path));
        }
        for (key, value, file) in [
            ("server.redis", &mut server.redis, &mut server.redis_file),
            ("secrets.master_key", &mut secrets.master_key, &mut secrets.master_key_file),
            (
                "secrets.master_key_previous",
                &mut secrets.master_key_previous,
                &mut secrets.master_key_previous_file,
            ),
        ] {
            let Some(path) = file.take() else { continue };
            if value.is_some() {
                return Err(both(key));
            }
            *value = Some(secret(&path)?);
            read.push((key, path));
        }
        Ok(read)
    }
}

fn both(key: &str) -> ConfigError {
    ConfigError::invalid(format!("{key}_file"), format!("and {key} are both given: leave one out"))
}

fn secret(path: &Path) -> Result<Secret, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Secret { path: path.to_owned(), source })?;
    match text.trim() {
        text if text.is_empty() || text.len() > FILE_MAX => {
            Err(ConfigError::EmptySecret { path: path.to_owned() })
        }
        text => Ok(Secret::new(text)),
    }
}
