//! PostgreSQL, or what speaks its protocol.

use super::{super::StorageError, Result, SqlError};
use ::postgres::{
    Client, Config, NoTls, Row, Statement,
    types::{self, IsNull, Type, to_sql_checked},
};
use bytes::BytesMut;
use rusqlite::{
    ToSql,
    types::{ToSqlOutput, Value, ValueRef},
};
use std::{cell::RefCell, collections::HashMap, error::Error, fmt, str::FromStr, sync::Arc, time::Duration};

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

/// How long the server may say nothing where it has to.
const SILENCE: Duration = Duration::from_secs(10);

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

/// Where a PostgreSQL server is, and as whom to connect: `postgres://user:password@host:port/database`. Its `Debug` shows no
/// password.
#[derive(Clone)]
pub struct DatabaseUrl(Arc<Config>);

impl FromStr for DatabaseUrl {
    type Err = StorageError;

    /// Reads `postgres://user:password@host:port/database`, or the `key=value` form.
    fn from_str(url: &str) -> std::result::Result<Self, StorageError> {
        let mut config: Config = url.parse().map_err(|error| StorageError::Address(Arc::new(error)))?;
        if config.get_application_name().is_none() {
            config.application_name("tertulia");
        }
        // A server that is gone without a word is noticed, unless the address says how.
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(SILENCE);
        }
        config.keepalives_idle(SILENCE);
        Ok(Self(Arc::new(config)))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(config) = self;
        f.debug_struct("DatabaseUrl")
            .field("hosts", &config.get_hosts())
            .field("database", &config.get_dbname())
            .finish_non_exhaustive()
    }
}

/// A connection, with the statements that were prepared on it.
pub(super) struct Connection {
    client: RefCell<Client>,
    // As many as there are different statements in this crate.
    prepared: RefCell<HashMap<String, Statement>>,
}

impl Connection {
    pub(super) fn open(DatabaseUrl(config): &DatabaseUrl) -> Result<Self> {
        let mut client = config.connect(NoTls)?;
        client.batch_execute(SESSION)?;
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
        Ok(self.client.borrow_mut().batch_execute(sql)?)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.client.borrow().is_closed()
    }

    pub(super) fn execute(&self, statement: &Statement, params: &[&dyn ToSql]) -> Result<usize> {
        let changed = with(params, |params| self.client.borrow_mut().execute(statement, params))?;
        Ok(usize::try_from(changed).unwrap_or(usize::MAX))
    }

    pub(super) fn query(&self, statement: &Statement, params: &[&dyn ToSql]) -> Result<Vec<Row>> {
        with(params, |params| self.client.borrow_mut().query(statement, params))
    }

    pub(super) fn query_first(&self, statement: &Statement, params: &[&dyn ToSql]) -> Result<Option<Row>> {
        Ok(self.query(statement, params)?.into_iter().next())
    }
}

/// Hands the parameters over in the form that the client takes.
fn with<T>(
    params: &[&dyn ToSql],
    call: impl FnOnce(&[&(dyn types::ToSql + Sync)]) -> std::result::Result<T, ::postgres::Error>,
) -> Result<T> {
    let values =
        params.iter().map(|param| param.to_sql().map(Parameter)).collect::<rusqlite::Result<Vec<_>>>()?;
    let params: Vec<_> = values.iter().map(|value| value as &(dyn types::ToSql + Sync)).collect();
    Ok(call(&params)?)
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

/// What went wrong, in the server's words. Its `detail` is left out, which has values of rows in it.
pub(super) fn cause(error: &::postgres::Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(server), _) => format!("{} ({})", server.message(), server.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

impl From<::postgres::Error> for super::super::StorageError {
    fn from(error: ::postgres::Error) -> Self {
        SqlError::from(error).into()
    }
}
