#![allow(clippy::unwrap_used)]

use super::{DELETED_AT_ONCE, LOOKED_AT_ONCE, Position, delete_some, end, end_all, next_read};
use crate::{
    storage::{
        Connection, Sql, Storage, WriteTx, conversations,
        log::{self, Entry, Kind},
        sql::params,
        testing,
    },
    wake::Wake,
};
use tempfile::TempDir;
use tertulia_domain::{ConversationId, RoleName, UserId};

/// Entries of each log.
const ENTRIES: usize = 10;

fn open() -> (Storage, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    (testing::open(&testing::location(dir.path()), Wake::default(), |_| ()), dir)
}

/// A user with a device that has acknowledged everything up to this position.
fn user(tx: &WriteTx<'_>, number: u8, acknowledged: Position) -> UserId {
    let user = UserId::from_bytes([number; 16]);
    tx.prepare_cached("INSERT INTO users (id, handle, password, created_at) VALUES (?1, ?2, '', 0)")
        .unwrap()
        .execute(params![Sql(user), format!("user-{number}")])
        .unwrap();
    tx.prepare_cached(
        "INSERT INTO devices (user_id, device, label, signature_key, created_at, registered, acknowledged)
         VALUES (?1, 1, '', ?1, 0, 0, ?2)",
    )
    .unwrap()
    .execute(params![Sql(user), acknowledged])
    .unwrap();
    user
}

/// So many conversations with something in their logs, in which this user was.
fn conversations(tx: &WriteTx<'_>, count: usize, user: UserId) -> Vec<ConversationId> {
    let ids: Vec<ConversationId> = (0..count).map(|_| ConversationId::random()).collect();
    let entry = Entry { body: Some(b"said"), ..Entry::default() };
    for &id in &ids {
        conversations::create_one_to_one(tx, id, user, 0).unwrap();
        conversations::join(tx, id, user, &RoleName::MEMBER, 0).unwrap();
        log::append_all(tx, &[(id, Kind::Message, &entry); ENTRIES]).unwrap();
        conversations::leave_silently(tx, id, user).unwrap();
    }
    ids
}

/// As if they had ended at this time, and nothing had been looked at since.
fn set_ended(tx: &WriteTx<'_>, ids: &[ConversationId], at: i64) {
    for &id in ids {
        tx.prepare_cached("UPDATE conversations SET ended_at = ?2 WHERE id = ?1")
            .unwrap()
            .execute(params![Sql(id), at])
            .unwrap();
    }
}

fn number(db: &Connection, sql: &str) -> usize {
    let number: i64 = db.prepare_cached(sql).unwrap().query_row((), |row| row.get(0)).unwrap();
    number.try_into().unwrap()
}

fn entries(db: &Connection) -> usize {
    number(db, "SELECT count(*) FROM log")
}

fn ended(db: &Connection) -> usize {
    number(db, "SELECT count(*) FROM conversations WHERE ended_at IS NOT NULL")
}

#[tokio::test]
async fn who_ends_a_conversation_does_nothing_about_those_that_have_ended_before() {
    let (storage, _dir) = open();
    let work = |tx: &WriteTx<'_>| {
        let (reader, behind) = (user(tx, 1, Position::MAX), user(tx, 2, 0));
        // Some that could go, more than are looked at in one step, and some that nobody has read.
        let read = conversations(tx, LOOKED_AT_ONCE + 44, reader);
        let awaited = conversations(tx, 20, behind);
        set_ended(tx, &read, 1);
        set_ended(tx, &awaited, 1);
        let before = (ended(tx), entries(tx));

        let [one, another] = conversations(tx, 2, reader)[..] else { panic!("two were made") };
        end(tx, one, 2)?;
        assert!(!conversations::exists(tx, one)?, "everybody has read it");
        end_all(tx, vec![another], 2)?;
        assert_eq!((ended(tx), entries(tx)), before, "the others stay as they are");
        let [late] = conversations(tx, 1, behind)[..] else { panic!("one was made") };
        end(tx, late, 2)?;
        assert_eq!((ended(tx), entries(tx)), (before.0 + 1, before.1 + ENTRIES), "it is awaited");
        Ok(())
    };
    storage.write(work).await.unwrap();
}

#[tokio::test]
async fn however_many_have_ended_they_go_in_steps_and_those_that_are_awaited_stay() {
    let (storage, _dir) = open();
    let work = |tx: &WriteTx<'_>| {
        let (reader, behind) = (user(tx, 1, Position::MAX), user(tx, 2, 0));
        // Of the same time and of others, the awaited ones in between.
        let mut awaited = Vec::new();
        for at in [5, 5, 7] {
            let read = conversations(tx, 120, reader);
            set_ended(tx, &read, at);
            let some = conversations(tx, 40, behind);
            set_ended(tx, &some, at);
            awaited.extend(some);
        }
        let (mut after, mut pages, mut steps, mut gone) = (None, 0, 0, 0);
        loop {
            let (mut read, last) = next_read(tx, after)?;
            assert!(read.len() <= LOOKED_AT_ONCE);
            pages += 1;
            while !read.is_empty() {
                let before = entries(tx);
                let step = delete_some(tx, read)?;
                assert!(before - entries(tx) <= DELETED_AT_ONCE);
                gone += step.conversations;
                read = step.left;
                steps += 1;
            }
            after = last;
            if after.is_none() {
                break;
            }
        }
        assert_eq!((pages, gone), (2, 360));
        assert!(steps >= 3, "{steps} steps");
        assert_eq!((ended(tx), entries(tx)), (awaited.len(), awaited.len() * ENTRIES));
        for id in awaited {
            assert!(conversations::exists(tx, id)?);
        }
        Ok(())
    };
    storage.write(work).await.unwrap();
}

#[tokio::test]
async fn of_many_that_end_together_as_much_goes_at_once_as_of_one() {
    let (storage, _dir) = open();
    let work = |tx: &WriteTx<'_>| {
        let reader = user(tx, 1, Position::MAX);
        let all = conversations(tx, 250, reader);
        let before = entries(tx);
        end_all(tx, all, 1)?;
        assert!((1..=DELETED_AT_ONCE).contains(&(before - entries(tx))));
        // The rest has ended all the same.
        assert!(ended(tx) > 0);
        assert_eq!(ended(tx), number(tx, "SELECT count(*) FROM conversations"));
        Ok(())
    };
    storage.write(work).await.unwrap();
}
