//! The hub's database, behind the hub's back: a file, or a database on the PostgreSQL server that the tests were given.

use postgres::{
    Client, NoTls,
    types::{ToSql, Type},
};
use rusqlite::types::Value;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::mpsc,
    thread,
};
use tertulia_testkit::postgres::{SERVER, Server};

/// Where the database is.
#[derive(Clone)]
pub enum Stored {
    File(PathBuf),
    Postgres(String),
}

/// Whether the tests run with PostgreSQL.
pub fn on_postgres() -> bool {
    std::env::var_os(SERVER).is_some()
}

impl Stored {
    /// Of the hub with this data directory, where a note of the database is left for the next hub.
    pub fn of(dir: &Path) -> Self {
        if !on_postgres() {
            return Self::File(dir.join("hub.db"));
        }
        let note = dir.join("database-of-test");
        if let Ok(url) = std::fs::read_to_string(&note) {
            return Self::Postgres(url);
        }
        // The client has a runtime of its own.
        let create = || Server::for_tests().unwrap().create_database().unwrap().url().to_owned();
        let url = thread::scope(|scope| scope.spawn(create).join().unwrap());
        std::fs::write(note, &url).unwrap();
        Self::Postgres(url)
    }

    /// Runs a statement with parameters `?1`, `?2`, …
    pub fn execute(&self, sql: &str, values: impl Values) {
        let values = values.values();
        match self {
            Self::File(path) => {
                let database = rusqlite::Connection::open(path).unwrap();
                database.execute(sql, rusqlite::params_from_iter(values)).unwrap();
            }
            Self::Postgres(url) => postgres(url, |client| {
                let (sql, values) = prepared(client, sql, &values);
                let values: Vec<_> = values.iter().map(|value| value.as_ref()).collect();
                client.execute(&sql, &values).unwrap();
            }),
        }
    }

    /// Runs several statements.
    pub fn batch(&self, sql: &str) {
        match self {
            Self::File(path) => rusqlite::Connection::open(path).unwrap().execute_batch(sql).unwrap(),
            Self::Postgres(url) => postgres(url, |client| client.batch_execute(sql).unwrap()),
        }
    }

    /// The number that a query without parameters gives.
    pub fn number(&self, sql: &str) -> i64 {
        match self {
            Self::File(path) => {
                rusqlite::Connection::open(path).unwrap().query_row(sql, (), |row| row.get(0)).unwrap()
            }
            Self::Postgres(url) => postgres(url, |client| client.query_one(sql, &[]).unwrap().get(0)),
        }
    }

    /// The text that a query without parameters gives.
    pub fn text(&self, sql: &str) -> String {
        match self {
            Self::File(path) => {
                rusqlite::Connection::open(path).unwrap().query_row(sql, (), |row| row.get(0)).unwrap()
            }
            Self::Postgres(url) => postgres(url, |client| client.query_one(sql, &[]).unwrap().get(0)),
        }
    }

    /// The texts that a query without parameters gives, in order.
    pub fn texts(&self, sql: &str) -> Vec<String> {
        let mut texts: Vec<String> = match self {
            Self::File(path) => {
                let database = rusqlite::Connection::open(path).unwrap();
                let mut statement = database.prepare(sql).unwrap();
                let texts = statement.query_map((), |row| row.get(0)).unwrap();
                texts.collect::<Result<_, _>>().unwrap()
            }
            Self::Postgres(url) => {
                postgres(url, |client| client.query(sql, &[]).unwrap().iter().map(|row| row.get(0)).collect())
            }
        };
        texts.sort();
        texts
    }

    /// Lets nobody else write until the answer is dropped.
    pub fn hold(&self) -> Held {
        let (release, released) = mpsc::channel::<()>();
        let (begun, begins) = mpsc::channel();
        let stored = self.clone();
        let holding = thread::spawn(move || match stored {
            Self::File(path) => {
                let database = rusqlite::Connection::open(path).unwrap();
                database.execute_batch("BEGIN IMMEDIATE").unwrap();
                begun.send(()).unwrap();
                let _ = released.recv();
            }
            Self::Postgres(url) => {
                let mut client = Client::connect(&url, NoTls).unwrap();
                client.batch_execute("BEGIN; LOCK TABLE hub").unwrap();
                begun.send(()).unwrap();
                let _ = released.recv();
            }
        });
        begins.recv().unwrap();
        Held { release: Some(release), holding: Some(holding) }
    }

    /// How many rows each table has.
    pub fn rows(&self) -> BTreeMap<String, i64> {
        match self {
            Self::File(path) => {
                let database = rusqlite::Connection::open(path).unwrap();
                let tables = "SELECT name FROM sqlite_schema WHERE type = 'table'";
                let mut tables = database.prepare(tables).unwrap();
                let names = tables.query_map((), |row| row.get::<_, String>(0)).unwrap();
                let count = |name: &str| {
                    database.query_row(&format!("SELECT count(*) FROM {name}"), (), |row| row.get(0)).unwrap()
                };
                names.map(Result::unwrap).map(|name| (name.clone(), count(&name))).collect()
            }
            Self::Postgres(url) => postgres(url, |client| {
                let tables = "SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'";
                let names: Vec<String> =
                    client.query(tables, &[]).unwrap().iter().map(|row| row.get(0)).collect();
                let mut count = |name: &str| {
                    client.query_one(&format!("SELECT count(*) FROM {name}"), &[]).unwrap().get(0)
                };
                names.iter().map(|name| (name.clone(), count(name))).collect()
            }),
        }
    }
}

/// While it is there, nobody else writes.
pub struct Held {
    release: Option<mpsc::Sender<()>>,
    holding: Option<thread::JoinHandle<()>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.release = None;
        if let Some(holding) = self.holding.take() {
            holding.join().unwrap();
        }
    }
}

fn postgres<T: Send>(url: &str, work: impl FnOnce(&mut Client) -> T + Send) -> T {
    let run = || work(&mut Client::connect(url, NoTls).unwrap());
    thread::scope(|scope| scope.spawn(run).join().unwrap())
}

fn prepared(
    client: &mut Client,
    sql: &str,
    values: &[Value],
) -> (postgres::Statement, Vec<Box<dyn ToSql + Sync>>) {
    let statement = client.prepare(&sql.replace('?', "$")).unwrap();
    let values = values.iter().zip(statement.params()).map(|(value, kind)| -> Box<dyn ToSql + Sync> {
        match value.clone() {
            Value::Integer(number) if *kind == Type::BOOL => Box::new(number != 0),
            Value::Integer(number) => Box::new(number),
            Value::Text(text) => Box::new(text),
            Value::Blob(bytes) => Box::new(bytes),
            other => panic!("no test has {other:?}"),
        }
    });
    let values = values.collect();
    (statement, values)
}

/// Values of parameters.
pub trait Values {
    fn values(self) -> Vec<Value>;
}

/// A value of a parameter.
pub trait AsValue {
    fn value(&self) -> Value;
}

impl AsValue for i64 {
    fn value(&self) -> Value {
        Value::Integer(*self)
    }
}

impl AsValue for &[u8; 16] {
    fn value(&self) -> Value {
        Value::Blob(self.to_vec())
    }
}

impl AsValue for Vec<u8> {
    fn value(&self) -> Value {
        Value::Blob(self.clone())
    }
}

impl AsValue for &str {
    fn value(&self) -> Value {
        Value::Text((*self).to_owned())
    }
}

impl AsValue for &String {
    fn value(&self) -> Value {
        Value::Text((*self).clone())
    }
}

impl Values for () {
    fn values(self) -> Vec<Value> {
        Vec::new()
    }
}

impl<A: AsValue> Values for [A; 1] {
    fn values(self) -> Vec<Value> {
        self.iter().map(AsValue::value).collect()
    }
}

impl<A: AsValue, B: AsValue> Values for (A, B) {
    fn values(self) -> Vec<Value> {
        vec![self.0.value(), self.1.value()]
    }
}

impl<A: AsValue, B: AsValue, C: AsValue> Values for (A, B, C) {
    fn values(self) -> Vec<Value> {
        vec![self.0.value(), self.1.value(), self.2.value()]
    }
}
