//! What is stored stays readable: the schema in review, and a database of every released schema.

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use std::{fs, path::Path};
use support::{new_store, raw};
use tertulia_domain::ConversationId;
use tertulia_store::{KeySource, NewMessage, Setting, Store, StoreError};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

/// A copy of a stored home, since opening one may change it.
fn copy_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for entry in fs::read_dir(Path::new(FIXTURES).join(name)).expect("the fixture is in the tree") {
        let path = entry.expect("an entry").path();
        fs::copy(&path, dir.path().join(path.file_name().expect("a file"))).expect("copied");
    }
    dir
}

#[test]
fn a_home_of_schema_1_opens() {
    let home = copy_of("schema-1");
    let store = Store::open(home.path(), &KeySource::File).expect("it opens");
    let conversation = ConversationId::from_bytes([1; 16]);
    let (handle, cursor, group, messages) = store
        .read(|r| {
            Ok::<_, StoreError>((
                r.setting(Setting::Handle)?,
                r.cursor()?,
                r.group_state(b"group")?.map(|record| record.state),
                r.messages(conversation, None, None)?,
            ))
        })
        .expect("readable");
    assert_eq!(handle.as_deref(), Some("alice"));
    assert_eq!(cursor.as_deref(), Some("p42"));
    assert_eq!(group.expect("there").as_slice(), b"state");
    assert_eq!(messages.iter().map(|row| row.text.as_str()).collect::<Vec<_>>(), ["Shall we meet again?"]);
}

#[test]
fn an_old_home_has_the_schema_of_a_new_one_once_it_was_opened() {
    let schema = |home: &Path| {
        let connection = raw(home);
        let mut rows = connection.prepare("SELECT name, sql FROM sqlite_schema ORDER BY name").expect("SQL");
        let rows = rows.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?)));
        rows.expect("readable").collect::<Result<Vec<_>, _>>().expect("text")
    };
    let (new, _store) = new_store();
    for fixture in fs::read_dir(FIXTURES).expect("fixtures are in the tree") {
        let old = copy_of(fixture.expect("an entry").file_name().to_str().expect("ASCII"));
        drop(Store::open(old.path(), &KeySource::File).expect("it opens"));
        assert_eq!(schema(old.path()), schema(&new.path().join("home")));
    }
}

/// Writes the fixture of the current schema, to be kept when a version is released: set the variable to a directory.
#[tokio::test]
async fn a_home_can_be_written_as_a_fixture() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let home = std::env::var_os("TERTULIA_WRITE_FIXTURE").map_or_else(|| dir.path().join("home"), Into::into);
    let store = Store::create(&home, &KeySource::File).expect("a new store");
    let writer = store.lock().await.expect("free");
    store
        .write(&writer, |w| {
            w.put_setting(Setting::Handle, "alice")?;
            w.set_cursor("p42")?;
            w.put_group_state(b"group", 0, b"state")?;
            w.insert_message(&NewMessage {
                conversation: ConversationId::from_bytes([1; 16]),
                sequence: tertulia_domain::Sequence::new(3),
                sender: tertulia_domain::UserId::from_bytes([2; 16]),
                sender_device: tertulia_domain::DeviceId::new(5),
                sent_at: 1_700_000_000_000,
                message_id: [1; 32],
                content: b"content".to_vec(),
                text: Some("Shall we meet again?".to_owned()),
            })
        })
        .expect("writes");
    assert!(home.join("tertulia.db").exists());
}

#[test]
fn the_released_schema_does_not_change() {
    // A released schema is history; what changes goes into the next file.
    insta::assert_snapshot!(include_str!("../src/schema/1.sql"));
}
