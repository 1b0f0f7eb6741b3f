//! Opening a home: for the first time by sign-up or log-in, later as it is.

use crate::{
    Client, Error, Result,
    client::{Inner, SETTINGS, now},
    envelopes::{ADDS_PER_COMMIT, Carriers, OwnInbox, home::name_by_key},
    link::HubLink,
    model::Me,
    own_types::{OwnTypes, TypeError},
    rules::ConversationRules,
    token::HomeKeeper,
};
use std::{path::PathBuf, sync::Arc, time::Duration};
use tertulia_conversation::{
    hint::APPLICATION_WINDOW,
    inbox::{IdentityKey, KEY_DOMAIN, Replays, Signer as _, device_address},
    types::ConversationType,
};
use tertulia_domain::{AccountKind, DeviceAddress, DeviceId, DisplayName, Domain, Handle, UserId};
use tertulia_mls::{Ciphersuite, ClientId, Credential, MlsCustomConfiguration, Session, SessionConfig};
use tertulia_store::{IdentityRecord, KeySource, Setting, Store, StoreError};
use tertulia_transport::{Delivery, Hub, Relay};
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
    options: Options,
}

/// What an application chooses each time it opens a home.
#[derive(Debug, Clone)]
struct Options {
    key_rotation: Option<Duration>,
    carriers: Vec<Arc<dyn Delivery>>,
    cover: Option<Duration>,
    types: OwnTypes,
    /// The first type that was refused.
    refused: Option<TypeError>,
}

impl ClientBuilder {
    pub(crate) fn new(home: PathBuf) -> Self {
        let label = std::env::consts::OS.to_owned();
        let options = Options {
            key_rotation: Some(KEY_ROTATION),
            carriers: Vec::new(),
            cover: None,
            types: OwnTypes::default(),
            refused: None,
        };
        Self { home, key: KeySource::File, label, options }
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
    pub fn key_rotation(mut self, span: Option<Duration>) -> Self {
        self.options.key_rotation = span;
        self
    }

    /// Adds something that carries envelopes, beside the relays of the home: it is to be given each time the home is opened.
    #[must_use]
    pub fn carrier(mut self, carrier: Arc<dyn Delivery>) -> Self {
        self.options.carriers.push(carrier);
        self
    }

    /// Registers a type of conversations of the application's own: it is to be given each time the home is opened. What is wrong with it is told
    /// then, by [`Error::Type`].
    #[must_use]
    pub fn with_type<T: ConversationType>(mut self) -> Self {
        if let Err(refused) = self.options.types.register::<T>() {
            self.options.refused.get_or_insert(refused);
        }
        self
    }

    fn check_types(&self) -> Result<()> {
        self.options.refused.map_or(Ok(()), |refused| Err(refused.into()))
    }

    /// Sends cover traffic in private conversations that travel in envelopes: messages that say nothing and look like others, at random times, so long
    /// apart on average. [`Client::sync`] and [`Client::events`] send what is due. None unless given; at least a second.
    #[must_use]
    pub fn cover_traffic(mut self, apart: Option<Duration>) -> Self {
        self.options.cover = apart.map(|apart| apart.max(Duration::from_secs(1)));
        self
    }

    /// Makes a home without an account: a person of their own, known by a key, whose conversations travel through these relays. Others reach
    /// them by what [`Client::intro`] shows. Uses no network.
    ///
    /// Every relay gets every envelope, so that it is enough if one of them is up. The first of them orders what needs an order.
    ///
    /// # Errors
    ///
    /// [`Error::HomeInUse`], [`Error::Type`], [`Error::NoCarrier`] without a relay and a [carrier](Self::carrier), those of a wrong address, those of the store.
    pub async fn init<R: AsRef<str>>(self, relays: &[R]) -> Result<Client> {
        self.check_types()?;
        let mut addresses = Vec::new();
        for relay in relays {
            // As it is written from now on, and once.
            let address = Relay::new(relay.as_ref())?.address().to_string();
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        let (label, options) = (self.label.clone(), self.options.clone());
        if addresses.is_empty() && options.carriers.is_empty() {
            return Err(Error::NoCarrier);
        }
        let store = self.unlock(true).await?;
        if let Some(owner) = store.read(|r| r.setting(Setting::Handle))? {
            return Err(Error::HomeInUse { handle: owner });
        }
        let identity = IdentityKey::generate(&mut rand::rng());
        let identity_key = identity.public_key();
        let engine = Session::open(store.clone(), Arc::new(HubLink::default()), SessionConfig::default())?;
        let credential = Credential::basic_named_by_key(Ciphersuite::default(), |key| {
            let key = key.try_into().expect("a public key of Ed25519 has 32 bytes");
            ClientId::from(device_address(&identity_key, key).to_identity())
        })?;
        let address = DeviceAddress::from_identity(credential.client_id().as_bytes())
            .expect("it was written as one just now");
        let mut tx = engine.new_transaction().await?;
        tx.add_credential(credential)?;
        let settings = [
            (Setting::User, address.user.to_string()),
            (Setting::Device, address.device.to_string()),
            (Setting::Handle, name_by_key(&identity_key, 8).to_string()),
            (Setting::Domain, KEY_DOMAIN.to_owned()),
            (Setting::Label, label),
        ];
        let record = IdentityRecord { secret: identity.secret(), replays: Replays::default().encode() };
        tx.store_write(move |w| {
            settings.iter().try_for_each(|(setting, value)| w.put_setting(*setting, value))?;
            w.put_identity(&record)?;
            w.replace_relays(&addresses)
        })?;
        tx.finish().await?;
        Self::client(store, options)
    }

    /// Creates an account on the hub, with this home as its first device.
    ///
    /// # Errors
    ///
    /// [`Error::HomeInUse`], [`Error::Type`], [`Error::InvalidHandle`], those of the store, and what the hub refuses: `handle-taken`,
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
    /// [`Error::NotSignedIn`], [`Error::Type`], and those of the store: a missing or wrong key or passphrase, damage.
    pub async fn open(self) -> Result<Client> {
        self.check_types()?;
        let home = self.home.clone();
        let options = self.options.clone();
        let store = match self.unlock(false).await {
            Err(Error::Store(StoreError::NotInitialised { .. })) => return Err(Error::NotSignedIn),
            opened => opened?,
        };
        tracing::debug!(home = %home.display(), "home opened");
        let client = Self::client(store, options)?;
        if let Err(error) = client.expire_now().await {
            // Nothing of it is shown either: reading deletes it first.
            tracing::warn!(code = error.code(), "what is over could not be deleted yet");
        }
        Ok(client)
    }

    async fn enter(self, entry: Entry<'_>, hub: &str) -> Result<Client> {
        self.check_types()?;
        let handle: Option<Handle> = match entry {
            Entry::SignUp { handle, .. } | Entry::LogIn { handle, .. } => Some(handle.parse()?),
            Entry::Guest { .. } => None,
        };
        let hub = Hub::new(hub)?;
        let label = self.label.clone();
        let options = self.options.clone();
        let store = self.unlock(true).await?;
        if let Some(owner) = store.read(|r| r.setting(Setting::Handle))? {
            let own = handle.is_some_and(|handle| owner == handle.as_str())
                && store.read(|r| r.setting(Setting::Hub))?.as_deref() == Some(hub.address().as_str());
            return match entry {
                Entry::LogIn { password, .. } if own => {
                    Self::log_in_again(store, &hub, password, options).await
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
            (Setting::TokenAt, now().to_string()),
            (Setting::Kind, session.kind.to_string()),
        ];
        settings.extend(session.expires_at.map(|at| (Setting::ExpiresAt, at.to_string())));
        tx.store_write(move |w| {
            settings.iter().try_for_each(|(setting, value)| w.put_setting(*setting, value))
        })?;
        tx.finish().await?;

        let client = Self::client(store, options)?;
        client.sync().await?;
        Ok(client)
    }

    /// Gives the device of this home a new session.
    async fn log_in_again(store: Store, hub: &Hub, password: &str, options: Options) -> Result<Client> {
        let client = Self::client(store.clone(), options.clone())?;
        let me = client.me();
        let session = hub.log_in(me.handle.as_str(), password).await?;
        if session.user != me.user {
            return Err(Error::UntrustworthyHub { what: "another user has this home's handle" });
        }
        let token = session.token;
        // Before it is kept: what is refused leaves the home as it was.
        client.resume(&hub.with_token(token.clone())).await?;
        let mut tx = client.inner().session.new_transaction().await?;
        tx.store_write(move |w| {
            w.put_setting(Setting::Token, &token)?;
            w.put_setting(Setting::TokenBefore, "")?;
            w.put_setting(Setting::TokenAt, &now().to_string())
        })?;
        tx.finish().await?;
        drop(client);
        let client = Self::client(store, options)?;
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

    fn client(store: Store, options: Options) -> Result<Client> {
        let Options { key_rotation, carriers, cover, types, refused: _ } = options;
        let [user, device, handle, domain] = {
            let values = store.read(|r| {
                SETTINGS.iter().map(|setting| r.setting(*setting)).collect::<std::result::Result<Vec<_>, _>>()
            })?;
            let values: Option<Vec<String>> = values.into_iter().collect();
            values.and_then(|values| values.try_into().ok()).ok_or(Error::NotSignedIn)?
        };
        let (kind, expires_at) = store
            .read(|r| Ok::<_, StoreError>((r.setting(Setting::Kind)?, r.setting(Setting::ExpiresAt)?)))?;
        let (hub, token) =
            store.read(|r| Ok::<_, StoreError>((r.setting(Setting::Hub)?, r.setting(Setting::Token)?)))?;
        let relays = store.read(|r| r.relays())?;
        let identity = store.read(|r| r.identity())?;
        let inbox = identity.as_ref().map(|record| OwnInbox::of(&IdentityKey::from_secret(&record.secret)));
        let hub = match (hub, token) {
            (Some(hub), Some(token)) => {
                Some(Hub::new(&hub)?.with_keeper(token, Arc::new(HomeKeeper(store.clone()))))
            }
            // Without an account there is an identity.
            _ if identity.is_some() => None,
            _ => return Err(Error::NotSignedIn),
        };
        let me = Me {
            user: user.parse::<UserId>().map_err(|_| Error::NotSignedIn)?,
            domain: domain.parse().map_err(|_| Error::NotSignedIn)?,
            device: device.parse().map_err(|_| Error::NotSignedIn)?,
            handle: handle.parse()?,
            hub: hub.as_ref().map(|hub| hub.address().clone()),
            relays: relays.iter().filter_map(|relay| Url::parse(relay).ok()).collect(),
            kind: kind.and_then(|kind| kind.parse().ok()).unwrap_or_default(),
            expires_at: expires_at.and_then(|at| at.parse().ok()),
        };
        let carriers = Carriers::of(&store, carriers)?;
        let link = Arc::new(HubLink::default());
        if let Some(hub) = &hub {
            link.set(hub.clone());
        }
        let mut joined = MlsCustomConfiguration { key_rotation_span: key_rotation, ..Default::default() };
        if hub.is_none() {
            // Carriers overtake each other, and some lose what another brings later: whatever a hint still recognises can be read.
            joined.out_of_order_tolerance = APPLICATION_WINDOW;
        }
        let rules = ConversationRules::of(&me, &store);
        let mut config = SessionConfig { joined, group_rules: Some(Arc::new(rules)), ..Default::default() };
        if hub.is_none() {
            config.adds_per_commit = ADDS_PER_COMMIT;
        }
        let engine = Session::open(store.clone(), Arc::clone(&link) as _, config)?;
        let client = Client::from_inner(Inner::new(me, hub, (carriers, inbox, cover), types, store, engine));
        link.follow(&client);
        Ok(client)
    }
}
