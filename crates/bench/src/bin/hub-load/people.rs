//! The members of the group: real accounts with real devices in a real MLS group, and the messages that they send.

use crate::Outcome;
use std::{path::Path, sync::Arc};
use tertulia_api::{
    account::{NewDevice, Session as Opened},
    conversation::NewConversation,
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

const PASSWORD: &str = "correct horse battery staple";

/// As many as a hub allows a user by default.
const DEVICES: u32 = 8;

/// A group with all devices of its members in it.
#[derive(Clone)]
pub(crate) struct Group {
    pub(crate) conversation: ConversationId,
    /// The sessions' tokens of its devices, at least one of each member.
    pub(crate) tokens: Vec<String>,
    /// Length of a message that was encrypted by a member.
    length: usize,
}

/// A member's device.
struct Device {
    hub: Hub,
    user: UserId,
    handle: Handle,
    token: String,
    credential: CredentialRef,
}

impl Group {
    /// Signs so many people up with so many devices altogether, connects the first with all others, and makes a group of them.
    /// `bytes` is the length of a message before encryption.
    pub(crate) async fn make(
        url: &str,
        place: &Path,
        (members, devices): (u32, u32),
        bytes: usize,
    ) -> Outcome<Self> {
        if members < 2 || devices < members || devices > members * DEVICES - (DEVICES - 1) {
            return Err(format!("{members} members cannot have {devices} devices to send from").into());
        }
        let hub = Hub::new(url)?;
        let store = Store::create(&place.join("keys"), &KeySource::File)?;
        let creator = account(&hub, 0).await?;
        let commits = Commits(hub.with_token(Token::from(creator.token.clone())));
        // One engine for the devices of all, of which only the first has the group: what the others send, nobody decrypts.
        let session = Session::open(store, Arc::new(commits), SessionConfig::default())?;
        let creator = Device::register(&hub, &session, creator).await?;
        let mut others = Vec::new();
        for number in 1..devices {
            let person = (number - 1) % (members - 1) + 1;
            let first = number < members;
            let opened = if first {
                account(&hub, person).await?
            } else {
                hub.log_in(&name(person), PASSWORD).await?
            };
            let device = Device::register(&hub, &session, opened).await?;
            if first {
                creator.hub.connect(&device.handle).await?;
                device.hub.update_connection(creator.user, Status::Accepted).await?;
            }
            others.push(device);
        }
        let users = others.iter().take(members as usize - 1).map(|device| device.user).collect();
        let (conversation, length) = create_group(&session, &creator, users, bytes).await?;
        let tokens = [creator].into_iter().chain(others).map(|device| device.token).collect();
        Ok(Self { conversation, tokens, length })
    }

    /// Another message: of the form and length of one that a member has encrypted, with content of its own. A hub cannot read
    /// more of it than this.
    pub(crate) fn message(&self) -> Vec<u8> {
        let group_id = self.conversation.as_bytes();
        let mut message = Vec::with_capacity(self.length);
        message.extend([0, 1, 0, 2]); // MLS 1.0, a PrivateMessage (RFC 9420 section 6)
        message.push(u8::try_from(group_id.len()).expect("16 bytes"));
        message.extend(group_id);
        message.extend(1_u64.to_be_bytes()); // the epoch
        message.extend([1, 0]); // application data, nothing authenticated besides
        message.push(SENDER_DATA);
        message.extend(rand::random::<[u8; SENDER_DATA as usize]>());
        let ciphertext = self.length - message.len() - 2;
        let length = u16::try_from(ciphertext).expect("a message of some kilobytes") | 0x4000;
        message.extend(length.to_be_bytes());
        let begin = message.len();
        message.resize(self.length, 0);
        rand::fill(&mut message[begin..]);
        message
    }

    /// The path that messages are posted to.
    pub(crate) fn path(&self) -> String {
        format!("/v1/conversations/{}/messages", self.conversation)
    }
}

/// Length of the encrypted sender data: two numbers of 4 bytes, 4 bytes of a reuse guard, and the tag.
const SENDER_DATA: u8 = 28;

fn name(person: u32) -> String {
    format!("member-{person}")
}

async fn account(hub: &Hub, person: u32) -> Outcome<Opened> {
    Ok(hub.sign_up(&name(person), PASSWORD, AccountKind::default()).await?)
}

impl Device {
    /// A device of the session's user, with a key package for the group.
    async fn register(hub: &Hub, session: &Session, opened: Opened) -> Outcome<Self> {
        let hub = hub.with_token(Token::from(opened.token.clone()));
        let device = DeviceId::random();
        let domain: Domain = opened.domain.parse()?;
        let identity = DeviceAddress { user: opened.user, device, domain }.to_identity();
        let mut tx = session.new_transaction().await?;
        let credential =
            tx.add_credential(Credential::basic(ClientId::from(identity), Ciphersuite::default())?)?;
        let key_packages = tx.generate_key_packages(&credential, 1, None)?;
        tx.finish().await?;
        hub.register_device(&NewDevice {
            device,
            label: "a device".to_owned(),
            signature_key: credential.public_key().to_vec().into(),
            key_packages: key_packages.into_iter().map(|one| one.into_bytes().into()).collect(),
            last_resort: None,
        })
        .await?;
        Ok(Self { hub, user: opened.user, handle: opened.handle.parse()?, token: opened.token, credential })
    }
}

/// Makes the group of all devices of these users. Also the length of a message of so many bytes in it.
async fn create_group(
    session: &Session,
    creator: &Device,
    users: Vec<UserId>,
    bytes: usize,
) -> Outcome<(ConversationId, usize)> {
    let conversation = ConversationId::random();
    let new = NewConversation {
        conversation,
        protocol: Protocol::Mls,
        handshake: Handshake::default(),
        team: false,
        parent: None,
    };
    creator.hub.create_conversation(&new).await?;
    let claimed = creator.hub.claim_key_packages(users.clone()).await?.key_packages;
    let key_packages = claimed
        .iter()
        .map(|claimed| KeyPackage::from_bytes(claimed.key_package.as_ref()))
        .collect::<Result<_, _>>()?;
    let mut configuration = MlsConversationConfiguration::default();
    configuration.set_raw_external_senders([creator.hub.keys().await?.external_sender])?;
    let policy = Policy::new(conversation, ConversationType::Group, creator.user)?;
    configuration.group_data = Some(encode(&policy));
    let policy = policy.with_members(users, &Role::MEMBER);
    let options = CommitOptions::default().with_group_data(encode(&policy));
    let group: tertulia_mls::ConversationId = conversation.as_bytes().into();
    let mut tx = session.new_transaction().await?;
    tx.new_conversation(&group, &creator.credential, configuration)?;
    tx.conversation(&group).await?.change_members(key_packages, &[], options).await?;
    tx.finish().await?;
    let mut tx = session.new_transaction().await?;
    let message = tx.conversation(&group).await?.encrypt_message(vec![b'x'; bytes])?;
    tx.finish().await?;
    let length = message.len();
    creator.hub.send_message(conversation, message).await?;
    Ok((conversation, length))
}
