//! Words of ordinary sentences that stand where a secret or a name could.

/// What may follow "bearer", "password is" and their like in a sentence.
const AFTER_SECRET: [&str; 62] = [
    "a",
    "an",
    "and",
    "are",
    "auth",
    "authentication",
    "authorization",
    "been",
    "but",
    "cannot",
    "credential",
    "credentials",
    "does",
    "empty",
    "error",
    "expired",
    "failed",
    "for",
    "format",
    "from",
    "has",
    "header",
    "in",
    "incorrect",
    "invalid",
    "is",
    "malformed",
    "missing",
    "must",
    "no",
    "none",
    "not",
    "null",
    "of",
    "on",
    "or",
    "prefix",
    "rejected",
    "required",
    "revoked",
    "scheme",
    "set",
    "should",
    "string",
    "than",
    "that",
    "the",
    "to",
    "token",
    "tokens",
    "too",
    "type",
    "unknown",
    "unset",
    "used",
    "valid",
    "value",
    "was",
    "weak",
    "with",
    "wrong",
    "yet",
];

/// What stands before a colon and a number in a sentence or a log.
const BEFORE_NUMBER: [&str; 62] = [
    "actual", "at", "attempt", "attempts", "batch", "byte", "bytes", "char", "chunk", "code", "col",
    "column", "count", "current", "depth", "epoch", "errno", "error", "event", "exit", "expected", "field",
    "found", "got", "http", "id", "index", "item", "items", "job", "layer", "length", "level", "limit",
    "line", "max", "min", "n", "node", "note", "of", "offset", "page", "part", "pid", "pos", "position",
    "priority", "rank", "retries", "retry", "row", "seq", "shard", "size", "status", "step", "tokens",
    "total", "version", "was", "worker",
];

/// What starts a noun in a sentence, and never a name in SQL.
const ARTICLES: [&str; 26] = [
    "a", "all", "an", "another", "any", "been", "each", "every", "her", "his", "is", "its", "my", "new",
    "not", "one", "our", "some", "that", "the", "their", "these", "this", "those", "was", "your",
];

pub(super) fn follows_a_secret(word: &str) -> bool {
    AFTER_SECRET.contains(&word)
}

pub(super) fn precedes_a_number(word: &str) -> bool {
    BEFORE_NUMBER.contains(&word)
}

pub(super) fn is_article(word: &str) -> bool {
    ARTICLES.contains(&word)
}
