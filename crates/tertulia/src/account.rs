//! The account: what its user says of themselves, finding others, its password, and its end.

use crate::{Client, Error, Profile, Result};
use tertulia_api::account::{self, OpenSession};
use tertulia_domain::{DisplayName, Handle, Locale};

impl Client {
    /// What the user says of themselves.
    ///
    /// # Errors
    ///
    /// Those of a request to the hub.
    pub async fn profile(&self) -> Result<Profile> {
        let me = self.hub()?.me().await?;
        Ok(Profile {
            user: me.user,
            handle: self.me().handle.clone(),
            name: parsed(me.name.as_deref())?,
            locale: parsed(me.locale.as_deref())?,
            kind: me.kind,
        })
    }

    /// Replaces what the user says of themselves. Everybody sees the display name; who is connected sees the locale.
    ///
    /// # Errors
    ///
    /// Those of a request to the hub.
    pub async fn set_profile(&self, name: Option<&DisplayName>, locale: Option<&Locale>) -> Result<()> {
        let profile =
            account::Profile { name: name.map(ToString::to_string), locale: locale.map(ToString::to_string) };
        Ok(self.hub()?.set_profile(&profile).await?)
    }

    /// What another user says of themselves. The locale is there only if the two are connected.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `unknown-user`.
    pub async fn profile_of(&self, handle: &Handle) -> Result<Profile> {
        read(&self.hub()?.user_by_handle(handle).await?)
    }

    /// Users by the beginning of their handles, at most twenty, in alphabetical order. Their locales are not told.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `rate-limited`.
    pub async fn search(&self, beginning: &Handle) -> Result<Vec<Profile>> {
        self.hub()?.search_users(beginning).await?.users.iter().map(read).collect()
    }

    /// Gives the account another password. All its other devices have to log in again with it
    /// ([`log_in`](crate::ClientBuilder::log_in) on their homes); they keep what they have.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `invalid-credentials`, `invalid-password`, `rate-limited`.
    pub async fn change_password(&self, password: &str, new_password: &str) -> Result<()> {
        Ok(self.hub()?.change_password(password, new_password).await?)
    }

    /// The sessions of the account, oldest first: each belongs to a device that is logged in.
    ///
    /// # Errors
    ///
    /// Those of a request to the hub.
    pub async fn sessions(&self) -> Result<Vec<OpenSession>> {
        Ok(self.hub()?.sessions().await?.sessions)
    }

    /// Ends a session of the account, as [`sessions`](Self::sessions) names it. Its device keeps what it has, and goes on after
    /// [`log_in`](crate::ClientBuilder::log_in) on its home.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `not-found`.
    pub async fn end_session(&self, session: &str) -> Result<()> {
        Ok(self.hub()?.end_session(session).await?)
    }

    /// Ends all sessions of the account but this one. How many there were.
    ///
    /// # Errors
    ///
    /// Those of a request to the hub.
    pub async fn end_other_sessions(&self) -> Result<u64> {
        Ok(self.hub()?.end_other_sessions().await?.ended)
    }

    /// Deletes the account, for good: nobody gets its handle again, and the user leaves all conversations. What the homes of its
    /// devices hold stays there. A guest has no password, and none is asked for.
    ///
    /// # Errors
    ///
    /// What the hub refuses: `invalid-credentials`, `rate-limited`. After a lost answer, [`Error::DeviceRemoved`] says that it
    /// was done.
    pub async fn delete_account(&self, password: &str) -> Result<()> {
        Ok(self.hub()?.delete_account(password).await?)
    }
}

/// A user as the hub tells it.
fn read(user: &account::User) -> Result<Profile> {
    Ok(Profile {
        user: user.user,
        handle: parsed(Some(&user.handle))?.ok_or(UNREADABLE)?,
        name: parsed(user.name.as_deref())?,
        locale: parsed(user.locale.as_deref())?,
        kind: user.kind,
    })
}

const UNREADABLE: Error = Error::UntrustworthyHub { what: "a user's handle, name or locale is none" };

fn parsed<T: std::str::FromStr>(text: Option<&str>) -> Result<Option<T>> {
    text.map(str::parse).transpose().map_err(|_| UNREADABLE)
}
