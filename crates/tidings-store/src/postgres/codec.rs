//! Values of the vocabulary as parameters and columns, in both directions.

use std::error::Error;

use bytes::{BufMut as _, Bytes, BytesMut};
use tidings_core::{RawJson, Timestamp};
use tokio_postgres::{
    Row,
    types::{FromSql, FromSqlOwned, IsNull, ToSql, Type, accepts, to_sql_checked},
};

/// Why a row does not read back.
#[derive(Debug, thiserror::Error)]
#[error("column {column}: {text}")]
pub(super) struct Unreadable {
    column: usize,
    text: String,
}

pub(super) type Result<T> = std::result::Result<T, Unreadable>;

/// Sixteen bytes as a `uuid`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(pub(super) [u8; 16]);

impl ToSql for Id {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(&self.0);
        Ok(IsNull::No)
    }

    accepts!(UUID);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Id {
    fn from_sql(_: &Type, raw: &'a [u8]) -> std::result::Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(raw.try_into()?))
    }

    accepts!(UUID);
}

/// JSON as `text`: its characters are never looked at again.
#[derive(Debug)]
pub(super) struct Json<'a>(pub(super) &'a RawJson);

impl ToSql for Json<'_> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn Error + Sync + Send>> {
        out.put_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }

    accepts!(TEXT);
    to_sql_checked!();
}

/// A row's columns from one on, each through its own parser.
#[derive(Clone, Copy)]
pub(super) struct Columns<'r> {
    row: &'r Row,
    first: usize,
}

impl<'r> Columns<'r> {
    pub(super) const fn of(row: &'r Row) -> Self {
        Self { row, first: 0 }
    }

    pub(super) const fn from(row: &'r Row, first: usize) -> Self {
        Self { row, first }
    }

    pub(super) fn get<T: FromSql<'r>>(self, at: usize) -> Result<T> {
        self.row.try_get(self.first + at).map_err(|error| self.unreadable(at, &error))
    }

    pub(super) fn is_null(self, at: usize) -> Result<bool> {
        Ok(self.get::<Option<Any>>(at)?.is_none())
    }

    /// A number that was stored from an unsigned one.
    pub(super) fn number(self, at: usize) -> Result<u64> {
        let n: i64 = self.get(at)?;
        u64::try_from(n).map_err(|error| self.unreadable(at, &error))
    }

    pub(super) fn parsed<T, E: std::fmt::Display>(
        self,
        at: usize,
        parse: impl FnOnce(&str) -> std::result::Result<T, E>,
    ) -> Result<T> {
        parse(self.get(at)?).map_err(|error| self.unreadable(at, &error))
    }

    pub(super) fn parsed_opt<T, E: std::fmt::Display>(
        self,
        at: usize,
        parse: impl FnOnce(&str) -> std::result::Result<T, E>,
    ) -> Result<Option<T>> {
        match self.get::<Option<&str>>(at)? {
            None => Ok(None),
            Some(text) => parse(text).map(Some).map_err(|error| self.unreadable(at, &error)),
        }
    }

    pub(super) fn json(self, at: usize) -> Result<RawJson> {
        Ok(RawJson::from_stored(Bytes::copy_from_slice(self.get::<&str>(at)?.as_bytes())))
    }

    pub(super) fn json_opt(self, at: usize) -> Result<Option<RawJson>> {
        let text = self.get::<Option<&str>>(at)?;
        Ok(text.map(|text| RawJson::from_stored(Bytes::copy_from_slice(text.as_bytes()))))
    }

    /// Text that was stored as bytes.
    pub(super) fn words(self, at: usize) -> Result<Option<String>> {
        let bytes = self.get::<Option<Vec<u8>>>(at)?;
        bytes.map(String::from_utf8).transpose().map_err(|error| self.unreadable(at, &error))
    }

    pub(super) fn time(self, at: usize) -> Result<Timestamp> {
        self.get(at).map(Timestamp::from_micros)
    }

    pub(super) fn time_opt(self, at: usize) -> Result<Option<Timestamp>> {
        Ok(self.get::<Option<i64>>(at)?.map(Timestamp::from_micros))
    }

    pub(super) fn unreadable(self, at: usize, error: &dyn std::fmt::Display) -> Unreadable {
        Unreadable { column: self.first + at, text: error.to_string() }
    }
}

/// An array that may be null as a whole.
pub(super) fn list<T: FromSqlOwned>(row: &Row, at: usize) -> Result<Vec<T>> {
    Ok(Columns::of(row).get::<Option<Vec<T>>>(at)?.unwrap_or_default())
}

/// A value of whatever type, unread.
struct Any;

impl<'a> FromSql<'a> for Any {
    fn from_sql(_: &Type, _: &'a [u8]) -> std::result::Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self)
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}
