//! Light members of a group: real accounts, devices and keys, whose messages are encrypted in advance and sent as they are.

use crate::Outcome;
use std::{path::Path, sync::Arc};
use tertulia_api::{
    Base64,
    account::NewDevice,
    conversation::NewConversation,
    event::{EventBody, EventQuery},
    policy::encode,
};
use tertulia_domain::{
    AccountKind, ConversationId, ConversationType, DeviceAddress, DeviceId, Domain, Handle, Handshake,
    Protocol, Role, UserId, connection::Status, policy::Policy,
};
use tertulia_mls::{
    Ciphersuite, ClientId, CommitOptions, Credential, CredentialRef, KeyPackage,
    MlsConversationConfiguration, Session, SessionConfig,
};
use tertulia_store::{KeySource, Store};
use tertulia_testkit::commits::Commits;
use tertulia_transport::{Hub, Token};

/// The password of everybody.
pub(crate) const PASSWORD: &str = "correct horse battery staple";

/// A member with one device.
#[derive(Clone)]
pub(crate) struct Member {
    user: UserId,
    handle: Handle,
    token: String,
    hub: Hub,
    session: Session,
    credential: CredentialRef,
    conversation: ConversationId,
}

/// Signs so many people up, and makes a group of them. Nothing goes wrong yet: what fails here, fails all.
pub(crate) async fn make_group(url: &str, place: &Path, members: usize) -> Outcome<Vec<Member>> {
    let conversation = ConversationId::random();
    let mut people = Vec::with_capacity(members);
    for number in 0..members {
        people.push(Member::new(url, place, &format!("member-{number}"), conversation).await?);
    }
    let (creator, others) = people.split_first().ok_or("a group has members")?;
    for other in others {
        creator.hub.connect(&other.handle).await?;
        other.hub.update_connection(creator.user, Status::Accepted).await?;
    }
    creator.create_group(others).await?;
    for other in others {
        other.join().await?;
    }
    Ok(people)
}

impl Member {
    async fn new(url: &str, place: &Path, name: &str, conversation: ConversationId) -> Outcome<Self> {
        let hub = Hub::new(url)?;
        let account = hub.sign_up(name, PASSWORD, AccountKind::default()).await?;
        let hub = hub.with_token(Token::from(account.token.clone()));

        let store = Store::create(&place.join(name), &KeySource::File)?;
        let session = Session::open(store, Arc::new(Commits(hub.clone())), SessionConfig::default())?;
        let device = DeviceId::random();
        let domain: Domain = account.domain.parse()?;
        let identity = DeviceAddress { user: account.user, device, domain }.to_identity();
        let mut tx = session.new_transaction().await?;
        let credential =
            tx.add_credential(Credential::basic(ClientId::from(identity), Ciphersuite::default())?)?;
        let key_packages = tx.generate_key_packages(&credential, 1, None)?;
        tx.finish().await?;
        hub.register_device(&NewDevice {
            device,
            label: name.to_owned(),
            signature_key: credential.public_key().to_vec().into(),
            key_packages: key_packages.into_iter().map(|package| package.into_bytes().into()).collect(),
            last_resort: None,
        })
        .await?;
        let handle = account.handle.parse()?;
        Ok(Self { user: account.user, handle, token: account.token, hub, session, credential, conversation })
    }

    async fn create_group(&self, others: &[Self]) -> Outcome<()> {
        let new = NewConversation {
            conversation: self.conversation,
            protocol: Protocol::Mls,
            handshake: Handshake::default(),
            team: false,
            parent: None,
        };
        self.hub.create_conversation(&new).await?;
        let claimed = self.hub.claim_key_packages(others.iter().map(|other| other.user).collect()).await?;
        let key_packages = claimed
            .key_packages
            .iter()
            .map(|claimed| KeyPackage::from_bytes(claimed.key_package.as_ref()))
            .collect::<Result<Vec<_>, _>>()?;
        let mut configuration = MlsConversationConfiguration::default();
        configuration.set_raw_external_senders([self.hub.keys().await?.external_sender])?;
        let policy = Policy::new(self.conversation, ConversationType::Group, self.user)?;
        configuration.group_data = Some(encode(&policy));
        let policy = policy.with_members(others.iter().map(|other| other.user), &Role::MEMBER);
        let options = CommitOptions::default().with_group_data(encode(&policy));
        let mut tx = self.session.new_transaction().await?;
        tx.new_conversation(&self.group(), &self.credential, configuration)?;
        tx.conversation(&self.group()).await?.change_members(key_packages, &[], options).await?;
        tx.finish().await?;
        Ok(())
    }

    /// Joins by the Welcome among the device's events.
    async fn join(&self) -> Outcome<()> {
        let page = self.hub.events(&EventQuery::default()).await?;
        let welcome = page.events.into_iter().find_map(|event| match event.body {
            EventBody::Commit { welcome, .. } => welcome,
            _ => None,
        });
        let Base64(welcome) = welcome.ok_or("there is no Welcome among the first events")?;
        let mut tx = self.session.new_transaction().await?;
        tx.process_welcome(&welcome)?;
        tx.finish().await?;
        Ok(())
    }

    /// Encrypts the same text so many times.
    pub(crate) async fn encrypt(&self, text: &[u8], count: usize) -> Outcome<Vec<Vec<u8>>> {
        let mut tx = self.session.new_transaction().await?;
        let group = self.group();
        let mut conversation = tx.conversation(&group).await?;
        let messages = (0..count).map(|_| conversation.encrypt_message(text)).collect::<Result<_, _>>()?;
        tx.finish().await?;
        Ok(messages)
    }

    /// The way to the hub.
    pub(crate) fn hub(&self) -> &Hub {
        &self.hub
    }

    /// The way to the hub at another address.
    pub(crate) fn hub_at(&self, url: &str) -> Outcome<Hub> {
        Ok(Hub::new(url)?.with_token(Token::from(self.token.clone())))
    }

    pub(crate) fn conversation(&self) -> ConversationId {
        self.conversation
    }

    fn group(&self) -> tertulia_mls::ConversationId {
        self.conversation.as_bytes().into()
    }
}
