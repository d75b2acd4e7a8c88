use std::path::PathBuf;

/// Why there is no configuration. Each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("cannot read the configuration file {path}: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the configuration file {path} is not valid TOML: {message}")]
    Syntax { path: PathBuf, message: String },
    #[error("cannot read the secret in {path}: {source}")]
    Secret { path: PathBuf, source: std::io::Error },
    #[error("{path} holds no secret: it is empty, or far too long")]
    EmptySecret { path: PathBuf },
    #[error("{origin}: {message}")]
    Key { origin: String, message: String },
    #[error("--set {0:?} is not of the form section.key=value, such as limits.connections=5000")]
    Set(String),
    /// A value that reads but cannot be used.
    #[error("{key}: {message}")]
    Invalid { key: String, message: String },
}

impl ConfigError {
    pub(crate) fn invalid(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { key: key.into(), message: message.into() }
    }
}
