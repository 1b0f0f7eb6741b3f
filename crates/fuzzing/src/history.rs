//! History: secrets as a member could make them, and a log as a hub could give it.

use std::cell::OnceCell;

use sha2::{Digest as _, Sha256};
use tertulia_mls::{
    ConversationGuard, HistoryClient, HistorySecret, MlsConversationConfiguration,
    MlsConversationDecryptMessage,
};
use tokio::runtime::Runtime;

use crate::{
    device::{Device, conversation},
    hub::Hub,
    script,
    world::runtime,
};

/// What is said in the span.
const TEXTS: [&str; 4] = ["one", "two", "three", "four"];

/// The label of the checksum in a secret.
const CHECKSUM_LABEL: &[u8] = b"tertulia history secret 1";
const CHECKSUM: usize = 32;

/// A span with its secret, and the log of its conversation.
struct Span {
    alice: Device,
    secret: Vec<u8>,
    log: Vec<Vec<u8>>,
}

fn with_span<R>(f: impl FnOnce(&Span) -> R) -> R {
    thread_local! {
        static SPAN: OnceCell<(Runtime, Span)> = const { OnceCell::new() };
    }
    SPAN.with(|span| {
        let (_, span) = span.get_or_init(|| {
            let runtime = runtime();
            let span = runtime.block_on(Span::begin());
            (runtime, span)
        });
        f(span)
    })
}

impl Span {
    /// Alice and Bob talk in the span, each changes something, and Alice ends it.
    async fn begin() -> Self {
        let hub = Hub::default();
        let (alice, bob) = (Device::new(&hub, 1).await, Device::new(&hub, 2).await);
        let mut tx = alice.session.new_transaction().await.expect("nobody else writes");
        let config = MlsConversationConfiguration::default();
        tx.new_conversation(&conversation(), &alice.credential, config).expect("the first conversation");
        let mut guard = tx.conversation(&conversation()).await.expect("it was created");
        guard.enable_history_sharing().await.expect("the hub is fair");
        say(&hub, &mut guard, TEXTS[0]);
        guard.add_members(vec![bob.key_package().await]).await.expect("the hub is fair");
        let joined = hub.state().log.len();
        tx.finish().await.expect("the disk works");

        let welcome = hub.state().welcomes.last().expect("Bob was added").0.clone();
        let mut tx = bob.session.new_transaction().await.expect("nobody else writes");
        tx.process_welcome(&welcome).expect("the welcome is for this device");
        let mut guard = tx.conversation(&conversation()).await.expect("it is joined");
        say(&hub, &mut guard, TEXTS[1]);
        guard.update_key_material().await.expect("the hub is fair");
        tx.finish().await.expect("the disk works");
        let mut tx = bob.session.new_transaction().await.expect("nobody else writes");
        let update = tx.new_update_proposal(&conversation()).await.expect("nothing is pending");
        tx.finish().await.expect("the disk works");
        hub.state().log.push(update.proposal);

        let unread = hub.state().log[joined..].to_vec();
        let mut tx = alice.session.new_transaction().await.expect("nobody else writes");
        let mut guard = tx.conversation(&conversation()).await.expect("it was created");
        for message in &unread {
            guard.decrypt_message(message).expect("the hub has ordered it");
        }
        guard.commit_pending_proposals().await.expect("the hub is fair");
        say(&hub, &mut guard, TEXTS[2]);
        say(&hub, &mut guard, TEXTS[3]);
        guard.disable_history_sharing().await.expect("the hub is fair");
        say(&hub, &mut guard, "after the span");
        let secret = guard.history_spans().expect("the store can be read").remove(0).secret;
        tx.finish().await.expect("the disk works");
        let log = hub.state().log.clone();
        Self { secret: secret.as_bytes().to_vec(), log, alice }
    }

    fn open(&self, bytes: &[u8]) -> Option<HistoryClient> {
        let secret = HistorySecret::from_bytes(bytes).ok()?;
        assert_eq!(secret.as_bytes(), bytes, "what was read is kept as it is");
        self.alice.session.open_history(&secret).ok()
    }
}

fn say(hub: &Hub, guard: &mut ConversationGuard<'_>, text: &str) {
    let message = guard.encrypt_message(text).expect("nothing is pending");
    hub.state().log.push(message);
}

/// A real secret, and what stands in the log.
pub(crate) fn samples() -> Vec<Vec<u8>> {
    with_span(|span| [&[span.secret.clone()][..], &span.log].concat())
}

/// The first byte chooses what the rest is: a secret, a secret whose checksum is made to be right, or a message that a
/// reader gets after so many of the log.
pub fn history(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    with_span(|span| {
        let secret = std::slice::from_ref(&span.secret);
        match choice % 4 {
            0 => drop(span.open(&script::message(rest, secret)).map(|reader| read(reader, &span.log))),
            1 => {
                let content = &span.secret[..span.secret.len() - CHECKSUM];
                let content = script::message(rest, &[content.to_vec()]);
                drop(span.open(&with_checksum(content)).map(|reader| read(reader, &span.log)));
            }
            _ => {
                let place = usize::from(choice / 4) % (span.log.len() + 1);
                interrupt(span, place, &script::message(rest, &span.log));
            }
        }
    });
}

fn with_checksum(mut content: Vec<u8>) -> Vec<u8> {
    let sum = Sha256::new().chain_update(Sha256::digest(CHECKSUM_LABEL)).chain_update(&content).finalize();
    content.extend_from_slice(&sum);
    content
}

fn read(mut reader: HistoryClient, log: &[Vec<u8>]) -> Vec<Vec<u8>> {
    log.iter().filter_map(|message| process(&mut reader, message)?.app_msg).collect()
}

/// Reads a message. After an error the reader is where it was.
fn process(reader: &mut HistoryClient, message: &[u8]) -> Option<MlsConversationDecryptMessage> {
    let state = |reader: &HistoryClient| {
        (reader.epoch(), reader.last_epoch(), reader.epoch_authenticator().expect("the state is whole"))
    };
    let before = state(reader);
    let result = reader.process(message);
    if let Err(error) = &result {
        assert_eq!(state(reader), before, "after {error:?}");
    }
    result.ok()
}

/// Whatever comes in between: all that was said is read, once.
fn interrupt(span: &Span, place: usize, message: &[u8]) {
    let mut reader = span.open(&span.secret).expect("it is genuine");
    let mut texts = Vec::new();
    let (before, after) = span.log.split_at(place);
    for message in before.iter().map(Vec::as_slice).chain([message]).chain(after.iter().map(Vec::as_slice)) {
        texts.extend(process(&mut reader, message).and_then(|read| read.app_msg));
    }
    let mut said = TEXTS.map(|text| text.as_bytes().to_vec());
    said.sort();
    texts.sort();
    assert_eq!(texts, said);
}
