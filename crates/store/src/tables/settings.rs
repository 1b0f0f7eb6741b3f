//! What the home knows about its account.

use super::{execute, first};
use crate::{ReadTx, StoreError, WriteTx};

/// A setting. Values are text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// The hub's address.
    Hub,
    /// The user's id.
    User,
    /// This device's id.
    Device,
    /// The user's handle.
    Handle,
    /// What the account is; a person's if absent.
    Kind,
    /// Of a guest, when the account ends, milliseconds since 1970.
    ExpiresAt,
    /// The hub's domain.
    Domain,
    /// The device's name for people.
    Label,
    /// The session token.
    Token,
    /// The session token before this one, good as long as this one was never used; empty if there is none.
    TokenBefore,
    /// Since when the session token is kept, milliseconds since 1970.
    TokenAt,
    /// The hub's key as external sender, in hexadecimal digits. Set once the device is registered.
    HubKey,
    /// When the device's key packages were last made anew, milliseconds since 1970.
    KeyPackagesMadeAt,
}

impl Setting {
    const fn name(self) -> &'static str {
        match self {
            Self::Hub => "hub",
            Self::User => "user",
            Self::Device => "device",
            Self::Handle => "handle",
            Self::Kind => "kind",
            Self::ExpiresAt => "expires_at",
            Self::Domain => "domain",
            Self::Label => "label",
            Self::Token => "token",
            Self::TokenBefore => "token_before",
            Self::TokenAt => "token_at",
            Self::HubKey => "hub_key",
            Self::KeyPackagesMadeAt => "key_packages_made_at",
        }
    }
}

/// Where in the hub's events the home stands; a setting that only [`WriteTx::set_cursor`] changes.
const CURSOR: &str = "cursor";

impl ReadTx<'_> {
    /// The value of a setting.
    pub fn setting(&self, setting: Setting) -> Result<Option<String>, StoreError> {
        first(&self.tx, "SELECT value FROM settings WHERE name = ?1", [setting.name()], |row| row.get(0))
    }

    /// The cursor after the last event that was written down.
    pub fn cursor(&self) -> Result<Option<String>, StoreError> {
        first(&self.tx, "SELECT value FROM settings WHERE name = ?1", [CURSOR], |row| row.get(0))
    }
}

impl WriteTx<'_> {
    /// Gives a setting a value.
    pub fn put_setting(&mut self, setting: Setting, value: &str) -> Result<(), StoreError> {
        self.put_named(setting.name(), value)
    }

    /// Moves the cursor.
    pub fn set_cursor(&mut self, cursor: &str) -> Result<(), StoreError> {
        self.put_named(CURSOR, cursor)
    }

    fn put_named(&mut self, name: &str, value: &str) -> Result<(), StoreError> {
        let sql = "INSERT INTO settings (name, value) VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value";
        execute(&self.tx, sql, [name, value]).map(drop)
    }
}
