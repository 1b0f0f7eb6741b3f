//! What operators are shown: the fields that `--json` prints, and tables of the same for people.

use std::fmt::Write as _;

use bytesize::ByteSize;
use comfy_table::Cell;
use serde::Serialize;
use tertulia::{AccountKind, DeviceId, Handle, UserId};
use tertulia_server::{
    AccountInfo, BackupInfo, CopyInfo, DeviceInfo, Numbers, Pruned, RestoredDatabase, SessionInfo,
};

use super::{
    Output,
    human::{Page, fields, minute, table},
    text,
    view::Moment,
};
use crate::error::CliError;

/// A line of `admin users list`.
#[derive(Serialize)]
pub(crate) struct Account {
    handle: Handle,
    user: UserId,
    kind: AccountKind,
    created_at: Moment,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    locked_at: Option<Moment>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted_at: Option<Moment>,
    devices: u64,
    sessions: u64,
    conversations: u64,
}

impl From<AccountInfo> for Account {
    fn from(account: AccountInfo) -> Self {
        Self {
            handle: account.handle,
            user: account.user,
            kind: account.kind,
            created_at: Moment::from_millis(account.created_at),
            expires_at: account.expires_at.map(Moment::from_millis),
            locked_at: account.locked_at.map(Moment::from_millis),
            deleted_at: account.deleted_at.map(Moment::from_millis),
            devices: account.devices,
            sessions: account.sessions,
            conversations: account.conversations,
        }
    }
}

impl Account {
    fn state(&self) -> &'static str {
        match (self.deleted_at, self.locked_at) {
            (Some(_), _) => "deleted",
            (None, Some(_)) => "locked",
            (None, None) => "",
        }
    }
}

/// A line of `admin devices list`.
#[derive(Serialize)]
pub(crate) struct Device {
    #[serde(rename = "device")]
    id: DeviceId,
    label: String,
    created_at: Moment,
}

impl From<DeviceInfo> for Device {
    fn from(device: DeviceInfo) -> Self {
        Self { id: device.device, label: device.label, created_at: Moment::from_millis(device.created_at) }
    }
}

/// `admin devices remove`.
#[derive(Serialize)]
pub(crate) struct DeviceRemoved {
    pub(crate) device: DeviceId,
}

/// A line of `admin sessions list` and of `session list`.
#[derive(Serialize)]
pub(crate) struct Session {
    #[serde(rename = "session")]
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<DeviceId>,
    created_at: Moment,
    /// To the day.
    #[serde(skip_serializing_if = "Option::is_none")]
    used_at: Option<Moment>,
    /// Of one's own sessions, whether it is that of this home.
    #[serde(skip_serializing_if = "Option::is_none")]
    current: Option<bool>,
}

impl From<tertulia::OpenSession> for Session {
    fn from(session: tertulia::OpenSession) -> Self {
        Self {
            name: session.session,
            device: session.device,
            created_at: Moment::from_millis(session.created_at),
            used_at: session.used_at.map(Moment::from_millis),
            current: Some(session.current),
        }
    }
}

impl From<SessionInfo> for Session {
    fn from(session: SessionInfo) -> Self {
        Self {
            name: session.session,
            device: session.device,
            created_at: Moment::from_millis(session.created_at),
            used_at: session.used_at.map(Moment::from_millis),
            current: None,
        }
    }
}

/// `admin sessions end` and `session end`.
#[derive(Serialize)]
pub(crate) struct SessionsEnded {
    pub(crate) ended: u64,
}

/// `admin copy-database`.
#[derive(Serialize)]
pub(crate) struct Moved {
    rows: u64,
    moved: String,
}

impl From<CopyInfo> for Moved {
    fn from(info: CopyInfo) -> Self {
        Self { rows: info.rows, moved: info.moved.display().to_string() }
    }
}

/// `admin backup` and `admin restore`.
#[derive(Serialize)]
pub(crate) struct Backup {
    path: String,
    bytes: u64,
    position: i64,
    accounts: u64,
    log_entries: u64,
    unreadable_groups: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    replaced: Option<String>,
}

impl From<BackupInfo> for Backup {
    fn from(backup: BackupInfo) -> Self {
        Self {
            path: backup.path.display().to_string(),
            bytes: backup.bytes,
            position: backup.position,
            accounts: backup.accounts,
            log_entries: backup.log_entries,
            unreadable_groups: backup.unreadable_groups,
            replaced: backup.replaced.map(|path| path.display().to_string()),
        }
    }
}

impl Backup {
    /// What a person has to know of damaged groups, if there are any.
    fn unreadable(&self) -> String {
        unreadable(self.unreadable_groups)
    }
}

fn unreadable(groups: u64) -> String {
    match groups {
        0 => String::new(),
        groups => format!(
            "The stored state of {groups} groups is damaged. A restored hub begins them anew with what else it has of \
             their members, and its log names them.\n"
        ),
    }
}

impl Output {
    pub(crate) fn accounts(self, accounts: &[Account]) -> Result<(), CliError> {
        self.all(accounts, |accounts| {
            let page = Page::stdout();
            let rows = accounts.iter().map(|account| {
                vec![
                    Cell::new(format_args!("@{}", account.handle)),
                    Cell::new(account.kind),
                    Cell::new(minute(account.created_at, &page)),
                    Cell::new(account.devices),
                    Cell::new(account.sessions),
                    Cell::new(account.conversations),
                    Cell::new(account.state()),
                ]
            });
            table(["HANDLE", "KIND", "SINCE", "DEVICES", "SESSIONS", "CONVERSATIONS", ""], &[0], rows, &page)
        })
    }

    pub(crate) fn account(self, account: &Account) -> Result<(), CliError> {
        self.one(account, |account| {
            let page = Page::stdout();
            let mut rows = vec![
                ("handle", format!("@{}", account.handle)),
                ("user", account.user.to_string()),
                ("kind", account.kind.to_string()),
                ("since", minute(account.created_at, &page)),
                ("devices", account.devices.to_string()),
                ("sessions", account.sessions.to_string()),
                ("in", format!("{} conversations", account.conversations)),
            ];
            rows.extend(account.expires_at.map(|at| ("until", minute(at, &page))));
            rows.extend(account.locked_at.map(|at| ("locked", minute(at, &page))));
            rows.extend(account.deleted_at.map(|at| ("deleted", minute(at, &page))));
            fields(&rows)
        })
    }

    pub(crate) fn account_devices(self, devices: &[Device]) -> Result<(), CliError> {
        self.all(devices, |devices| {
            let page = Page::stdout();
            let rows = devices.iter().map(|device| {
                vec![
                    Cell::new(device.id),
                    Cell::new(text::one_line(&device.label)),
                    Cell::new(minute(device.created_at, &page)),
                ]
            });
            table(["DEVICE", "LABEL", "SINCE"], &[0], rows, &page)
        })
    }

    pub(crate) fn account_device_removed(self, removed: &DeviceRemoved) -> Result<(), CliError> {
        self.one(removed, |removed| {
            format!("Removed {}. Nothing is delivered to it any more.\n", removed.device)
        })
    }

    pub(crate) fn sessions(self, sessions: &[Session]) -> Result<(), CliError> {
        self.all(sessions, |sessions| {
            let page = Page::stdout();
            let rows = sessions.iter().map(|session| {
                vec![
                    Cell::new(&session.name),
                    Cell::new(session.device.map(|device| device.to_string()).unwrap_or_default()),
                    Cell::new(minute(session.created_at, &page)),
                    Cell::new(session.used_at.map(|at| minute(at, &page)).unwrap_or_default()),
                    Cell::new(if session.current == Some(true) { "this home" } else { "" }),
                ]
            });
            table(["SESSION", "DEVICE", "SINCE", "USED, TO THE DAY", ""], &[0, 1], rows, &page)
        })
    }

    pub(crate) fn sessions_ended(self, ended: &SessionsEnded) -> Result<(), CliError> {
        self.one(ended, |ended| format!("Sessions ended: {}.\n", ended.ended))
    }

    pub(crate) fn numbers(self, numbers: &Numbers) -> Result<(), CliError> {
        self.one(numbers, |numbers| {
            let rows = [
                ("accounts", numbers.accounts.to_string()),
                ("guests", numbers.guests.to_string()),
                ("locked accounts", numbers.locked.to_string()),
                ("deleted accounts", numbers.deleted.to_string()),
                ("devices", numbers.devices.to_string()),
                ("sessions", numbers.sessions.to_string()),
                ("teams", numbers.teams.to_string()),
                ("1:1s", numbers.one_to_ones.to_string()),
                ("groups", numbers.groups.to_string()),
                ("channels", numbers.channels.to_string()),
                ("log entries", numbers.log_entries.to_string()),
                ("events beside", numbers.events.to_string()),
                ("database", ByteSize(numbers.bytes).to_string()),
            ];
            rows.iter().fold(String::new(), |mut text, (name, value)| {
                let _ = writeln!(text, "{name:<16} {value:>12}");
                text
            })
        })
    }

    pub(crate) fn pruned(self, pruned: &Pruned) -> Result<(), CliError> {
        self.one(pruned, |pruned| {
            format!(
                "Deleted: {} key packages, {} invitations, {} links, {} tokens, {} conversations, {} log entries, {} events.\n",
                pruned.key_packages,
                pruned.invitations,
                pruned.links,
                pruned.tokens,
                pruned.conversations,
                pruned.log_entries,
                pruned.events
            )
        })
    }

    pub(crate) fn backup(self, backup: &Backup) -> Result<(), CliError> {
        self.one(backup, |backup| {
            format!(
                "A backup is in {}: {} accounts, {} log entries, {}.\n{}",
                text::one_line(&backup.path),
                backup.accounts,
                backup.log_entries,
                ByteSize(backup.bytes),
                backup.unreadable()
            )
        })
    }

    pub(crate) fn moved(self, moved: &Moved) -> Result<(), CliError> {
        self.one(moved, |moved| {
            format!(
                "The database has all {} rows. The file is in {}; the hub starts with `--database`.\n",
                moved.rows,
                text::one_line(&moved.moved)
            )
        })
    }

    /// `admin after-restore`.
    pub(crate) fn restored_database(self, restored: &RestoredDatabase) -> Result<(), CliError> {
        self.one(restored, |restored| {
            format!(
                "The database has {} accounts, {} log entries. All groups are begun anew when the hub starts.\n{}",
                restored.accounts,
                restored.log_entries,
                unreadable(restored.unreadable_groups)
            )
        })
    }

    pub(crate) fn restored(self, restored: &Backup) -> Result<(), CliError> {
        self.one(restored, |restored| {
            let aside = restored.replaced.as_ref().map(|path| {
                format!("What was there is in {}.\n", text::one_line(path))
            });
            format!(
                "Restored into {}: {} accounts, {} log entries. All groups are begun anew when the hub starts.\n{}{}",
                text::one_line(&restored.path),
                restored.accounts,
                restored.log_entries,
                restored.unreadable(),
                aside.unwrap_or_default()
            )
        })
    }
}
