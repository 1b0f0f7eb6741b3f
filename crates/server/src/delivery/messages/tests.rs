//! Messages that wait for the writer together.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::{
    storage::{Connection, Sql, Storage, sql::params, testing},
    wake::Wake,
};
use futures::future::join_all;
use tempfile::TempDir;
use tertulia_domain::{AccountKind, ConversationType, DeviceId, Handshake, Protocol, RoleName};

/// A group with two people in it.
struct Fixture {
    storage: Storage,
    conversation: ConversationId,
    group_id: Vec<u8>,
    _dir: TempDir,
}

const ALICE: u8 = 1;
const BOB: u8 = 2;
/// Has an account, and is not in the group.
const EVE: u8 = 3;

fn device(person: u8) -> UserDevice {
    UserDevice { user: UserId::from_bytes([person; 16]), device: DeviceId::new(person.into()) }
}

const fn token(person: u8) -> TokenHash {
    [person; 32]
}

fn sign_up(tx: &WriteTx<'_>, person: u8) -> Result<(), ApiError> {
    let UserDevice { user, device } = device(person);
    let handle = format!("person-{person}").parse().unwrap();
    accounts::create(tx, user, (&handle, AccountKind::Person), "", 0)?;
    tx.prepare_cached(
        "INSERT INTO devices (user_id, device, label, signature_key, created_at, registered, acknowledged)
         VALUES (?1, ?2, '', ?1, 0, 0, 0)",
    )?
    .execute(params![Sql(user), Sql(device)])?;
    accounts::open_session(tx, &token(person), user, 0)?;
    tx.prepare_cached("UPDATE sessions SET device = ?2 WHERE token_hash = ?1")?
        .execute(params![token(person), Sql(device)])?;
    Ok(())
}

async fn open() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let storage = testing::open(&testing::location(dir.path()), Wake::default(), |_| ());
    let conversation = ConversationId::random();
    let begun = storage.write(move |tx| {
        for person in [ALICE, BOB, EVE] {
            sign_up(tx, person)?;
        }
        let how = (ConversationType::Group, Protocol::Mls, Handshake::default());
        conversations::create_managed(tx, conversation, how, device(ALICE).user, None, 0)?;
        conversations::join(tx, conversation, device(BOB).user, &RoleName::MEMBER, 0)?;
        tx.prepare_cached("UPDATE conversations SET epoch = 1 WHERE id = ?1")?
            .execute([Sql(conversation)])?;
        for (leaf, person) in [(0, ALICE), (1, BOB)] {
            groups::insert_leaf(tx, conversation, leaf, device(person))?;
        }
        Ok(groups::current(tx, conversation)?.0)
    });
    let group_id = begun.await.unwrap();
    Fixture { storage, conversation, group_id, _dir: dir }
}

impl Fixture {
    fn message(&self, person: u8, body: &'static [u8], most: Option<u64>) -> Sent {
        Sent {
            conversation: self.conversation,
            sender: device(person),
            token: token(person),
            kind: Kind::Message,
            message: ApplicationMessage { group_id: self.group_id.clone(), epoch: 1 },
            body: bytes::Bytes::from_static(body),
            digest: Digest::of(Kind::Message, body),
            most,
            now: 7,
        }
    }

    /// Sends messages that are all waiting when the writer comes to them.
    async fn together(&self, all: Vec<Sent>) -> Vec<Result<MessageAccepted, ApiError>> {
        let release = testing::hold(&self.storage).await;
        let mut waiting: Vec<_> =
            all.into_iter().map(|sent| Box::pin(self.storage.write_together(sent))).collect();
        for sent in &mut waiting {
            assert!(futures::poll!(sent.as_mut()).is_pending());
        }
        drop(release);
        join_all(waiting).await
    }

    /// The messages of the log, with their sequence.
    async fn log(&self) -> Vec<(i64, Vec<u8>)> {
        let conversation = self.conversation;
        let read = move |db: &Connection| {
            let mut statement = db.prepare_cached(
                "SELECT sequence, body FROM log WHERE conversation = ?1 AND kind = 'message' ORDER BY position",
            )?;
            let found = statement.query_map([Sql(conversation)], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok(found.collect::<Result<_, _>>()?)
        };
        self.storage.read(read).await.unwrap()
    }

    async fn stored(&self, person: u8) -> i64 {
        let user = device(person).user;
        self.storage.read(move |db| Ok(quotas::stored(db, [user])?[&user])).await.unwrap()
    }
}

#[track_caller]
fn refused(answer: &Result<MessageAccepted, ApiError>, code: Code) {
    match answer {
        Err(ApiError::Refused(problem)) => assert_eq!(problem.code, code.as_str()),
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn the_same_bytes_twice_at_once_are_one_entry_and_the_same_answer() {
    let at = open().await;
    let twice = || at.message(ALICE, b"once", Some(4));
    let answers = at.together(vec![twice(), at.message(BOB, b"another", None), twice()]).await;
    let [first, other, again] = &answers[..] else { panic!("three answers") };
    let (first, other, again) = (first.as_ref().unwrap(), other.as_ref().unwrap(), again.as_ref().unwrap());
    assert_eq!(first, again);
    assert_eq!(other.sequence, first.sequence + 1);
    let entry = |accepted: &MessageAccepted, body: &[u8]| (accepted.sequence.cast_signed(), body.to_vec());
    assert_eq!(at.log().await, [entry(first, b"once"), entry(other, b"another")]);
    assert_eq!(at.stored(ALICE).await, 4, "it is counted once");
    // And once more, alone.
    assert_eq!(&at.storage.write_together(twice()).await.unwrap(), first);
    assert_eq!(at.log().await.len(), 2);
}

#[tokio::test]
async fn one_that_is_refused_takes_no_place_among_those_that_are_accepted() {
    let at = open().await;
    let answers = at.together(vec![
        at.message(ALICE, b"12345", Some(10)),
        at.message(EVE, b"from outside", Some(10)),
        at.message(ALICE, b"123456", Some(10)), // together with the first too much
        at.message(BOB, b"1234567", Some(10)),
        at.message(ALICE, b"54321", Some(10)),
        at.message(ALICE, b"!", Some(10)),
    ]);
    let answers = answers.await;
    refused(&answers[1], Code::NoConversation);
    refused(&answers[2], Code::QuotaExceeded);
    refused(&answers[5], Code::QuotaExceeded);
    let taken: Vec<i64> =
        [0, 3, 4].map(|at: usize| answers[at].as_ref().unwrap().sequence.cast_signed()).to_vec();
    assert_eq!(taken, [taken[0], taken[0] + 1, taken[0] + 2]);
    let bodies = [b"12345".to_vec(), b"1234567".to_vec(), b"54321".to_vec()];
    assert_eq!(at.log().await, taken.into_iter().zip(bodies).collect::<Vec<_>>());
    assert_eq!([at.stored(ALICE).await, at.stored(BOB).await, at.stored(EVE).await], [10, 7, 0]);
}

#[tokio::test]
async fn a_session_that_ends_after_it_was_looked_up_sends_nothing() {
    let at = open().await;
    let release = testing::hold(&at.storage).await;
    // Both wait for the same transaction, and the end comes first in it.
    let mut end =
        Box::pin(at.storage.write(|tx| accounts::close_session(tx, &token(ALICE), device(ALICE).user)));
    let mut ended = Box::pin(at.storage.write_together(at.message(ALICE, b"too late", None)));
    let mut open = Box::pin(at.storage.write_together(at.message(BOB, b"in time", None)));
    assert!(futures::poll!(end.as_mut()).is_pending());
    assert!(futures::poll!(ended.as_mut()).is_pending());
    assert!(futures::poll!(open.as_mut()).is_pending());
    drop(release);
    end.await.unwrap();
    refused(&ended.await, Code::Unauthenticated);
    let sequence = open.await.unwrap().sequence.cast_signed();
    assert_eq!(at.log().await, [(sequence, b"in time".to_vec())]);
}

#[tokio::test]
async fn a_token_that_takes_anothers_place_sends_and_one_that_is_void_does_not() {
    let at = open().await;
    let next = token(9);
    let give = |tx: &WriteTx<'_>| accounts::give_next_token(tx, &token(ALICE), &token(9));
    at.storage.write(give).await.unwrap();
    // As long as its first use could not be noted, both are good.
    let with_next = |body| Sent { token: next, ..at.message(ALICE, body, None) };
    let both = at.together(vec![with_next(b"new"), at.message(ALICE, b"old", None)]).await;
    assert!(both.iter().all(Result::is_ok), "{both:?}");
    at.storage.write(move |tx| accounts::take_next_token(tx, &next, device(ALICE).user, 8)).await.unwrap();
    let both = at.together(vec![with_next(b"new again"), at.message(ALICE, b"void", None)]).await;
    assert!(both[0].is_ok(), "{both:?}");
    refused(&both[1], Code::Unauthenticated);
    // Nobody sends as another device than the session's.
    let as_bob = Sent { token: next, ..at.message(BOB, b"as bob", None) };
    refused(&at.storage.write_together(as_bob).await, Code::NoDevice);
    assert_eq!(at.log().await.len(), 3);
}
