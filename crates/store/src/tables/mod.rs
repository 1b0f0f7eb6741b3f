//! The operations on what is stored, one file a concern. Reads are on [`ReadTx`] and writes on [`WriteTx`].

mod conversation_settings;
mod conversations;
mod enveloped;
mod envelopes;
mod expiry;
mod history;
mod inbox;
mod joins;
mod messages;
mod mls;
mod outbox;
mod own_settings;
mod own_types;
mod pairwise;
mod people;
mod receipts;
mod settings;
mod suspicions;

pub use conversation_settings::ConversationSettings;
pub use conversations::{ConversationRecord, ConversationRow, MemberRecord, ResetRow};
pub use enveloped::{EnvelopedRecord, HintsRecord};
pub use envelopes::{EnvelopeRow, NewEnvelope, UnsupportedEnvelope};
pub use expiry::Expiry;
pub use history::HistoryMark;
pub use inbox::{BundleRecord, IdentityRecord, InboxKeyRecord, InvitationHead, InvitationRecord};
pub use joins::JoinRecord;
pub use messages::{ContentRow, MessageRow, NewMessage};
pub use mls::{CredentialRecord, GroupStateRecord, JournalEntry, KeyPackageRecord, RecordKey};
pub use outbox::{NewOutboxMessage, OutboxKind, OutboxMessage};
pub use own_settings::OwnSettingRow;
pub use own_types::OwnTypeRecord;
pub use pairwise::{PairwiseAccountRecord, PairwisePeerRecord, PairwiseSessionRecord};
pub use people::ConnectionRecord;
pub use receipts::ReceiptRow;
pub use settings::Setting;
pub use suspicions::SuspicionRecord;

use crate::StoreError;
use rusqlite::{OptionalExtension as _, Params, Row, Transaction};
use std::str::FromStr;
use uuid::Uuid;

/// The first row, if there is one.
fn first<T>(
    tx: &Transaction<'_>,
    sql: &str,
    params: impl Params,
    read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Option<T>, StoreError> {
    Ok(tx.prepare_cached(sql)?.query_row(params, read).optional()?)
}

/// All rows.
fn all<T>(
    tx: &Transaction<'_>,
    sql: &str,
    params: impl Params,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> Result<Vec<T>, StoreError> {
    Ok(tx.prepare_cached(sql)?.query_map(params, read)?.collect::<rusqlite::Result<_>>()?)
}

/// Carries out a statement, and says how many rows it changed.
fn execute(tx: &Transaction<'_>, sql: &str, params: impl Params) -> Result<usize, StoreError> {
    fail_point!(STATEMENT, StoreError::DiskFull);
    Ok(tx.prepare_cached(sql)?.execute(params)?)
}

/// A column that holds a UUID.
fn uuid<T: From<Uuid>>(row: &Row<'_>, column: usize) -> rusqlite::Result<T> {
    row.get::<_, Uuid>(column).map(T::from)
}

/// A column that holds the name of something.
fn named<T: FromStr>(row: &Row<'_>, column: usize) -> rusqlite::Result<T>
where
    T::Err: std::error::Error + Send + Sync + 'static,
{
    row.get::<_, String>(column)?.parse().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, Box::new(error))
    })
}

/// A number to compare with. SQLite's integers are signed; what is larger than any of them is equal to none that is stored.
fn to_sql(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number to store.
fn stored(number: u64, what: &'static str) -> Result<i64, StoreError> {
    // The largest one is left out, for `to_sql`.
    match i64::try_from(number) {
        Ok(number) if number < i64::MAX => Ok(number),
        _ => Err(StoreError::OutOfRange { what, value: number }),
    }
}

/// A column that holds a number which `stored` made.
fn number(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(column)?
        .try_into()
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, row.get(column).unwrap_or_default()))
}
