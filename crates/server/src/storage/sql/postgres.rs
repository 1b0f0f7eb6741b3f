//! PostgreSQL, or what speaks its protocol.

mod client;

use super::{super::StorageError, DatabaseUrl, Result, SqlError};
use ::tokio_postgres::{
    Row, Statement,
    types::{self, IsNull, Type, to_sql_checked},
};
use bytes::BytesMut;
pub(super) use client::Client;
use client::Params;
use rusqlite::{
    ToSql,
    types::{ToSqlOutput, Value, ValueRef},
};
use std::{cell::RefCell, collections::HashMap, error::Error, io::ErrorKind, time::Duration};

/// What every connection begins with. A lock is waited for as long as SQLite waits for another process. A hub that is gone
/// without a word, in the middle of a transaction, does not keep the others out. What is committed is on the disk, and
/// statements see what was committed before them, whatever the database's own settings are.
const SESSION: &str = "SET lock_timeout = '5s';
    SET idle_in_transaction_session_timeout = '10s';
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3;
    SET default_transaction_isolation = 'read committed';
    SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') IN ('off', 'local')";

/// What every connection of a hub holds together with all others, so that [who needs the database alone](Connection::open_alone) notices.
/// The number is ours alone.
const IN_USE: i64 = 0x7465_7274_756c_6962;

/// What a server that takes no writes says of one (SQLSTATE).
const READ_ONLY: &str = "25006";

/// A connection that was in use so short a time ago is taken to be good, unless its end was heard of.
const BELIEVED: Duration = Duration::from_secs(1);

/// A connection, with the statements that were prepared on it.
pub(super) struct Connection {
    client: RefCell<Client>,
    // As many as there are different statements in this crate.
    prepared: RefCell<HashMap<String, Statement>>,
}

impl Connection {
    pub(super) fn open(url: &DatabaseUrl) -> std::result::Result<Self, StorageError> {
        Self::begin(url, &format!("SELECT pg_advisory_lock_shared({IN_USE})"))
    }

    /// The only connection to the database: no hub has one, and none gets one while this lasts. Who has just ended is waited for.
    pub(super) fn open_alone(url: &DatabaseUrl) -> std::result::Result<Self, StorageError> {
        let alone =
            format!("SET lock_timeout = '2s'; SELECT pg_advisory_lock({IN_USE}); SET lock_timeout = '5s'");
        Self::begin(url, &alone)
    }

    fn begin(url: &DatabaseUrl, lock: &str) -> std::result::Result<Self, StorageError> {
        let mut client = url.connect()?;
        client.run(&format!("{SESSION}; {lock}"))?;
        Ok(Self { client: RefCell::new(client), prepared: RefCell::default() })
    }

    /// The statement, with the engine's own form of parameters.
    pub(super) fn prepare(&self, sql: &str) -> Result<Statement> {
        if let Some(statement) = self.prepared.borrow().get(sql) {
            return Ok(statement.clone());
        }
        let statement = self.client.borrow_mut().prepare(&sql.replace('?', "$"))?;
        self.prepared.borrow_mut().insert(sql.to_owned(), statement.clone());
        Ok(statement)
    }

    pub(super) fn run(&self, sql: &str) -> Result<()> {
        Ok(self.client.borrow_mut().run(sql)?)
    }

    /// Begins a transaction with the statement, which goes to the server together with what is asked first.
    pub(super) fn begin_with_next(&self, sql: &'static str) {
        self.client.borrow_mut().run_with_next(sql);
    }

    /// Begins a transaction that nothing is changed in. If the connection was in use a moment ago and has not ended since, the
    /// beginning goes with what is asked first, as with [`begin_with_next`](Self::begin_with_next); otherwise the server is asked
    /// whether it is still there, so that another connection can be made while nothing is lost with this one.
    pub(super) fn begin_reading(&self, sql: &'static str) -> Result<()> {
        let mut client = self.client.borrow_mut();
        if client.quiet_for() > BELIEVED || client.has_ended() {
            return Ok(client.run(sql)?);
        }
        client.run_with_next(sql);
        Ok(())
    }

    /// Ends a transaction in which nothing was changed. Nobody waits for it.
    pub(super) fn end_unchanged(&self) {
        let mut client = self.client.borrow_mut();
        if !client.forget_next() {
            client.send("ROLLBACK");
        }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.borrow().is_closed()
    }

    pub(super) fn execute(&self, statement: &Statement, params: &[&dyn ToSql]) -> Result<usize> {
        let values = values(params)?;
        let changed = self.client.borrow_mut().execute(statement, &references(&values))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(super) fn query(&self, statement: &Statement, params: &[&dyn ToSql]) -> Result<Vec<Row>> {
        let values = values(params)?;
        Ok(self.client.borrow_mut().query(statement, &references(&values))?)
    }

    /// The rows of a statement without parameters that is not kept.
    pub(super) fn query_once(&self, sql: &str) -> Result<Vec<Row>> {
        Ok(self.client.borrow_mut().query_once(sql)?)
    }

    pub(super) fn query_first(&self, statement: &Statement, params: &[&dyn ToSql]) -> Result<Option<Row>> {
        Ok(self.query(statement, params)?.into_iter().next())
    }

    /// The rows for each of these parameters; all are asked before the first is answered.
    pub(super) fn query_each<'p, const N: usize>(
        &self,
        statement: &Statement,
        all: impl IntoIterator<Item = [&'p dyn ToSql; N]>,
    ) -> Result<Vec<Vec<Row>>> {
        let values = each(all)?;
        let all: Vec<_> = values.iter().map(|values| references(values)).collect();
        Ok(self.client.borrow_mut().query_each(statement, &all)?)
    }

    /// Executes it with each of these parameters; all are sent before the first is done.
    pub(super) fn execute_each<'p, P: AsRef<[&'p dyn ToSql]>>(
        &self,
        statement: &Statement,
        all: impl IntoIterator<Item = P>,
    ) -> Result<()> {
        let values = each(all)?;
        let all: Vec<_> = values.iter().map(|values| references(values)).collect();
        Ok(self.client.borrow_mut().execute_each(statement, &all)?)
    }
}

/// The parameters of several executions in the form that the client takes.
fn each<'p, P: AsRef<[&'p dyn ToSql]>>(all: impl IntoIterator<Item = P>) -> Result<Vec<Vec<Parameter<'p>>>> {
    let all = all.into_iter();
    // The parameters are borrowed for longer than what names them.
    let one = |params: P| params.as_ref().iter().copied().map(value).collect();
    Ok(all.map(one).collect::<rusqlite::Result<_>>()?)
}

/// The parameters in the form that the client takes.
fn values<'p>(params: &[&'p dyn ToSql]) -> Result<Vec<Parameter<'p>>> {
    Ok(params.iter().copied().map(value).collect::<rusqlite::Result<_>>()?)
}

fn value(param: &dyn ToSql) -> rusqlite::Result<Parameter<'_>> {
    param.to_sql().map(Parameter)
}

fn references<'a>(values: &'a [Parameter<'_>]) -> Params<'a> {
    values.iter().map(|value| value as &(dyn types::ToSql + Sync)).collect()
}

/// A value on its way to the server, which says by the statement what type it takes.
#[derive(Debug)]
struct Parameter<'a>(ToSqlOutput<'a>);

/// A parameter that is not of the type that the statement takes.
#[derive(Debug, thiserror::Error)]
#[error("the statement takes {expected}, not {given}")]
struct WrongType {
    expected: String,
    given: &'static str,
}

impl types::ToSql for Parameter<'_> {
    fn to_sql(
        &self,
        expected: &Type,
        out: &mut BytesMut,
    ) -> std::result::Result<IsNull, Box<dyn Error + Sync + Send>> {
        let value = match &self.0 {
            ToSqlOutput::Borrowed(value) => *value,
            ToSqlOutput::Owned(value) => value_ref(value),
            _ => ValueRef::Null,
        };
        let wrong = |given| Box::new(WrongType { expected: expected.to_string(), given });
        match value {
            ValueRef::Null => Ok(IsNull::Yes),
            ValueRef::Integer(number) => match *expected {
                Type::INT8 => types::ToSql::to_sql(&number, expected, out),
                Type::INT4 => types::ToSql::to_sql(&i32::try_from(number)?, expected, out),
                Type::BOOL => types::ToSql::to_sql(&(number != 0), expected, out),
                _ => Err(wrong("an integer")),
            },
            ValueRef::Text(text) if matches!(*expected, Type::TEXT | Type::VARCHAR) => {
                types::ToSql::to_sql(&std::str::from_utf8(text)?, expected, out)
            }
            ValueRef::Blob(bytes) if *expected == Type::BYTEA => types::ToSql::to_sql(&bytes, expected, out),
            ValueRef::Text(_) => Err(wrong("a text")),
            ValueRef::Blob(_) => Err(wrong("bytes")),
            ValueRef::Real(_) => Err(wrong("a number with a fraction")),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // what does not fit is refused above, where the value is known
    }

    to_sql_checked!();
}

fn value_ref(value: &Value) -> ValueRef<'_> {
    value.into()
}

/// A column of a row: whole numbers and truth values as integers, as SQLite has them.
pub(super) fn column(row: &Row, index: usize) -> Result<ValueRef<'_>> {
    let kind = row.columns().get(index).map(|column| column.type_().clone());
    let value = match kind {
        Some(Type::INT8) => row.try_get::<_, Option<i64>>(index)?.map(ValueRef::Integer),
        Some(Type::INT4) => {
            row.try_get::<_, Option<i32>>(index)?.map(|number| ValueRef::Integer(number.into()))
        }
        Some(Type::BOOL) => {
            row.try_get::<_, Option<bool>>(index)?.map(|truth| ValueRef::Integer(truth.into()))
        }
        Some(Type::BYTEA) => row.try_get::<_, Option<&[u8]>>(index)?.map(ValueRef::Blob),
        // Text, and what cannot be read as such is an error of the client.
        _ => row.try_get::<_, Option<&str>>(index)?.map(|text| ValueRef::Text(text.as_bytes())),
    };
    Ok(value.unwrap_or(ValueRef::Null))
}

/// Whether the server cannot be reached, or is about to end the connection.
pub(in crate::storage) fn is_gone(error: &::tokio_postgres::Error) -> bool {
    match error.code().map(|state| state.code()) {
        Some(code) => ends_the_connection(code),
        // Without a code it is not the server that says so.
        None => error.is_closed() || error.source().is_some_and(|source| source.is::<std::io::Error>()),
    }
}

/// Whether the server says with this code (SQLSTATE) that there is no connection, or none of use from now on.
fn ends_the_connection(code: &str) -> bool {
    // Connection exceptions, and a server that stops or starts.
    code.starts_with("08")
        || code.starts_with("57P")
        // Too many connections; and a transaction that has said nothing, or gone on, for longer than the server allows.
        || matches!(code, "53300" | "25P03" | "25P04")
        // A standby keeps a connection that it is of no use over: another one leads to the server that has taken over.
        || code == READ_ONLY
}

/// Whether the server takes no writes.
pub(in crate::storage) fn takes_no_writes(error: &::tokio_postgres::Error) -> bool {
    match error.code().map(|state| state.code()) {
        Some(code) => code == READ_ONLY,
        // What the client found when it asked, as the address has it: no error of the system's, which has a number.
        None => {
            error.source().and_then(|source| source.downcast_ref::<std::io::Error>()).is_some_and(|cause| {
                cause.kind() == ErrorKind::PermissionDenied && cause.raw_os_error().is_none()
            })
        }
    }
}

/// What went wrong, in the server's words. Its `detail` is left out, which has values of rows in it.
pub(super) fn cause(error: &::tokio_postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(server), _) => format!("{} ({})", server.message(), server.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

impl From<::tokio_postgres::Error> for StorageError {
    fn from(error: ::tokio_postgres::Error) -> Self {
        SqlError::from(error).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_ends_the_connection_is_asked_again_over_another() {
        // Shut down, starting, connection failure, too many clients, idle for too long in a transaction, transaction too long, a standby.
        for code in ["57P01", "57P03", "08006", "53300", "25P03", "25P04", "25006"] {
            assert!(ends_the_connection(code), "{code}");
        }
        // A failed transaction, a unique violation, a full disk, a lock that was not got, a statement that was cancelled.
        for code in ["25P02", "23505", "53100", "55P03", "57014"] {
            assert!(!ends_the_connection(code), "{code}");
        }
    }
}
