//! The database as the storage's functions see it: one language, two engines behind it.
//!
//! SQLite and PostgreSQL are asked the same statements, so what the hub does is written once, and one suite of tests holds
//! for both. Parameters are written `?1`, `?2`, …; how the domain's types stand in columns says [`values`].

mod postgres;
mod schema;
mod sqlite;
mod values;

pub use self::postgres::DatabaseUrl;
pub(crate) use rusqlite::params;
pub(super) use sqlite::{configure as configure_file, migrate as migrate_file};
pub(crate) use values::{RowExt, Sql};

use rusqlite::{
    CachedStatement, ToSql,
    types::{FromSql, FromSqlError, ValueRef},
};
use std::path::Path;

/// Why a statement failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SqlError {
    /// SQLite failed.
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// PostgreSQL failed, or cannot be reached.
    #[error("{}", postgres::cause(.0))]
    Postgres(#[from] ::postgres::Error),
    /// There is no row where there is to be one.
    #[error("there is no such row")]
    NoRow,
    /// A column holds what nothing of ours has written.
    #[error("a column cannot be read: {0}")]
    Column(#[from] FromSqlError),
}

/// A result of the database.
pub(crate) type Result<T> = std::result::Result<T, SqlError>;

/// A connection to the database. What is read and written through it stands in its transaction, if it has begun one.
pub(crate) struct Connection(Engine);

enum Engine {
    Sqlite(rusqlite::Connection),
    Postgres(Box<postgres::Connection>),
}

impl Connection {
    /// Opens the file for its one writer, and brings its schema up to date.
    pub(super) fn sqlite_writer(
        path: &Path,
        max_bytes: Option<u64>,
    ) -> std::result::Result<Self, super::StorageError> {
        sqlite::open_writer(path, max_bytes).map(|connection| Self(Engine::Sqlite(connection)))
    }

    /// Opens the file to read only.
    pub(super) fn sqlite_reader(path: &Path) -> Result<Self> {
        Ok(Self(Engine::Sqlite(sqlite::open_reader(path)?)))
    }

    /// Connects to the server to write, and brings its schema up to date.
    pub(super) fn postgres_writer(url: &DatabaseUrl) -> std::result::Result<Self, super::StorageError> {
        let connection = postgres::Connection::open(url)?;
        schema::migrate(&connection)?;
        Ok(Self(Engine::Postgres(Box::new(connection))))
    }

    /// Connects to the server to read.
    pub(super) fn postgres_reader(url: &DatabaseUrl) -> Result<Self> {
        Ok(Self(Engine::Postgres(Box::new(postgres::Connection::open(url)?))))
    }

    /// A statement that is kept, so that the next call with the same text costs less.
    pub(crate) fn prepare_cached(&self, sql: &str) -> Result<Statement<'_>> {
        Ok(match &self.0 {
            Engine::Sqlite(connection) => Statement(Prepared::Sqlite(connection.prepare_cached(sql)?)),
            Engine::Postgres(connection) => {
                Statement(Prepared::Postgres(connection, connection.prepare(sql)?))
            }
        })
    }

    /// Begins the transaction of the one writer: from here on nobody else changes anything, on any node.
    pub(super) fn begin_writing(&self) -> Result<()> {
        self.run(match &self.0 {
            Engine::Sqlite(_) => "BEGIN IMMEDIATE",
            // Every other statement of the transaction then sees what the writers before it have committed.
            Engine::Postgres(_) => "BEGIN; SELECT FROM hub FOR UPDATE",
        })
    }

    /// Does `work` on one moment of the database, which it cannot change.
    pub(super) fn snapshot<T>(&self, work: impl FnOnce(&Self) -> T) -> Result<T> {
        self.run(match &self.0 {
            Engine::Sqlite(_) => "BEGIN",
            Engine::Postgres(_) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
        })?;
        let _end = Snapshot(self);
        Ok(work(self))
    }

    /// Runs statements without parameters and results, as one.
    pub(super) fn run(&self, sql: &str) -> Result<()> {
        match &self.0 {
            Engine::Sqlite(connection) => Ok(connection.execute_batch(sql)?),
            Engine::Postgres(connection) => connection.run(sql),
        }
    }

    /// Whether there is no transaction, though one was begun: the engine has undone it by itself.
    pub(super) fn lost_transaction(&self) -> bool {
        match &self.0 {
            Engine::Sqlite(connection) => connection.is_autocommit(),
            Engine::Postgres(connection) => connection.is_closed(),
        }
    }

    /// Whether nothing can be asked any more, and a new connection is needed.
    pub(super) fn is_closed(&self) -> bool {
        match &self.0 {
            Engine::Sqlite(_) => false,
            Engine::Postgres(connection) => connection.is_closed(),
        }
    }

    /// How large the database is, in bytes.
    pub(super) fn bytes(&self) -> Result<u64> {
        let sql = match &self.0 {
            Engine::Sqlite(_) => "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size",
            Engine::Postgres(_) => "SELECT pg_database_size(current_database())",
        };
        self.prepare_cached(sql)?.query_row((), |row| row.get::<i64>(0)).map(i64::cast_unsigned)
    }

    /// Whether the database is on a server.
    pub(super) fn is_remote(&self) -> bool {
        matches!(self.0, Engine::Postgres(_))
    }

    /// Leaves the database in good order, when nothing is to be written any more.
    pub(super) fn fold_in(&self) -> Result<()> {
        match &self.0 {
            Engine::Sqlite(connection) => {
                Ok(connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))?)
            }
            Engine::Postgres(_) => Ok(()),
        }
    }
}

/// A transaction that only reads, until it is dropped: also after a panic, since the connection is used again.
struct Snapshot<'a>(&'a Connection);

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        if let Err(error) = self.0.run("ROLLBACK") {
            tracing::debug!(%error, "a read did not end in good order");
        }
    }
}

/// A prepared statement.
pub(crate) struct Statement<'a>(Prepared<'a>);

enum Prepared<'a> {
    Sqlite(CachedStatement<'a>),
    Postgres(&'a postgres::Connection, ::postgres::Statement),
}

impl Statement<'_> {
    /// How many rows it changed.
    pub(crate) fn execute(&mut self, params: impl Params) -> Result<usize> {
        params.give(|params| match &mut self.0 {
            Prepared::Sqlite(statement) => Ok(statement.execute(params)?),
            Prepared::Postgres(connection, statement) => connection.execute(statement, params),
        })
    }

    /// The first row, which must be there.
    pub(crate) fn query_row<T>(
        &mut self,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> Result<T>,
    ) -> Result<T> {
        params.give(|params| match &mut self.0 {
            Prepared::Sqlite(statement) => {
                let mut rows = statement.query(params)?;
                let row = rows.next()?.ok_or(SqlError::NoRow)?;
                read(&Row::Sqlite(row))
            }
            Prepared::Postgres(connection, statement) => {
                let row = connection.query_first(statement, params)?.ok_or(SqlError::NoRow)?;
                read(&Row::Postgres(&row))
            }
        })
    }

    /// All rows.
    pub(crate) fn query_map<T>(
        &mut self,
        params: impl Params,
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<std::vec::IntoIter<Result<T>>> {
        let rows: Vec<Result<T>> = params.give(|params| match &mut self.0 {
            Prepared::Sqlite(statement) => {
                let (mut rows, mut found) = (statement.query(params)?, Vec::new());
                while let Some(row) = rows.next()? {
                    found.push(read(&Row::Sqlite(row)));
                }
                Ok::<_, SqlError>(found)
            }
            Prepared::Postgres(connection, statement) => {
                let rows = connection.query(statement, params)?;
                Ok(rows.iter().map(|row| read(&Row::Postgres(row))).collect())
            }
        })?;
        Ok(rows.into_iter())
    }

    /// Whether there is a row.
    pub(crate) fn exists(&mut self, params: impl Params) -> Result<bool> {
        Ok(self.query_row(params, |_| Ok(())).optional()?.is_some())
    }
}

/// A row of a result.
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a ::postgres::Row),
}

impl Row<'_> {
    /// A column, counted from 0.
    pub(crate) fn get<T: FromSql>(&self, column: usize) -> Result<T> {
        Ok(T::column_result(self.get_ref(column)?)?)
    }

    /// A column as it stands there.
    pub(crate) fn get_ref(&self, column: usize) -> Result<ValueRef<'_>> {
        match self {
            Self::Sqlite(row) => Ok(row.get_ref(column)?),
            Self::Postgres(row) => postgres::column(row, column),
        }
    }
}

/// Parameters of a statement.
pub(crate) trait Params: Sized {
    /// Hands them over.
    fn give<R>(self, take: impl FnOnce(&[&dyn ToSql]) -> R) -> R;
}

impl Params for () {
    fn give<R>(self, take: impl FnOnce(&[&dyn ToSql]) -> R) -> R {
        take(&[])
    }
}

impl<T: ToSql, const N: usize> Params for [T; N] {
    fn give<R>(self, take: impl FnOnce(&[&dyn ToSql]) -> R) -> R {
        take(&self.each_ref().map(|value| value as &dyn ToSql))
    }
}

impl Params for &[&dyn ToSql] {
    fn give<R>(self, take: impl FnOnce(&[&dyn ToSql]) -> R) -> R {
        take(self)
    }
}

/// A row that may be missing.
pub(crate) trait OptionalExtension<T> {
    /// Nothing instead of [`SqlError::NoRow`].
    fn optional(self) -> Result<Option<T>>;
}

impl<T> OptionalExtension<T> for Result<T> {
    fn optional(self) -> Result<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(SqlError::NoRow) => Ok(None),
            Err(error) => Err(error),
        }
    }
}
