use http::StatusCode;

macro_rules! kinds {
    ($($(#[doc = $doc:literal])+ $name:ident = $slug:literal, $status:ident, $title:literal;)+) => {
        /// Every type of problem. Its URI is stable: programs decide by it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $($(#[doc = $doc])+ $name),+
        }

        impl Kind {
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// The last part of the URI; also the metric's label.
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug),+ }
            }

            pub const fn uri(self) -> &'static str {
                match self { $(Self::$name => concat!("urn:tidings:problem:", $slug)),+ }
            }

            pub const fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status),+ }
            }

            pub const fn title(self) -> &'static str {
                match self { $(Self::$name => $title),+ }
            }

            /// What it means and what to do: the text of `docs/problems.md`.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii_start()),+ }
            }
        }
    };
}

kinds! {
    /// The request is not HTTP/1.1, or of more than one meaning: lines that end with LF alone, `Content-Length` beside
    /// `Transfer-Encoding` or given twice, an encoding other than `chunked`, a `Host` that is missing or repeated. The connection is closed.
    BadRequest = "bad-request", BAD_REQUEST, "The request is not HTTP of one meaning";
    /// A query parameter or header is unknown, repeated or does not read. The detail names it.
    BadParameter = "bad-parameter", BAD_REQUEST, "A parameter is not valid";
    /// The filter has an unknown field, a value that does not fit, or too many values.
    BadFilter = "bad-filter", BAD_REQUEST, "The filter is not valid";
    /// The cursor is not `<epoch>:<seq>` or a seq.
    BadCursor = "bad-cursor", BAD_REQUEST, "The cursor is not valid";
    /// A webhook may not go to that URL: its form, its port, its name or what it leads to. Names that lead to what may not be
    /// called, or to nothing, are told alike.
    UrlRefused = "url-refused", BAD_REQUEST, "Webhooks may not go there";
    /// The body is not JSON. The detail says where it stops being so.
    MalformedJson = "malformed-json", BAD_REQUEST, "The body is not valid JSON";
    /// An operator's credential must name its tenant in `X-Tidings-Tenant`.
    TenantRequired = "tenant-required", BAD_REQUEST, "A tenant must be named";
    /// The request is not a WebSocket upgrade that this server understands.
    BadUpgrade = "bad-upgrade", BAD_REQUEST, "The upgrade request is not valid";
    /// The credential is missing or does not count. One answer for every cause.
    Unauthorized = "unauthorized", UNAUTHORIZED, "A valid credential is required";
    /// The credential lacks a scope, or names an owner, subject or tenant that is not its own.
    Forbidden = "forbidden", FORBIDDEN, "The credential does not allow this";
    /// An operator has suspended the tenant. Ask the operator.
    TenantSuspended = "tenant-suspended", FORBIDDEN, "The tenant is suspended";
    /// Nothing of that id is there, or nothing that the credential may see. Also an unknown route.
    NotFound = "not-found", NOT_FOUND, "Not found";
    /// This is the operators' address, `server.ops_listen`: the API is at `server.listen`.
    NotTheApi = "not-the-api", NOT_FOUND, "The API is at another address";
    /// The route exists, the method does not. `Allow` lists those that do.
    MethodNotAllowed = "method-not-allowed", METHOD_NOT_ALLOWED, "The method is not allowed here";
    /// `Accept` asks for a form that this route does not have.
    NotAcceptable = "not-acceptable", NOT_ACCEPTABLE, "No acceptable form";
    /// The request was not complete in time.
    RequestTimeout = "request-timeout", REQUEST_TIMEOUT, "The request took too long";
    /// The lease expired, was given back, or another one has followed it. Stop: nothing has changed.
    LeaseLost = "lease-lost", CONFLICT, "The lease is lost";
    /// The state of the job or the endpoint does not allow this, or somebody else has changed it meanwhile. The detail says
    /// which.
    WrongState = "wrong-state", CONFLICT, "It is in another state";
    /// A live job that the credential may not see holds the unique key. Wait for it, or use another key.
    UniqueKeyHeld = "unique-key-held", CONFLICT, "The unique key is held";
    /// A schedule of that name is there, perhaps one that the credential may not see. Use another name.
    NameTaken = "name-taken", CONFLICT, "The name is taken";
    /// The tenant has as many of these as it may have. The detail says how many; delete one first.
    LimitReached = "limit-reached", CONFLICT, "The tenant has as many as it may have";
    /// The cursor is of another epoch, ahead of the head, or its range has expired: `reason` says which.
    /// Start again from `oldest`.
    CursorGone = "cursor-gone", GONE, "The cursor has no place in this log";
    /// The body, an event's data or the number of items is beyond its limit. The detail names the limit.
    TooLarge = "too-large", PAYLOAD_TOO_LARGE, "The request is too large";
    /// The URL is longer than `limits.url_bytes`. The connection is closed.
    UriTooLong = "uri-too-long", URI_TOO_LONG, "The URL is too long";
    /// Send `Content-Type: application/json`, and no `Content-Encoding`.
    UnsupportedMediaType = "unsupported-media-type", UNSUPPORTED_MEDIA_TYPE, "The content type is not supported";
    /// The body is JSON, but a field is missing, unknown, of the wrong type or out of range. `path` says which.
    InvalidBody = "invalid-body", UNPROCESSABLE_ENTITY, "The body is not valid";
    /// The idempotency key was used with another body. Use a new key for a new request.
    IdempotencyMismatch = "idempotency-mismatch", UNPROCESSABLE_ENTITY, "The idempotency key was used for another request";
    /// The client, its credential or its tenant asks for more in a time than it may: `limit` names the key. Nothing was done. Wait as long as
    /// `Retry-After` says.
    RateLimited = "rate-limited", TOO_MANY_REQUESTS, "Too many requests";
    /// As many jobs of the type run in the tenant as `jobs.concurrency` lets. Nothing was done: repeat it after
    /// `Retry-After`, when one may have ended.
    JobsLimited = "jobs-limited", TOO_MANY_REQUESTS, "Too many jobs of this type are running";
    /// As many connections are open as there may be: live ones of the user, its tenant or its address, or others of its address. `limit` names the key.
    /// Close one, or try again after `Retry-After`.
    ConnectionsLimited = "connections-limited", TOO_MANY_REQUESTS, "Too many connections of one user, tenant or address";
    /// The request's head is larger than `limits.head_bytes`, or has more fields than `limits.head_fields`: `limit` says which. The connection is closed.
    HeadTooLarge = "head-too-large", REQUEST_HEADER_FIELDS_TOO_LARGE, "The request's head is too large";
    /// The server failed. The request id finds the cause in its log.
    Internal = "internal", INTERNAL_SERVER_ERROR, "Internal error";
    /// Too many changes are waiting, or too many requests are being answered. Nothing was done: repeat it after `Retry-After`.
    Busy = "busy", SERVICE_UNAVAILABLE, "The server is busy";
    /// The store cannot be reached. Nothing was done: repeat it after `Retry-After`.
    Unavailable = "unavailable", SERVICE_UNAVAILABLE, "The server is not available";
    /// The store did not say whether it committed. Repeat it under the same `Idempotency-Key`.
    OutcomeUnknown = "outcome-unknown", SERVICE_UNAVAILABLE, "The outcome is unknown";
    /// As many live connections are open as this server takes. Try again after `Retry-After`.
    TooManyConnections = "too-many-connections", SERVICE_UNAVAILABLE, "Too many live connections";
    /// The server is stopping. Another one, or this one restarted, takes the request after `Retry-After`.
    Draining = "draining", SERVICE_UNAVAILABLE, "The server is stopping";
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page is this table: `TIDINGS_BLESS=1 cargo test` writes it anew.
    #[test]
    fn the_page_of_problems_is_in_step_with_the_code() {
        let mut page = String::from(
            "# Problems\n\n\
             Every error of the HTTP API is `application/problem+json` (RFC 9457): `type`, `title`, `status`, `detail`,\n\
             `request_id`. Programs decide by `type`, which is stable; `detail` is for people and may change. Some types\n\
             have members of their own: `path` (invalid-body), `reason`, `epoch`, `oldest` and `head` (cursor-gone), `limit` (what a limit refused: its key in the configuration).\n\n\
             Two things get no answer at all, the connection ends: a head that is not complete within `limits.header_timeout`, and\n\
             HTTP/2 by prior knowledge, which this server does not speak.\n\n\
             | type | status | meaning |\n|---|---|---|\n",
        );
        let row =
            |kind: &Kind| format!("| `{}` | {} | {} |\n", kind.uri(), kind.status().as_u16(), kind.meaning());
        page.extend(Kind::ALL.iter().map(row));
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/problems.md");
        if std::env::var_os("TIDINGS_BLESS").is_some() {
            std::fs::write(path, &page).expect("the page can be written");
        }
        let written = std::fs::read_to_string(path).expect("the page exists");
        assert_eq!(written, page, "run the tests with TIDINGS_BLESS=1 to write docs/problems.md anew");
    }
}
