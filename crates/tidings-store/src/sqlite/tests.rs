//! What is this store's own; what every store does is in the conformance suite.
