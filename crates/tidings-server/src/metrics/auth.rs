use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family},
    registry::Registry,
};
use tidings_auth::AuthError;

#[derive(Debug)]
pub(crate) struct Auth {
    results: Family<Outcome, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    result: &'static str,
}

impl Auth {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let auth = Self { results: Family::default() };
        registry.register("auth_results", "Credentials looked at, by result", auth.results.clone());
        auth
    }

    pub(crate) fn missing(&self) {
        self.count("missing");
    }

    pub(crate) fn verdict(&self, verdict: Result<(), &AuthError>) {
        self.count(match verdict {
            Ok(()) => "success",
            Err(AuthError::Unavailable(_)) => "unavailable",
            Err(AuthError::Invalid { .. }) => "invalid",
        });
    }

    fn count(&self, result: &'static str) {
        self.results.get_or_create(&Outcome { result }).inc();
    }
}
