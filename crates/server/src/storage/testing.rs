//! What the tests of the storage begin with.
#![allow(clippy::unwrap_used)]

use super::{Batch, Connection, Location, Opened, READERS, Storage, WriteTx};
use crate::{bus::Bus, hub_key, wake::Wake};
use std::{env, path::Path, sync::mpsc, thread};
use tertulia_domain::Domain;
use tertulia_testkit::postgres::{SERVER, Server};
use tokio::sync::oneshot;

/// A new database: in this directory or, if the tests run with PostgreSQL, on the server that they were given.
pub(crate) fn location(dir: &Path) -> Location {
    if env::var_os(SERVER).is_none() {
        return Location::File { path: dir.join("hub.db"), max_bytes: None };
    }
    let url = aside(|| Server::for_tests().unwrap().create_database().unwrap().url().parse().unwrap());
    Location::Postgres { url, fresh_key: hub_key::generate().unwrap() }
}

/// Opens the database as the hub does.
pub(crate) fn open(location: &Location, wake: Wake, committed: impl Fn(Batch) + Send + 'static) -> Storage {
    let Opened { storage, .. } =
        aside(|| Storage::open(location, &Domain::localhost(), Bus::local(wake), committed)).unwrap();
    storage
}

/// Holds the writer until the answer is dropped, so that jobs pile up behind it.
pub(crate) async fn hold(storage: &Storage) -> mpsc::Sender<()> {
    let (release, held) = mpsc::channel::<()>();
    let (started, starts) = oneshot::channel();
    let storage = storage.clone();
    tokio::spawn(async move {
        let work = move |_: &WriteTx<'_>| {
            let _ = started.send(());
            let _ = held.recv();
            Ok(())
        };
        storage.write(work).await
    });
    starts.await.unwrap();
    release
}

/// Lets nobody else read until the answer is dropped.
pub(crate) async fn hold_readers(storage: &Storage) -> Vec<mpsc::Sender<()>> {
    let mut held = Vec::new();
    for _ in 0..READERS {
        let (release, released) = mpsc::channel::<()>();
        let (started, starts) = oneshot::channel();
        let storage = storage.clone();
        tokio::spawn(async move {
            let work = move |_: &Connection| {
                let _ = started.send(());
                let _ = released.recv();
                Ok(())
            };
            storage.read(work).await
        });
        starts.await.unwrap();
        held.push(release);
    }
    held
}

/// On a thread of its own, for the client of PostgreSQL has a runtime of its own.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|scope| scope.spawn(work).join().unwrap())
}
