//! The members of the group: real accounts and devices, real keys.

use crate::Outcome;
use std::{path::Path, sync::Arc};
use tertulia_api::{
    Base64,
    account::NewDevice,
    conversation::NewConversation,
    event::{EventBody, EventQuery},
};
use tertulia_domain::{
    AccountKind, ConversationId, DeviceAddress, DeviceId, Domain, Handle, Handshake, Protocol, UserId,
    connection::Status,
};
use tertulia_mls::{
    Ciphersuite, ClientId, CommitOutcome, Credential, CredentialRef, KeyPackage, MlsCommitBundle,
    MlsConversationConfiguration, MlsTransport, RejectReason, Session, SessionConfig,
};
use tertulia_store::{KeySource, Store};
use tertulia_transport::{Hub, Token};

const PASSWORD: &str = "correct horse battery staple";

/// A member with one device.
#[derive(Clone)]
pub(crate) struct Person {
    user: UserId,
    handle: Handle,
    token: String,
    hub: Hub,
    session: Session,
    credential: CredentialRef,
    conversation: ConversationId,
}

/// Signs so many people up, connects the first with all others, and makes a group of them.
pub(crate) async fn make_group(url: &str, place: &Path, members: usize) -> Outcome<Vec<Person>> {
    let conversation = ConversationId::random();
    let mut people = Vec::with_capacity(members);
    for number in 0..members {
        people.push(Person::new(url, place, &format!("member-{number}"), conversation).await?);
    }
    let (creator, others) = people.split_first().expect("there are members");
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

impl Person {
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
            key_packages: key_packages
                .into_iter()
                .map(|key_package| key_package.into_bytes().into())
                .collect(),
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
        let mut tx = self.session.new_transaction().await?;
        tx.new_conversation(&self.group(), &self.credential, configuration)?;
        tx.conversation(&self.group()).await?.add_members(key_packages).await?;
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
    pub(crate) async fn encrypt(&self, text: &[u8], count: u64) -> Outcome<Vec<Vec<u8>>> {
        let mut tx = self.session.new_transaction().await?;
        let group = self.group();
        let mut conversation = tx.conversation(&group).await?;
        let messages = (0..count).map(|_| conversation.encrypt_message(text)).collect::<Result<_, _>>()?;
        tx.finish().await?;
        Ok(messages)
    }

    /// Sends an encrypted message, and waits until it is accepted.
    pub(crate) async fn send(&self, message: Vec<u8>) -> Outcome<()> {
        self.hub.send_message(self.conversation, message).await?;
        Ok(())
    }

    /// The same person, at another address of the hub.
    pub(crate) fn at(&self, url: &str) -> Outcome<Self> {
        let hub = Hub::new(url)?.with_token(Token::from(self.token.clone()));
        Ok(Self { hub, ..self.clone() })
    }

    /// Reads all events of the device, and counts the messages of the group among them.
    pub(crate) async fn count_messages(&self) -> Outcome<u64> {
        let mut query = EventQuery { limit: Some(1000), ..EventQuery::default() };
        let mut messages = 0;
        loop {
            let page = self.hub.events(&query).await?;
            messages += page
                .events
                .iter()
                .map(|event| u64::from(matches!(event.body, EventBody::Message { .. })))
                .sum::<u64>();
            if !page.more {
                return Ok(messages);
            }
            query.since = Some(page.cursor);
        }
    }

    fn group(&self) -> tertulia_mls::ConversationId {
        self.conversation.as_bytes().into()
    }
}

/// The engine's way to the hub.
struct Commits(Hub);

#[async_trait::async_trait]
impl MlsTransport for Commits {
    async fn send_commit_bundle(
        &self,
        conversation: &tertulia_mls::ConversationId,
        bundle: MlsCommitBundle,
    ) -> CommitOutcome {
        let bytes = conversation.as_bytes().try_into().expect("our groups have the conversation's id");
        let MlsCommitBundle { commit, group_info, welcome, encrypted_message } = bundle;
        let body =
            [commit, group_info.payload, welcome.unwrap_or_default(), encrypted_message.unwrap_or_default()]
                .concat();
        match self.0.send_commit(ConversationId::from_bytes(bytes), body).await {
            Ok(_) => CommitOutcome::Accepted,
            // Nothing is retried here, so why it failed is all that matters.
            Err(error) => CommitOutcome::Rejected(RejectReason::Refused {
                code: error.code().to_owned(),
                detail: error.to_string(),
            }),
        }
    }
}
