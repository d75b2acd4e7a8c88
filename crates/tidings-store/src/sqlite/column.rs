//! Values of the vocabulary as columns, in both directions.

use bytes::Bytes;
use rusqlite::{
    Error, Result, Row,
    types::{FromSqlError, ToSqlOutput, Type, ValueRef},
};
use tidings_core::{RawJson, Timestamp};

/// JSON text goes in without a copy.
pub(super) fn json(value: &RawJson) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes()))
}

pub(super) fn json_opt(value: Option<&RawJson>) -> ToSqlOutput<'_> {
    ToSqlOutput::Borrowed(value.map_or(ValueRef::Null, |v| ValueRef::Text(v.as_bytes())))
}

/// Lower-case text in a column: a name, a blob of an id or JSON.
pub(super) fn get_json(row: &Row<'_>, at: usize) -> Result<Option<RawJson>> {
    match row.get_ref(at)? {
        ValueRef::Null => Ok(None),
        ValueRef::Text(text) => Ok(Some(RawJson::from_stored(Bytes::copy_from_slice(text)))),
        other => Err(mismatch(at, other.data_type())),
    }
}

pub(super) fn get_json_required(row: &Row<'_>, at: usize) -> Result<RawJson> {
    get_json(row, at)?.ok_or_else(|| mismatch(at, Type::Null))
}

/// A name or an id, through its own parser.
pub(super) fn get_parsed<T, E>(
    row: &Row<'_>,
    at: usize,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<T>
where
    E: std::error::Error + Send + Sync + 'static,
{
    let text = row.get_ref(at)?.as_str().map_err(|_| mismatch(at, Type::Null))?;
    parse(text).map_err(|e| Error::FromSqlConversionFailure(at, Type::Text, Box::new(e)))
}

pub(super) fn get_parsed_opt<T, E>(
    row: &Row<'_>,
    at: usize,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Result<Option<T>>
where
    E: std::error::Error + Send + Sync + 'static,
{
    match row.get_ref(at)? {
        ValueRef::Null => Ok(None),
        _ => get_parsed(row, at, parse).map(Some),
    }
}

pub(super) fn get_time(row: &Row<'_>, at: usize) -> Result<Timestamp> {
    row.get(at).map(Timestamp::from_micros)
}

pub(super) fn get_time_opt(row: &Row<'_>, at: usize) -> Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(at)?.map(Timestamp::from_micros))
}

/// A number that was stored from an unsigned one.
pub(super) fn get_u64(row: &Row<'_>, at: usize) -> Result<u64> {
    let n: i64 = row.get(at)?;
    u64::try_from(n).map_err(|_| Error::IntegralValueOutOfRange(at, n))
}

/// What a column must hold and does not.
pub(super) fn mismatch(at: usize, found: Type) -> Error {
    Error::FromSqlConversionFailure(at, found, Box::new(FromSqlError::InvalidType))
}
