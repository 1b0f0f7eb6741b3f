//! Accounts, sessions, devices and key packages.

use crate::bytes::Base64;
use serde::{Deserialize, Serialize};
use std::fmt;
use tertulia_domain::{AccountKind, DeviceId, UserId};
use utoipa::ToSchema;

/// A handle with its password: the body of log-in.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Credentials {
    /// 2–32 characters of `a-z 0-9 _ . -`.
    #[schema(example = "alice")]
    pub handle: String,
    /// 8–1024 bytes of UTF-8.
    #[schema(format = Password)]
    pub password: String,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("handle", &self.handle).finish_non_exhaustive()
    }
}

/// An account to be made: the body of sign-up.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct NewAccount {
    /// 2–32 characters of `a-z 0-9 _ . -`, not beginning with `guest-`.
    #[schema(example = "alice")]
    pub handle: String,
    /// 8–1024 bytes of UTF-8.
    #[schema(format = Password)]
    pub password: String,
    /// `person`, also unless given, or `service` for a program. Everybody sees it.
    #[serde(default)]
    #[schema(value_type = String, example = "person")]
    pub kind: AccountKind,
}

impl fmt::Debug for NewAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewAccount").field("handle", &self.handle).finish_non_exhaustive()
    }
}

/// A guest account to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewGuest {
    /// The display name, 1–128 characters.
    #[schema(example = "Ana")]
    pub name: String,
}

/// The password once more: who holds a session alone, such as somebody who found an open laptop, does not do what cannot be
/// taken back.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct PasswordProof {
    /// The account's password.
    #[schema(format = Password)]
    pub password: String,
}

impl fmt::Debug for PasswordProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordProof").finish_non_exhaustive()
    }
}

/// Gives the account another password.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct PasswordChange {
    /// The password that the account has.
    #[schema(format = Password)]
    pub password: String,
    /// The one that it is to have, 8–1024 bytes of UTF-8.
    #[schema(format = Password)]
    pub new_password: String,
}

impl fmt::Debug for PasswordChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordChange").finish_non_exhaustive()
    }
}

/// A session that was opened by sign-up or log-in.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct Session {
    /// The opaque token; sent as `Authorization: Bearer <token>`.
    pub token: String,
    /// The user.
    #[schema(value_type = String, format = Uuid)]
    pub user: UserId,
    /// The handle as the hub keeps it.
    pub handle: String,
    /// The hub's domain, which completes ids outside this hub.
    #[schema(example = "chat.example.org")]
    pub domain: String,
    /// What the account is.
    #[serde(default, skip_serializing_if = "AccountKind::is_person")]
    #[schema(value_type = Option<String>, example = "guest")]
    pub kind: AccountKind,
    /// Of a guest, when the account ends, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("user", &self.user.short()).finish_non_exhaustive()
    }
}

/// Another token for the same session.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
pub struct NewToken {
    /// The opaque token. When it is first used, the one that it was asked for with is void.
    pub token: String,
}

impl fmt::Debug for NewToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewToken").finish_non_exhaustive()
    }
}

/// A session of the caller's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenSession {
    /// Its name until its token is exchanged: 16 hexadecimal digits. Nobody gets in with it.
    #[schema(example = "0123456789abcdef")]
    pub session: String,
    /// Its device, once it has registered one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "00c0ffee00c0ffee")]
    pub device: Option<DeviceId>,
    /// When it began, milliseconds since 1970.
    pub created_at: i64,
    /// When it was last used, to the day, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used_at: Option<i64>,
    /// Whether it is the one that asks.
    pub current: bool,
}

/// The sessions of the caller's account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct OpenSessions {
    /// Oldest first.
    pub sessions: Vec<OpenSession>,
}

/// How many sessions have ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SessionsEnded {
    /// So many.
    pub ended: u64,
}

/// Who the caller is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Me {
    /// The user.
    #[schema(value_type = String, format = Uuid)]
    pub user: UserId,
    /// The user's handle.
    pub handle: String,
    /// The hub's domain.
    pub domain: String,
    /// The session's device, once it has registered one.
    #[schema(value_type = Option<String>)]
    pub device: Option<DeviceId>,
    /// The user's display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The user's locale, a language tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// What the account is.
    #[serde(default, skip_serializing_if = "AccountKind::is_person")]
    #[schema(value_type = Option<String>, example = "service")]
    pub kind: AccountKind,
    /// Of a guest, when the account ends, milliseconds since 1970.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<i64>,
}

/// A user as others see them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// The user.
    #[schema(value_type = String, format = Uuid)]
    pub user: UserId,
    /// The user's handle.
    pub handle: String,
    /// The user's display name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The user's locale, a language tag. Only for who is connected with the user, or the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locale: Option<String>,
    /// What the account is: `person` if absent, `guest` or `service`.
    #[serde(default, skip_serializing_if = "AccountKind::is_person")]
    #[schema(value_type = Option<String>, example = "service")]
    pub kind: AccountKind,
}

/// Users that were found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Users {
    /// Ordered by handle, without locales.
    pub users: Vec<User>,
}

/// What a user says of themselves. It replaces what was said before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Profile {
    /// The display name, 1–128 characters; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "Alice Munro")]
    pub name: Option<String>,
    /// The locale, a language tag (BCP 47) of at most 35 characters; none if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "es-MX")]
    pub locale: Option<String>,
}

/// Registers the session's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NewDevice {
    /// The device's id, chosen at random by the device itself: 16 hexadecimal digits. The MLS credential names it, so it
    /// must be known before key packages can be made.
    #[schema(value_type = String, example = "00c0ffee00c0ffee")]
    pub device: DeviceId,
    /// A name for people, at most 64 characters: "laptop".
    pub label: String,
    /// The device's MLS signature key, an Ed25519 public key of 32 bytes. Every leaf of the device must use it.
    pub signature_key: Base64,
    /// The first key packages (RFC 9420 §10), each an `MLSMessage` or a bare `KeyPackage`.
    pub key_packages: Vec<Base64>,
    /// The key package that is given out, as often as needed, once the others are used up; none of them. A device without one can be
    /// added to nothing then, until it uploads some.
    pub last_resort: Option<Base64>,
}

/// A device of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Device {
    /// The device's id.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// Its name for people.
    pub label: String,
    /// When it was registered, milliseconds since 1970.
    pub created_at: i64,
}

/// All devices of the caller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Devices {
    /// In the order in which they were registered.
    pub devices: Vec<Device>,
}

/// More key packages for the calling device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyPackageUpload {
    /// Key packages that are each handed out once.
    pub key_packages: Vec<Base64>,
    /// Replaces the last-resort key package. It is none that is handed out once.
    #[serde(default)]
    pub last_resort: Option<Base64>,
}

/// Takes key packages of the calling device back that nobody has been given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyPackageDeletion {
    /// Their `KeyPackageRef`s (RFC 9420 section 5.2).
    pub references: Vec<Base64>,
}

/// How many key packages of the calling device can still be handed out, without the last-resort one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyPackageCount {
    /// Unexpired, unclaimed key packages.
    pub count: u32,
}

/// Asks for one key package of each device of these users, other than the calling device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct KeyPackageClaim {
    /// The users, at most 500 in one request. Each must be the caller, connected with the caller, or in a conversation with
    /// the caller.
    #[schema(value_type = Vec<String>)]
    pub users: Vec<UserId>,
}

/// A key package that was handed out. It is given to nobody else, unless it is the last-resort one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClaimedKeyPackage {
    /// The user.
    #[schema(value_type = String, format = Uuid)]
    pub user: UserId,
    /// The user's device.
    #[schema(value_type = String)]
    pub device: DeviceId,
    /// Its key package, as it was uploaded.
    pub key_package: Base64,
}

/// What was claimed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ClaimedKeyPackages {
    /// One for each device that had one.
    pub key_packages: Vec<ClaimedKeyPackage>,
}

/// The hub's public keys for MLS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct HubKeys {
    /// The Ed25519 key, 32 bytes, with which the hub signs proposals as external sender 0 (RFC 9420 §12.1.8.1). Every group
    /// names it in its `external_senders` extension, with a basic credential of any identity.
    pub external_sender: Base64,
}
