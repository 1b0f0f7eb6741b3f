//! The database as the storage's functions see it: one language, two engines behind it.
//!
//! SQLite and PostgreSQL are asked the same statements, so what the hub does is written once, and one suite of tests holds
//! for both. Parameters are written `?1`, `?2`, …; how the domain's types stand in columns says [`values`].

mod address;
mod postgres;
mod schema;
mod sqlite;
mod values;

pub use self::address::DatabaseUrl;
pub(super) use self::postgres::{is_gone, takes_no_writes};
pub(super) use self::schema::{Version, version_of_file, version_of_server};
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
    Postgres(#[from] ::tokio_postgres::Error),
    /// No runtime could be made to connect with. The cause says what of the system is short.
    #[error("no connection can be made: {0}")]
    Runtime(#[source] std::io::Error),
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

    /// Opens the file of a relay that is no hub for its one writer, and brings its schema up to date.
    pub(super) fn sqlite_relay_writer(
        path: &Path,
        max_bytes: Option<u64>,
    ) -> std::result::Result<Self, super::StorageError> {
        sqlite::open_relay_writer(path, max_bytes).map(|connection| Self(Engine::Sqlite(connection)))
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

    /// Connects to the server to write, after a connection has ended. The schema has to be the one that this program knows: while
    /// the server was away, another version may have changed it.
    pub(super) fn postgres_writer_again(url: &DatabaseUrl) -> std::result::Result<Self, super::StorageError> {
        let connection = postgres::Connection::open(url)?;
        schema::check(&connection)?;
        Ok(Self(Engine::Postgres(Box::new(connection))))
    }

    /// Connects to the server to read.
    pub(super) fn postgres_reader(url: &DatabaseUrl) -> std::result::Result<Self, super::StorageError> {
        Ok(Self(Engine::Postgres(Box::new(postgres::Connection::open(url)?))))
    }

    /// Connects to the server as the only one: [`StorageError::InUse`](super::StorageError::InUse) if a hub runs on the database. The schema is as it was found.
    pub(super) fn postgres_alone(url: &DatabaseUrl) -> std::result::Result<Self, super::StorageError> {
        Ok(Self(Engine::Postgres(Box::new(postgres::Connection::open_alone(url)?))))
    }

    /// Uses a file that was opened in another way than a hub's.
    pub(super) const fn of_file(file: rusqlite::Connection) -> Self {
        Self(Engine::Sqlite(file))
    }

    /// Brings the schema of a server's database up to date. Of a file it is when that is opened.
    pub(super) fn migrate_server(&self) -> std::result::Result<(), super::StorageError> {
        match &self.0 {
            Engine::Sqlite(_) => Ok(()),
            Engine::Postgres(connection) => schema::migrate(connection),
        }
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

    /// Marks the place that [`undo_to_savepoint`](Self::undo_to_savepoint) goes back to.
    pub(super) fn savepoint(&self) -> Result<()> {
        match &self.0 {
            Engine::Sqlite(connection) => run_cached(connection, "SAVEPOINT job"),
            Engine::Postgres(connection) => {
                connection.begin_with_next("SAVEPOINT job");
                Ok(())
            }
        }
    }

    /// Forgets the savepoint, and keeps what was done since.
    pub(super) fn release_savepoint(&self) -> Result<()> {
        match &self.0 {
            Engine::Sqlite(connection) => run_cached(connection, "RELEASE SAVEPOINT job"),
            Engine::Postgres(connection) => connection.run("RELEASE SAVEPOINT job"),
        }
    }

    /// Undoes what was done since the savepoint, and forgets it.
    pub(super) fn undo_to_savepoint(&self) -> Result<()> {
        self.run("ROLLBACK TO SAVEPOINT job; RELEASE SAVEPOINT job")
    }

    /// Commits, and notes the last position that was given out if it has changed.
    pub(super) fn commit(&self, position: Option<i64>) -> Result<()> {
        match &self.0 {
            Engine::Sqlite(connection) => {
                if let Some(position) = position {
                    connection.prepare_cached("UPDATE hub SET position = ?1")?.execute([position])?;
                }
                run_cached(connection, "COMMIT")
            }
            Engine::Postgres(connection) => match position {
                Some(position) => connection.run(&format!("UPDATE hub SET position = {position}; COMMIT")),
                None => connection.run("COMMIT"),
            },
        }
    }

    /// From here on one moment of the database is read, and nothing can be changed, until [`end_reading`](Self::end_reading).
    pub(super) fn begin_reading(&self) -> Result<()> {
        match &self.0 {
            Engine::Sqlite(connection) => run_cached(connection, "BEGIN"),
            Engine::Postgres(connection) => {
                connection.begin_reading("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            }
        }
    }

    /// Ends what [`begin_reading`](Self::begin_reading) began. A server is not waited for.
    pub(super) fn end_reading(&self) -> Result<()> {
        match &self.0 {
            Engine::Sqlite(connection) => run_cached(connection, "ROLLBACK"),
            Engine::Postgres(connection) => {
                connection.end_unchanged();
                Ok(())
            }
        }
    }

    /// The rows of a statement that is not kept, because what it gives changes with what a cursor is of.
    pub(super) fn fetch<T>(&self, sql: &str, mut read: impl FnMut(&Row<'_>) -> Result<T>) -> Result<Vec<T>> {
        match &self.0 {
            Engine::Sqlite(connection) => {
                let mut statement = connection.prepare(sql)?;
                let (mut rows, mut found) = (statement.query(())?, Vec::new());
                while let Some(row) = rows.next()? {
                    found.push(read(&Row::Sqlite(row))?);
                }
                Ok(found)
            }
            Engine::Postgres(connection) => {
                connection.query_once(sql)?.iter().map(|row| read(&Row::Postgres(row))).collect()
            }
        }
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

    /// Whether nothing can be written where the file is, for want of room. A server says so itself.
    pub(super) fn has_no_room(&self) -> bool {
        match &self.0 {
            Engine::Sqlite(connection) => {
                let directory = connection.path().and_then(|path| Path::new(path).parent());
                directory.is_some_and(crate::files::has_no_room)
            }
            Engine::Postgres(_) => false,
        }
    }

    /// Whether this error at the beginning of a transaction means that a new connection is needed. A server that stops says so
    /// before it ends the connection.
    pub(super) fn has_ended(&self, error: &SqlError) -> bool {
        match (&self.0, error) {
            (Engine::Sqlite(_), _) => false,
            (Engine::Postgres(connection), SqlError::Postgres(error)) => {
                connection.is_closed() || postgres::is_gone(error)
            }
            (Engine::Postgres(connection), _) => connection.is_closed(),
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

/// Runs a statement that is run often.
fn run_cached(connection: &rusqlite::Connection, sql: &str) -> Result<()> {
    connection.prepare_cached(sql)?.execute(())?;
    Ok(())
}

/// A prepared statement.
pub(crate) struct Statement<'a>(Prepared<'a>);

enum Prepared<'a> {
    Sqlite(CachedStatement<'a>),
    Postgres(&'a postgres::Connection, ::tokio_postgres::Statement),
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

    /// For each of these parameters the first row, if there is one. A server is asked for all before it has answered the first.
    pub(crate) fn query_each<'p, T, const N: usize>(
        &mut self,
        all: impl IntoIterator<Item = [&'p dyn ToSql; N]>,
        mut read: impl FnMut(&Row<'_>) -> Result<T>,
    ) -> Result<Vec<Option<T>>> {
        match &mut self.0 {
            Prepared::Sqlite(statement) => all
                .into_iter()
                .map(|params| {
                    let mut rows = statement.query(params.as_slice())?;
                    rows.next()?.map(|row| read(&Row::Sqlite(row))).transpose()
                })
                .collect(),
            Prepared::Postgres(connection, statement) => {
                let answers = connection.query_each(statement, all)?;
                let first = |rows: &Vec<_>| rows.first().map(|row| read(&Row::Postgres(row))).transpose();
                answers.iter().map(first).collect()
            }
        }
    }

    /// Executes it with each of these parameters. A server is sent all before it is done with the first.
    pub(crate) fn execute_each<'p, P: AsRef<[&'p dyn ToSql]>>(
        &mut self,
        all: impl IntoIterator<Item = P>,
    ) -> Result<()> {
        match &mut self.0 {
            Prepared::Sqlite(statement) => {
                for params in all {
                    statement.execute(params.as_ref())?;
                }
                Ok(())
            }
            Prepared::Postgres(connection, statement) => connection.execute_each(statement, all),
        }
    }

    /// Whether there is a row.
    pub(crate) fn exists(&mut self, params: impl Params) -> Result<bool> {
        Ok(self.query_row(params, |_| Ok(())).optional()?.is_some())
    }
}

/// A row of a result.
pub(crate) enum Row<'a> {
    Sqlite(&'a rusqlite::Row<'a>),
    Postgres(&'a ::tokio_postgres::Row),
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
