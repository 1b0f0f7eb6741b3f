//! How the domain's types stand in columns.

use super::{Result, Row};
use rusqlite::{
    ToSql,
    types::{FromSql, FromSqlError, FromSqlResult, ToSqlOutput, ValueRef},
};
use tertulia_conversation::topic::ContentTopic;
use tertulia_domain::{
    AccountKind, ConversationId, ConversationType, DeviceId, Handle, Handshake, History, Protocol,
    ReceiptMode, RoleName, SubconversationName, TeamId, UserId, connection::Status, policy::AddPermission,
    team::TeamRole,
};

/// A value of the domain as a parameter or a column: ids as bytes or integers, names as text.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sql<T>(pub(crate) T);

macro_rules! by_bytes {
    ($($type:ident),*) => {$(
        impl ToSql for Sql<$type> {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Blob(self.0.as_bytes())))
            }
        }

        impl FromSql for Sql<$type> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                <[u8; 16]>::column_result(value).map(|bytes| Self($type::from_bytes(bytes)))
            }
        }
    )*};
}

macro_rules! by_name {
    ($($type:ident),*) => {$(
        impl ToSql for Sql<$type> {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(ToSqlOutput::Borrowed(ValueRef::Text(self.0.as_str().as_bytes())))
            }
        }

        impl FromSql for Sql<$type> {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
                value.as_str()?.parse().map(Self).map_err(FromSqlError::other)
            }
        }
    )*};
}

by_bytes!(UserId, ConversationId, TeamId);
by_name!(
    AccountKind,
    Handshake,
    Status,
    RoleName,
    ConversationType,
    Handle,
    Protocol,
    SubconversationName,
    TeamRole,
    ReceiptMode,
    AddPermission
);

impl FromSql for Sql<ContentTopic> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        let number = u16::column_result(value)?;
        ContentTopic::from_number(number).map(Self).ok_or(FromSqlError::OutOfRange(number.into()))
    }
}

impl ToSql for Sql<History> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.0.to_string().into())
    }
}

impl FromSql for Sql<History> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        value.as_str()?.parse().map(Self).map_err(FromSqlError::other)
    }
}

impl ToSql for Sql<DeviceId> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        // SQLite has signed integers only; the bits are what is kept.
        Ok(self.0.get().cast_signed().into())
    }
}

impl FromSql for Sql<DeviceId> {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Self> {
        i64::column_result(value).map(|number| Self(DeviceId::new(number.cast_unsigned())))
    }
}

/// Columns that hold values of the domain.
pub(crate) trait RowExt {
    /// The column as a value that [`Sql`] can read.
    fn domain<T>(&self, column: usize) -> Result<T>
    where
        Sql<T>: FromSql;

    /// The column as a value that [`Sql`] can read, or nothing.
    fn optional<T>(&self, column: usize) -> Result<Option<T>>
    where
        Sql<T>: FromSql;
}

impl RowExt for Row<'_> {
    fn domain<T>(&self, column: usize) -> Result<T>
    where
        Sql<T>: FromSql,
    {
        self.get::<Sql<T>>(column).map(|value| value.0)
    }

    fn optional<T>(&self, column: usize) -> Result<Option<T>>
    where
        Sql<T>: FromSql,
    {
        self.get::<Option<Sql<T>>>(column).map(|value| value.map(|value| value.0))
    }
}
