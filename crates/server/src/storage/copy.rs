//! Copying what a hub keeps in a file into a PostgreSQL database: every table, row by row, and then a look at whether both have
//! the same.
//!
//! Nobody else uses the target meanwhile. While it is not finished, a table of its own in the target says so, and no hub uses it. As long as that is empty,
//! whatever is in the target is of no worth: a copy that is begun again begins from the beginning. Once everything is there and was
//! compared, it has a row with the time at which the copy was begun, and the file is put aside under that number. Then the table goes.

use super::{
    Connection, DatabaseUrl, SqlError, StorageError,
    sql::{Version, configure_file, migrate_file, version_of_file, version_of_server},
};
use rusqlite::{Connection as File, ToSql, types::Value};
use sha2::{Digest as _, Sha256};
use std::path::Path;

/// The tables, each after those that it refers to, and by what their rows are put into an order that both engines have.
pub(crate) const TABLES: [(&str, &str); 35] = [
    ("users", "id"),
    ("devices", "user_id, device"),
    ("sessions", "token_hash"),
    ("key_packages", "hash"),
    ("spent_key_packages", "hash"),
    ("connections", "user_id, other"),
    ("user_events", "position"),
    ("pairwise_devices", "user_id, device"),
    ("pairwise_keys", "user_id, device, id"),
    ("removed_devices", "user_id, device"),
    ("removed_sessions", "token_hash"),
    ("teams", "id"),
    // Subconversations refer to others.
    ("conversations", "sub_of IS NOT NULL, id"),
    ("members", "conversation, user_id, joined_position"),
    ("groups", "conversation"),
    ("leaves", "conversation, leaf_index"),
    ("proposals", "conversation, ref"),
    ("log", "position"),
    ("conversation_roles", "conversation, name"),
    ("pairwise_ciphertexts", "position, user_id, device"),
    ("sub_devices", "conversation, user_id, device, joined_position"),
    ("team_members", "user_id"),
    ("team_invitations", "code_hash"),
    ("team_roles", "team, name"),
    ("join_links", "conversation"),
    ("join_requests", "conversation, user_id"),
    ("removals_due", "conversation"),
    ("prepared_links", "conversation"),
    ("restores", "after"),
    ("groups_to_renew", "conversation"),
    ("moments", "position"),
    ("relay_log", "id"),
    ("relay_topics", "topic"),
    ("relay_envelopes", "topic, position"),
    ("hub", "id"),
];

/// Rows that are sent at once, in a transaction of their own.
const BATCH: usize = 500;

/// Bytes of rows that are sent at once, more or less: that many wait in memory.
const BATCH_BYTES: usize = 4 << 20;

/// Rows that are read back at once.
const READ_BACK: &str = "FETCH 500 FROM copied";

/// What a table came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Contents {
    rows: u64,
    digest: [u8; 32],
}

/// Why the target is not one.
pub(crate) enum Unfit {
    /// Something is in it.
    InUse,
    /// A schema is of a later version than this program knows: the file's, or else the target's.
    TooNew { is_file: bool, version: Version },
    /// A table has come to something else than in the source.
    Differs(&'static str),
    /// Storage failed.
    Storage(StorageError),
}

impl From<StorageError> for Unfit {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<rusqlite::Error> for Unfit {
    fn from(error: rusqlite::Error) -> Self {
        Self::Storage(error.into())
    }
}

impl From<SqlError> for Unfit {
    fn from(error: SqlError) -> Self {
        Self::Storage(error.into())
    }
}

/// How far a copy has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CopyProgress {
    /// The table that is copied.
    pub table: &'static str,
    /// Rows of it that are there.
    pub table_rows: u64,
    /// Whether these are all.
    pub is_table_done: bool,
    /// Rows of all tables that are there.
    pub rows: u64,
    /// How many there will be.
    pub all_rows: u64,
}

/// The database that is copied into. Nobody else uses it, or can, as long as this is there.
pub(crate) struct Target(Connection);

impl Target {
    /// Takes the database: [`StorageError::InUse`] if a hub runs on it, or another copy goes into it.
    pub(crate) fn take(to: &DatabaseUrl) -> Result<Self, StorageError> {
        Connection::postgres_alone(to).map(Self)
    }

    /// Copies everything, with the hub's key, which a file does not have in it, and notes in the target which copy it has: the one that
    /// was `begun` at this time. `told` hears of each batch of rows that is there, and of each table's end.
    ///
    /// The target is of use once this copy is [finished](Self::finish).
    pub(crate) fn copy(
        &self,
        from: &Path,
        key: &[u8],
        begun: i64,
        mut told: impl FnMut(CopyProgress),
    ) -> Result<(), Unfit> {
        let mut source = File::open(from)?;
        configure_file(&source)?;
        // Whatever is wrong is said before either is changed.
        check_version(true, version_of_file(&source)?)?;
        let was_begun = check_target(&self.0)?;
        migrate_file(&mut source)?;
        source.execute_batch("BEGIN")?;
        let mut all_rows = 0;
        for (table, _) in TABLES {
            let count = format!("SELECT count(*) FROM {table}");
            all_rows += source.query_row(&count, (), |row| row.get::<_, i64>(0))?.cast_unsigned();
        }
        prepare(&self.0, was_begun)?;
        let mut sums = Vec::with_capacity(TABLES.len());
        let mut before = 0;
        for (table, order) in TABLES {
            let columns = columns(&source, table)?;
            let sum =
                copy_table(&source, &self.0, (table, order, &columns), key, |table_rows, is_table_done| {
                    told(CopyProgress {
                        table,
                        table_rows,
                        is_table_done,
                        rows: before + table_rows,
                        all_rows,
                    });
                })?;
            before += sum.rows;
            sums.push((table, order, columns, sum));
        }
        for (table, order, columns, sum) in &sums {
            if look_at(&self.0, (table, order, columns))? != *sum {
                return Err(Unfit::Differs(table));
            }
        }
        self.0.prepare_cached("INSERT INTO copy_unfinished (begun) VALUES (?1)")?.execute([begun])?;
        Ok(())
    }

    /// Which copy the target has everything of, though it is not finished: when it was begun.
    pub(crate) fn compared(&self) -> Result<Option<i64>, StorageError> {
        if !is_unfinished(&self.0)? {
            return Ok(None);
        }
        Ok(self
            .0
            .prepare_cached("SELECT max(begun) FROM copy_unfinished")?
            .query_row((), |row| row.get(0))?)
    }

    /// Lets hubs use the target, which has everything: what it was copied from is put aside. How many rows it has.
    pub(crate) fn finish(self) -> Result<u64, StorageError> {
        let mut rows = 0;
        for (table, _) in TABLES {
            let count = format!("SELECT count(*) FROM {table}");
            rows += self.0.prepare_cached(&count)?.query_row((), |row| row.get::<i64>(0))?.cast_unsigned();
        }
        self.0.run("DROP TABLE copy_unfinished")?;
        Ok(rows)
    }
}

/// Whether a copy into this database was begun and not finished.
pub(super) fn is_unfinished(connection: &Connection) -> Result<bool, StorageError> {
    let sql = "SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = 'copy_unfinished'";
    Ok(connection.is_remote() && connection.prepare_cached(sql)?.exists(())?)
}

const fn check_version(is_file: bool, version: Version) -> Result<(), Unfit> {
    if version.is_too_new() { Err(Unfit::TooNew { is_file, version }) } else { Ok(()) }
}

/// The target is empty, or has a copy in it that was begun and that this program can begin anew. Says whether it has.
fn check_target(target: &Connection) -> Result<bool, Unfit> {
    if is_unfinished(target)? {
        check_version(false, version_of_server(target)?)?;
        return Ok(true);
    }
    let tables = "SELECT 1 FROM pg_tables WHERE schemaname = current_schema()";
    if target.prepare_cached(tables)?.exists(())? { Err(Unfit::InUse) } else { Ok(false) }
}

/// Brings the target to empty tables and the note that it is not finished.
fn prepare(target: &Connection, was_begun: bool) -> Result<(), StorageError> {
    target.run(if was_begun {
        "DELETE FROM copy_unfinished"
    } else {
        "CREATE TABLE copy_unfinished (begun BIGINT)"
    })?;
    target.migrate_server()?;
    let tables: Vec<&str> = TABLES.iter().map(|(table, _)| *table).collect();
    Ok(target.run(&format!("TRUNCATE {}", tables.join(", ")))?)
}

fn columns(source: &File, table: &str) -> Result<Vec<String>, StorageError> {
    let mut statement = source.prepare("SELECT name FROM pragma_table_info(?1) ORDER BY cid")?;
    let names = statement.query_map([table], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(names)
}

fn copy_table(
    source: &File,
    target: &Connection,
    (table, order, columns): (&str, &str, &[String]),
    key: &[u8],
    mut told: impl FnMut(u64, bool),
) -> Result<Contents, StorageError> {
    let mut names = columns.to_vec();
    let mut statement =
        source.prepare(&format!("SELECT {} FROM {table} ORDER BY {order}", names.join(", ")))?;
    let width = names.len();
    if table == "hub" {
        names.push("key".to_owned());
    }
    let places: Vec<String> = (1..=names.len()).map(|number| format!("?{number}")).collect();
    let insert = format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), places.join(", "));
    let mut found = statement.query(())?;
    let (mut rows, mut sum) = (0_u64, Sha256::new());
    let (mut batch, mut bytes) = (Vec::<Vec<Value>>::with_capacity(BATCH), 0);
    while let Some(row) = found.next()? {
        let mut values =
            (0..width).map(|column| row.get(column)).collect::<rusqlite::Result<Vec<Value>>>()?;
        for value in &values {
            add(&mut sum, value);
            bytes += size(value);
        }
        if table == "hub" {
            values.push(Value::Blob(key.to_vec()));
        }
        batch.push(values);
        rows += 1;
        if batch.len() == BATCH || bytes >= BATCH_BYTES {
            send(target, &insert, &batch)?;
            batch.clear();
            bytes = 0;
            told(rows, false);
        }
    }
    send(target, &insert, &batch)?;
    told(rows, true);
    Ok(Contents { rows, digest: sum.finalize().into() })
}

/// Sends rows to the target, all before it is done with the first.
fn send(target: &Connection, insert: &str, rows: &[Vec<Value>]) -> Result<(), StorageError> {
    if rows.is_empty() {
        return Ok(());
    }
    let params = rows.iter().map(|row| row.iter().map(|value| value as &dyn ToSql).collect::<Vec<_>>());
    target.run("BEGIN")?;
    target.prepare_cached(insert)?.execute_each(params)?;
    Ok(target.run("COMMIT")?)
}

/// How many bytes a value takes, more or less.
const fn size(value: &Value) -> usize {
    match value {
        Value::Null | Value::Integer(_) | Value::Real(_) => size_of::<Value>(),
        Value::Text(text) => text.len(),
        Value::Blob(bytes) => bytes.len(),
    }
}

/// What a table in the target has come to.
fn look_at(
    target: &Connection,
    (table, order, columns): (&str, &str, &[String]),
) -> Result<Contents, StorageError> {
    target.run(&format!(
        "BEGIN; DECLARE copied NO SCROLL CURSOR FOR SELECT {} FROM {table} ORDER BY {order}",
        columns.join(", ")
    ))?;
    let (mut rows, mut sum) = (0, Sha256::new());
    loop {
        // Not kept: what it gives has the columns of this table.
        let page = target.fetch(READ_BACK, |row| {
            (0..columns.len()).map(|column| row.get(column)).collect::<Result<Vec<Value>, _>>()
        })?;
        if page.is_empty() {
            break;
        }
        rows += page.len() as u64;
        page.iter().flatten().for_each(|value| add(&mut sum, value));
    }
    target.run("COMMIT")?;
    Ok(Contents { rows, digest: sum.finalize().into() })
}

/// A value with its kind and length, so that no two rows come to the same.
fn add(sum: &mut Sha256, value: &Value) {
    let (kind, bytes): (u8, &[u8]) = match value {
        Value::Null => (0, &[]),
        Value::Integer(number) => {
            sum.update([1]);
            return sum.update(number.to_be_bytes());
        }
        Value::Real(number) => {
            sum.update([2]);
            return sum.update(number.to_be_bytes());
        }
        Value::Text(text) => (3, text.as_bytes()),
        Value::Blob(bytes) => (4, bytes),
    };
    sum.update([kind]);
    sum.update((bytes.len() as u64).to_be_bytes());
    sum.update(bytes);
}
