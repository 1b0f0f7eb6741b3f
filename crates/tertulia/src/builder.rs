//! Opening a home: for the first time by sign-up or log-in, later as it is.

use crate::{
    Client, Error, Result,
    client::{Inner, SETTINGS},
    link::HubLink,
    model::Me,
    rules::ConversationRules,
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tertulia_domain::{AccountKind, DeviceAddress, DeviceId, DisplayName, Domain, Handle, UserId};
use tertulia_mls::{Ciphersuite, ClientId, Credential, MlsCustomConfiguration, Session, SessionConfig};
use tertulia_store::{KeySource, Setting, Store, StoreError};
use tertulia_transport::Hub;
use url::Url;
use zeroize::Zeroizing;

/// How long a device's keys in a conversation last at most, unless the application says otherwise.
const KEY_ROTATION: Duration = Duration::from_hours(30 * 24);

/// How the user comes to the hub.
#[derive(Clone, Copy)]
enum Entry<'a> {
    SignUp { handle: &'a str, password: &'a str, kind: AccountKind },
    LogIn { handle: &'a str, password: &'a str },
    Guest { name: &'a DisplayName },
}

/// Opens a home. Made by [`Client::builder`].
///
/// Decide first how the home is protected: without [`passphrase`](Self::passphrase) its key lies beside it in a file that
/// only its owner can read.
#[derive(Debug)]
pub struct ClientBuilder {
    home: PathBuf,
    key: KeySource,
    label: String,
    key_rotation: Option<Duration>,
}

impl ClientBuilder {
    pub(crate) fn new(home: PathBuf) -> Self {
        let label = std::env::consts::OS.to_owned();
        Self { home, key: KeySource::File, label, key_rotation: Some(KEY_ROTATION) }
    }

    /// Derives the database's key from this passphrase instead of keeping it in a file.
    #[must_use]
    pub fn passphrase(self, passphrase: Zeroizing<String>) -> Self {
        Self { key: KeySource::Passphrase(passphrase), ..self }
    }

    /// Names the device for people: "laptop". 1–64 characters; the operating system unless given.
    #[must_use]
    pub fn device_label(self, label: impl Into<String>) -> Self {
        Self { label: label.into(), ..self }
    }

    /// How long this device's keys last at most in a conversation that it begins or joins from now on; for ever if none.
    /// 30 days unless given, at least a minute. [`Client::sync`] replaces them in time.
    #[must_use]
    pub fn key_rotation(self, span: Option<Duration>) -> Self {
        Self { key_rotation: span, ..self }
    }

    /// Creates an account on the hub, with this home as its first device.
    ///
    /// # Errors
    ///
    /// [`Error::HomeInUse`], [`Error::InvalidHandle`], those of the store, and what the hub refuses: `handle-taken`,
    /// `invalid-password`.
    pub async fn sign_up(self, hub: &str, handle: &str, password: &str) -> Result<Client> {
        self.enter(Entry::SignUp { handle, password, kind: AccountKind::Person }, hub).await
    }

    /// Creates an account for a program, with this home as its first device. It is like a person's, and everybody sees
    /// that it is a service.
    ///
    /// # Errors
    ///
    /// As [`sign_up`](Self::sign_up).
    pub async fn sign_up_service(self, hub: &str, handle: &str, password: &str) -> Result<Client> {
        self.enter(Entry::SignUp { handle, password, kind: AccountKind::Service }, hub).await
    }

    /// Comes in as a guest of this display name, with this home as the only device: without a password, and for a time that
    /// the hub says ([`Me::expires_at`]). Then the account ends as by [`Client::delete_account`]. A guest is in
    /// conversations that admit guests; what takes an account is refused with `guest-denied`.
    ///
    /// # Errors
    ///
    /// [`Error::HomeInUse`], those of the store, and what the hub refuses: `guests-off`, `rate-limited`.
    pub async fn sign_up_guest(self, hub: &str, name: &DisplayName) -> Result<Client> {
        self.enter(Entry::Guest { name }, hub).await
    }

    /// Adds this home to an account as a further device. It joins all conversations of the user; what was said before stays
    /// with the devices that were there.
    ///
    /// A home that is a device of this account already, and whose session the hub has ended, goes on with a new one.
    ///
    /// # Errors
    ///
    /// As [`sign_up`](Self::sign_up), and `invalid-credentials`, `device-limit`; [`Error::DeviceRemoved`] for a home whose device
    /// was removed from the account.
    pub async fn log_in(self, hub: &str, handle: &str, password: &str) -> Result<Client> {
        self.enter(Entry::LogIn { handle, password }, hub).await
    }

    /// Opens a home that somebody is signed in with. Does not use the network.
    ///
    /// # Errors
    ///
    /// [`Error::NotSignedIn`], and those of the store: a missing or wrong key or passphrase, damage.
    pub async fn open(self) -> Result<Client> {
        let home = self.home.clone();
        let key_rotation = self.key_rotation;
        let store = match self.unlock(false).await {
            Err(Error::Store(StoreError::NotInitialised { .. })) => return Err(Error::NotSignedIn),
            opened => opened?,
        };
        tracing::debug!(home = %home.display(), "home opened");
        let client = Self::client(store, key_rotation)?;
        if let Err(error) = client.expire_now().await {
            // Nothing of it is shown either: reading deletes it first.
            tracing::warn!(code = error.code(), "what is over could not be deleted yet");
        }
        Ok(client)
    }

    async fn enter(self, entry: Entry<'_>, hub: &str) -> Result<Client> {
        let handle: Option<Handle> = match entry {
            Entry::SignUp { handle, .. } | Entry::LogIn { handle, .. } => Some(handle.parse()?),
            Entry::Guest { .. } => None,
        };
        let hub = Hub::new(hub)?;
        let label = self.label.clone();
        let key_rotation = self.key_rotation;
        let store = self.unlock(true).await?;
        if let Some(owner) = store.read(|r| r.setting(Setting::Handle))? {
            let own = handle.is_some_and(|handle| owner == handle.as_str())
                && store.read(|r| r.setting(Setting::Hub))?.as_deref() == Some(hub.address().as_str());
            return match entry {
                Entry::LogIn { password, .. } if own => {
                    Self::log_in_again(store, &hub, password, key_rotation).await
                }
                _ => Err(Error::HomeInUse { handle: owner }),
            };
        }
        let session = match entry {
            Entry::SignUp { handle, password, kind } => hub.sign_up(handle, password, kind).await?,
            Entry::LogIn { handle, password } => hub.log_in(handle, password).await?,
            Entry::Guest { name } => hub.sign_up_guest(name.as_str()).await?,
        };
        let domain: Domain = session
            .domain
            .parse()
            .map_err(|_| Error::UntrustworthyHub { what: "its domain is not a domain" })?;
        let device = DeviceId::random();
        let address = DeviceAddress::new(session.user, device, domain.clone());

        let engine = Session::open(store.clone(), Arc::new(HubLink::default()), SessionConfig::default())?;
        let mut tx = engine.new_transaction().await?;
        tx.add_credential(Credential::basic(ClientId::from(address.to_identity()), Ciphersuite::default())?)?;
        let mut settings = vec![
            (Setting::Hub, hub.address().to_string()),
            (Setting::User, session.user.to_string()),
            (Setting::Device, device.to_string()),
            (Setting::Handle, session.handle),
            (Setting::Domain, domain.to_string()),
            (Setting::Label, label),
            (Setting::Token, session.token),
            (Setting::Kind, session.kind.to_string()),
        ];
        settings.extend(session.expires_at.map(|at| (Setting::ExpiresAt, at.to_string())));
        tx.store_write(move |w| {
            settings.iter().try_for_each(|(setting, value)| w.put_setting(*setting, value))
        })?;
        tx.finish().await?;

        let client = Self::client(store, key_rotation)?;
        client.sync().await?;
        Ok(client)
    }

    /// Gives the device of this home a new session.
    async fn log_in_again(
        store: Store,
        hub: &Hub,
        password: &str,
        key_rotation: Option<Duration>,
    ) -> Result<Client> {
        let client = Self::client(store.clone(), key_rotation)?;
        let me = client.me();
        let session = hub.log_in(me.handle.as_str(), password).await?;
        if session.user != me.user {
            return Err(Error::UntrustworthyHub { what: "another user has this home's handle" });
        }
        let token = session.token;
        // Before it is kept: what is refused leaves the home as it was.
        client.resume(&hub.with_token(token.clone())).await?;
        let mut tx = client.inner().session.new_transaction().await?;
        tx.store_write(move |w| w.put_setting(Setting::Token, &token))?;
        tx.finish().await?;
        drop(client);
        let client = Self::client(store, key_rotation)?;
        client.sync().await?;
        Ok(client)
    }

    /// Opens the store; key derivation and the first write are slow enough to leave the async threads alone.
    async fn unlock(self, create: bool) -> Result<Store> {
        let opened = tokio::task::spawn_blocking(move || {
            if create && !Store::exists(&self.home) {
                Store::create(&self.home, &self.key)
            } else {
                Store::open(&self.home, &self.key)
            }
        });
        Ok(opened.await.expect("opening a store neither panics nor is cancelled")?)
    }

    fn client(store: Store, key_rotation: Option<Duration>) -> Result<Client> {
        let [hub, user, device, handle, domain, token] = {
            let values = store.read(|r| {
                SETTINGS.iter().map(|setting| r.setting(*setting)).collect::<std::result::Result<Vec<_>, _>>()
            })?;
            let values: Option<Vec<String>> = values.into_iter().collect();
            values.and_then(|values| values.try_into().ok()).ok_or(Error::NotSignedIn)?
        };
        let (kind, expires_at) = store
            .read(|r| Ok::<_, StoreError>((r.setting(Setting::Kind)?, r.setting(Setting::ExpiresAt)?)))?;
        let hub_address: Url = hub.parse().map_err(|_| Error::NotSignedIn)?;
        let me = Me {
            user: user.parse::<UserId>().map_err(|_| Error::NotSignedIn)?,
            domain: domain.parse().map_err(|_| Error::NotSignedIn)?,
            device: device.parse().map_err(|_| Error::NotSignedIn)?,
            handle: handle.parse()?,
            hub: hub_address,
            kind: kind.and_then(|kind| kind.parse().ok()).unwrap_or_default(),
            expires_at: expires_at.and_then(|at| at.parse().ok()),
        };
        let hub = Hub::new(&hub)?.with_token(token);
        let link = Arc::new(HubLink::default());
        link.set(hub.clone());
        let joined = MlsCustomConfiguration { key_rotation_span: key_rotation, ..Default::default() };
        let rules = ConversationRules { me: me.user, domain: me.domain.clone(), store: store.clone() };
        let config = SessionConfig { joined, group_rules: Some(Arc::new(rules)), ..Default::default() };
        let engine = Session::open(store.clone(), link, config)?;
        Ok(Client::from_inner(Inner::new(me, hub, store, engine)))
    }
}
