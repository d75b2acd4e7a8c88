//! The parameters of one call, most of them arrays.

use tokio_postgres::types::{ToSql, Type};

use super::pool::Parameter;

/// The arrays of a call, borrowed from what it carries.
pub(super) struct Arrays<'a> {
    columns: Vec<(Box<dyn Column + 'a>, Type)>,
}

/// A parameter that may be handed to another thread.
trait Column: ToSql + Send + Sync {
    fn as_parameter(&self) -> &(dyn ToSql + Sync);
}

impl<T: ToSql + Send + Sync> Column for T {
    fn as_parameter(&self) -> &(dyn ToSql + Sync) {
        self
    }
}

impl<'a> Arrays<'a> {
    pub(super) fn with_capacity(columns: usize) -> Self {
        Self { columns: Vec::with_capacity(columns) }
    }

    pub(super) fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        self.columns.iter().map(|(column, column_type)| (column.as_parameter(), column_type.clone()))
    }

    pub(super) fn push<T>(&mut self, column_type: Type, values: impl Iterator<Item = T>)
    where
        T: ToSql + Send + Sync + 'a,
    {
        self.columns.push((Box::new(values.collect::<Vec<T>>()), column_type));
    }

    /// A column that is null as a whole where it holds nothing else: nothing of it is sent or taken apart.
    pub(super) fn push_sparse<T>(&mut self, column_type: Type, values: impl Iterator<Item = Option<T>>)
    where
        T: ToSql + Send + Sync + 'a,
    {
        let values: Vec<Option<T>> = values.collect();
        let values = values.iter().any(Option::is_some).then_some(values);
        self.columns.push((Box::new(values), column_type));
    }
}

/// The call of a function with so many parameters.
pub(super) fn statement(columns: &str, function: &str, parameters: usize) -> String {
    let places: Vec<_> = (1..=parameters).map(|n| format!("${n}")).collect();
    format!("SELECT {columns} FROM tidings.{function}({})", places.join(", "))
}
