//! What is stored stays readable: the schema in review, and a database of every released schema.

#[allow(dead_code, reason = "each file of scenarios needs a part of it")]
mod support;

use std::{fs, path::Path};
use support::{copy_home, new_store, raw};
use tertulia_domain::{
    ConversationId, ConversationType, DeviceAddress, DeviceId, Handle, OwnSetting, Protocol, ReceiptStatus,
    RoleName, Sequence, UserId,
};
use tertulia_store::{
    ConnectionRecord, ConversationRecord, ConversationSettings, CredentialRecord, Expiry, GroupStateRecord,
    JoinRecord, JournalEntry, KeyPackageRecord, KeySource, MemberRecord, NewMessage, NewOutboxMessage,
    OutboxKind, PairwiseAccountRecord, PairwisePeerRecord, PairwiseSessionRecord, ReadTx, ReceiptRow,
    RecordKey, Setting, Store, StoreError,
};
use zeroize::Zeroizing;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

const CONVERSATION: ConversationId = ConversationId::from_bytes([1; 16]);
const USER: UserId = UserId::from_bytes([2; 16]);
const OTHER: UserId = UserId::from_bytes([3; 16]);

/// A copy of a stored home, since opening one changes it.
fn copy_of(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a temporary directory");
    copy_home(&Path::new(FIXTURES).join(name), dir.path());
    dir
}

#[test]
fn a_home_of_schema_1_is_read_completely() {
    let home = copy_of("schema-1");
    let store = Store::open(home.path(), &KeySource::File).expect("it opens");
    assert_eq!(store.incarnation(), 0, "it could not know before which file it is");
    store
        .read(|r| {
            assert_eq!(r.setting(Setting::Handle)?.as_deref(), Some("alice"));
            assert_eq!(r.cursor()?.as_deref(), Some("p42"));
            assert_eq!(r.group_state(b"group")?, Some(state(0)));
            assert_eq!(r.group_serials(b"group")?, Some((0, 0)));
            assert!(r.journal(b"group")?.is_empty());
            assert!(r.group_tree(b"group")?.is_empty());
            let texts = r.messages(CONVERSATION, None, None)?;
            assert_eq!(
                texts.iter().map(|row| row.text.as_str()).collect::<Vec<_>>(),
                ["Shall we meet again?"]
            );
            Ok::<_, StoreError>(())
        })
        .expect("readable");
    drop(store);
    let again = Store::open(home.path(), &KeySource::File).expect("it opens");
    assert_eq!(again.incarnation(), 0);
}

#[test]
fn a_home_of_schema_2_is_read_completely() {
    let home = copy_of("schema-2");
    let store = Store::open(home.path(), &KeySource::File).expect("it opens");
    assert!(store.incarnation() > 0, "the fixture's files were copied");
    store.read(everything).expect("readable");
}

#[test]
fn a_home_of_schema_3_is_read_completely() {
    let home = copy_of("schema-3");
    let store = Store::open(home.path(), &KeySource::File).expect("it opens");
    store.read(everything).expect("readable");
    store.read(suspicions).expect("readable");
    store
        .read(|r| {
            let conversation = r.conversation(CONVERSATION)?.expect("there");
            assert_eq!(conversation.record.protocol, Protocol::Mls, "there was no other");
            assert_eq!(r.pairwise_account()?, None);
            Ok::<_, StoreError>(())
        })
        .expect("readable");
}

#[test]
fn a_home_of_schema_4_is_read_completely() {
    let home = copy_of("schema-4");
    // Before it is opened, which adds the tables of later schemas.
    let connection = raw(home.path());
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let mut names = connection.prepare(sql).expect("SQL");
    for name in names.query_map([], |row| row.get::<_, String>(0)).expect("readable") {
        let sql = format!("SELECT count(*) FROM {}", name.as_deref().expect("text"));
        let rows: u32 = connection.query_row(&sql, [], |row| row.get(0)).expect("readable");
        assert!(rows > 0, "the fixture has a row in every table, also in {name:?}");
    }
    let store = Store::open(home.path(), &KeySource::File).expect("it opens");
    store.read(everything).expect("readable");
    store.read(suspicions).expect("readable");
    store.read(pairwise).expect("readable");
    assert!(store.read(|r| r.joins()).expect("readable").is_empty());
    assert!(store.read(|r| r.own_settings(CONVERSATION)).expect("readable").is_empty());
    assert_eq!(
        store.read(|r| r.conversation_settings(CONVERSATION)).expect("readable"),
        ConversationSettings::default()
    );
}

/// What is in every fixture since schema 2.
fn everything(r: &ReadTx<'_>) -> Result<(), StoreError> {
    assert_eq!(r.setting(Setting::Handle)?.as_deref(), Some("alice"));
    assert_eq!(r.cursor()?.as_deref(), Some("p42"));
    assert_eq!(r.group_state(b"group")?, Some(state(7)));
    assert_eq!(r.group_serials(b"group")?, Some((7, 8)));
    assert_eq!(r.group_tree(b"group")?, [b"tree"]);
    assert_eq!(r.journal(b"group")?, [entry()]);
    assert_eq!(r.record(&record_key())?.expect("there").as_slice(), b"value");
    assert_eq!(r.group_epoch(b"group", 3)?.expect("there").as_slice(), b"epoch");
    assert_eq!(r.pending_head(b"group")?.expect("there"), b"pending");
    assert_eq!(r.pending_body(b"group")?.expect("there").as_slice(), b"commit");
    assert_eq!(r.credentials()?, [credential()]);
    assert_eq!(r.key_packages()?, [key_package()]);
    assert_eq!(r.key_package(b"reference")?.expect("there").as_slice(), b"key package");
    assert_eq!(r.data()?.as_deref(), Some(&b"checkpoint"[..]));
    assert_eq!(r.handle(USER)?, Some(handle()));
    assert_eq!(r.connections()?.len(), 1);
    let conversation = r.conversation(CONVERSATION)?.expect("there");
    assert_eq!(conversation.record.epoch, 3);
    assert_eq!(r.members(CONVERSATION)?.len(), 1);
    assert_eq!(r.messages(CONVERSATION, None, None)?.len(), 1);
    assert_eq!(r.outbox_of(CONVERSATION)?.len(), 1);
    Ok(())
}

/// What is in every fixture since schema 3.
fn suspicions(r: &ReadTx<'_>) -> Result<(), StoreError> {
    let conversation = r.conversation(CONVERSATION)?.expect("there");
    assert_eq!(conversation.policy.as_deref(), Some(&b"policy"[..]));
    assert_eq!((conversation.since_epoch, conversation.distrusted), (2, true));
    let noticed = r.suspicions_after(0)?;
    assert_eq!((noticed.len(), noticed[0].what.as_str()), (1, "{}"));
    assert!(r.suspicions_after(noticed[0].id)?.is_empty());
    Ok(())
}

/// What is in every fixture since schema 6.
fn joins(r: &ReadTx<'_>) -> Result<(), StoreError> {
    assert_eq!(r.own_link(CONVERSATION)?.expect("there").as_str(), "link");
    assert_eq!(r.joins()?, [join()]);
    Ok(())
}

fn join() -> JoinRecord {
    JoinRecord { conversation: CONVERSATION, asked_at: 1_700_000_000_000 }
}

/// What is in every fixture since schema 7.
fn own_settings_and_receipts(r: &ReadTx<'_>) -> Result<(), StoreError> {
    assert!(r.own_settings(CONVERSATION)?[0].is_set);
    assert_eq!(r.receipts(CONVERSATION, &[1; 32])?[0].status, ReceiptStatus::Read);
    Ok(())
}

/// What is in every fixture since schema 4.
fn pairwise(r: &ReadTx<'_>) -> Result<(), StoreError> {
    assert_eq!(r.pairwise_account()?, Some(account()));
    assert_eq!(r.pairwise_peer(&address())?, Some(peer()));
    assert_eq!(r.pairwise_peers_in(CONVERSATION)?, [peer()]);
    assert_eq!(r.pairwise_sessions(&address())?, [session()]);
    Ok(())
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
            w.put_group_state(b"group", 7, b"state")?;
            w.put_group_tree_part(b"group", 0, b"tree")?;
            w.append_to_journal(b"group", &entry())?;
            w.put_record(&record_key(), b"value")?;
            w.put_group_epoch(b"group", 3, b"epoch")?;
            w.put_pending_commit(b"group", b"pending", b"commit")?;
            w.put_credential(&credential())?;
            w.put_key_package(&key_package(), b"key package")?;
            w.set_data(b"checkpoint")?;
            w.put_pairwise_account(&account())?;
            w.put_pairwise_peer(&peer())?;
            w.replace_pairwise_sessions(&address(), &[session()])?;
            w.put_user(USER, &handle())?;
            w.put_connection(&ConnectionRecord {
                user: USER,
                status: tertulia_domain::connection::Status::Accepted,
                conversation: CONVERSATION,
                updated_at: 1_700_000_000_000,
            })?;
            w.put_conversation(&ConversationRecord {
                id: CONVERSATION,
                kind: ConversationType::OneToOne,
                epoch: 3,
                protocol: Protocol::Mls,
                created_at: 1_700_000_000_000,
            })?;
            w.put_member(CONVERSATION, &MemberRecord { user: USER, role: RoleName::MEMBER })?;
            w.set_policy(CONVERSATION, Some(b"policy"))?;
            w.set_since_epoch(CONVERSATION, 2)?;
            w.set_distrusted(CONVERSATION, true)?;
            w.insert_suspicion(CONVERSATION, 1_700_000_000_000, "{}")?;
            w.put_own_link(CONVERSATION, "link")?;
            w.put_join(join())?;
            w.set_own(CONVERSATION, OwnSetting::Muted, true, Some("until Monday"))?;
            w.put_into_outbox(&NewOutboxMessage {
                conversation: CONVERSATION,
                kind: OutboxKind::Message,
                content: b"content".to_vec(),
                created_at: 1_700_000_000_000,
            })?;
            w.insert_message(&NewMessage {
                conversation: CONVERSATION,
                sequence: Sequence::new(3),
                sender: USER,
                sender_device: DeviceId::new(5),
                sent_at: 1_700_000_000_000,
                message_id: [1; 32],
                content: b"content".to_vec(),
                text: Some("Shall we meet again?".to_owned()),
                expires: Some(Expiry::AfterReading(60_000)),
            })?;
            let (user, status) = (OTHER, ReceiptStatus::Read);
            w.put_receipt(CONVERSATION, &[1; 32], &ReceiptRow { user, status, told_at: 1_700_000_000_000 })
        })
        .expect("writes");
    store.read(everything).expect("readable");
    store.read(pairwise).expect("readable");
    store.read(joins).expect("readable");
    store.read(own_settings_and_receipts).expect("readable");
    store.erase_log(&writer).expect("nobody reads");
}

fn address() -> DeviceAddress {
    DeviceAddress::new(USER, DeviceId::new(5), "hub.example".parse().expect("a domain"))
}

fn account() -> PairwiseAccountRecord {
    let state = Zeroizing::new(b"account".to_vec());
    PairwiseAccountRecord { incarnation: 4, fallback_since: 1_700_000_000_000, state }
}

fn peer() -> PairwisePeerRecord {
    PairwisePeerRecord {
        address: address(),
        signature_key: [1; 32],
        identity_key: [2; 32],
        preferred: Some("session".to_owned()),
        renew: true,
    }
}

fn session() -> PairwiseSessionRecord {
    let state = Zeroizing::new(b"session".to_vec());
    PairwiseSessionRecord { id: "session".to_owned(), used: 6, incarnation: 4, state }
}

fn handle() -> Handle {
    "bob".parse().expect("a handle")
}

fn state(serial: u64) -> GroupStateRecord {
    GroupStateRecord { serial, state: Zeroizing::new(b"state".to_vec()) }
}

fn entry() -> JournalEntry {
    JournalEntry { serial: 8, leaf: 1, generation: 5, digest: Some(b"digest".to_vec()) }
}

fn record_key() -> RecordKey {
    RecordKey { kind: 3, owner: b"group".to_vec(), key: b"key".to_vec() }
}

fn credential() -> CredentialRecord {
    CredentialRecord {
        client_id: b"client".to_vec(),
        ciphersuite: 1,
        public_key: b"public key".to_vec(),
        secret_key: Zeroizing::new(b"secret key".to_vec()),
        credential: Some(b"credential".to_vec()),
    }
}

fn key_package() -> KeyPackageRecord {
    KeyPackageRecord {
        reference: b"reference".to_vec(),
        not_after: 1_800_000_000,
        last_resort: true,
        signature_key: b"public key".to_vec(),
        incarnation: 4,
    }
}

#[test]
fn the_released_schema_does_not_change() {
    // A released schema is history; what changes goes into the next file.
    insta::assert_snapshot!(include_str!("../src/schema/1.sql"));
}

#[test]
fn schema_2_does_not_change_once_it_is_released() {
    insta::assert_snapshot!(include_str!("../src/schema/2.sql"));
}

#[test]
fn schema_3_does_not_change_once_it_is_released() {
    insta::assert_snapshot!(include_str!("../src/schema/3.sql"));
}

#[test]
fn schema_4_does_not_change_once_it_is_released() {
    insta::assert_snapshot!(include_str!("../src/schema/4.sql"));
}

#[test]
fn schema_5_does_not_change_once_it_is_released() {
    insta::assert_snapshot!(include_str!("../src/schema/5.sql"));
}

#[test]
fn schema_6_does_not_change_once_it_is_released() {
    insta::assert_snapshot!(include_str!("../src/schema/6.sql"));
}

#[test]
fn schema_7_does_not_change_once_it_is_released() {
    insta::assert_snapshot!(include_str!("../src/schema/7.sql"));
}
