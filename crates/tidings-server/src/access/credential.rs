use axum::extract::Query;
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, Uri, header};

use crate::problem::{Kind, Problem};

use super::unauthorized;

/// A credential as a request carries it.
#[derive(PartialEq, Eq)]
pub(super) enum Presented {
    Bearer(String),
    Ticket(String),
}

/// The longest token that is looked at.
const TOKEN_MAX: usize = 16 * 1024;

/// What `Authorization` carries; nothing else counts outside streams.
pub(super) fn from_header(headers: &HeaderMap) -> Result<Presented, Problem> {
    authorization(headers)?.ok_or_else(unauthorized)
}

/// What a stream's request carries: a header, a subprotocol or a ticket, but one of them.
pub(super) fn from_stream(headers: &HeaderMap, uri: &Uri) -> Result<Presented, Problem> {
    let found = [authorization(headers)?, subprotocol(headers)?, ticket(uri)];
    let mut found = found.into_iter().flatten();
    match (found.next(), found.next()) {
        (Some(one), None) => Ok(one),
        (None, _) => Err(unauthorized()),
        (Some(_), Some(_)) => Err(Problem::new(Kind::BadParameter, "Send one credential, not several.")),
    }
}

fn authorization(headers: &HeaderMap) -> Result<Option<Presented>, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return if headers.contains_key(header::AUTHORIZATION) { Err(unauthorized()) } else { Ok(None) };
    };
    let text = value.to_str().map_err(|_| unauthorized())?;
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && plausible(token) => {
            Ok(Some(Presented::Bearer(token.to_owned())))
        }
        _ => Err(unauthorized()),
    }
}

/// `tidings.bearer.<base64url(token)>` among the offered subprotocols.
fn subprotocol(headers: &HeaderMap) -> Result<Option<Presented>, Problem> {
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|v| v.to_str().ok());
    let mut tokens =
        offered.flat_map(|v| v.split(',')).filter_map(|p| p.trim().strip_prefix("tidings.bearer."));
    let Some(encoded) = tokens.next() else { return Ok(None) };
    if tokens.next().is_some() || encoded.len() > TOKEN_MAX * 2 {
        return Err(unauthorized());
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded.trim_end_matches('=')).map_err(|_| unauthorized())?;
    match String::from_utf8(bytes) {
        Ok(token) if plausible(&token) => Ok(Some(Presented::Bearer(token))),
        _ => Err(unauthorized()),
    }
}

fn ticket(uri: &Uri) -> Option<Presented> {
    let Query(pairs) = Query::<Vec<(String, String)>>::try_from_uri(uri).ok()?;
    let (_, ticket) = pairs.into_iter().find(|(name, _)| name == "ticket")?;
    Some(Presented::Ticket(ticket))
}

fn plausible(token: &str) -> bool {
    (1..=TOKEN_MAX).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.clone(), v.parse().expect("a value"))).collect()
    }

    #[test]
    fn one_well_formed_header_counts_and_nothing_else_does() {
        let good = headers(&[(header::AUTHORIZATION, "bEaReR abc")]);
        assert!(from_header(&good).is_ok_and(|p| p == Presented::Bearer("abc".into())));
        for bad in ["", "Bearer", "Bearer ", "Basic abc", "Bearer a b", "Bearer  abc", "abc"] {
            assert!(from_header(&headers(&[(header::AUTHORIZATION, bad)])).is_err(), "{bad:?}");
        }
        let mut twice = good;
        twice.append(header::AUTHORIZATION, "Bearer abc".parse().expect("a value"));
        assert!(from_header(&twice).is_err());
        assert!(from_header(&HeaderMap::new()).is_err());
    }

    #[test]
    fn a_stream_takes_a_subprotocol_or_a_ticket_but_one() {
        let plain: Uri = "/api/v1/ws".parse().expect("a URI");
        let with_ticket: Uri = "/api/v1/ws?ticket=tdt_x".parse().expect("a URI");
        let offered = headers(&[(header::SEC_WEBSOCKET_PROTOCOL, "tidings.v1, tidings.bearer.YWJj")]);
        assert!(from_stream(&offered, &plain).is_ok_and(|p| p == Presented::Bearer("abc".into())));
        assert!(
            from_stream(&HeaderMap::new(), &with_ticket)
                .is_ok_and(|p| p == Presented::Ticket("tdt_x".into()))
        );
        assert!(from_stream(&offered, &with_ticket).is_err_and(|p| p.kind() == Kind::BadParameter));
        assert!(from_stream(&HeaderMap::new(), &plain).is_err_and(|p| p.kind() == Kind::Unauthorized));
        let broken = headers(&[(header::SEC_WEBSOCKET_PROTOCOL, "tidings.v1, tidings.bearer.*")]);
        assert!(from_stream(&broken, &plain).is_err_and(|p| p.kind() == Kind::Unauthorized));
    }
}
