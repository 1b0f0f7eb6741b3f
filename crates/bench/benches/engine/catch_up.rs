//! A device that was away: many messages to decrypt and to store.

use std::time::{Duration, Instant};

use tertulia_bench::EngineGroup;
use tertulia_content::{MessageId, MimiContent, uri};
use tertulia_domain::{ConversationId, DeviceAddress, Sequence};
use tertulia_mls::TransactionContext;
use tertulia_store::NewMessage;

use crate::{
    Bench, Outcome,
    report::{self, Row, Value},
    sample::Samples,
};

const MEMBERS: usize = 100;
const MESSAGES: usize = 10_000;
const BAR: Duration = Duration::from_millis(1500);

/// How many events the client asks for, and writes in one transaction.
const PAGE: usize = 200;

/// Bytes of text in each message.
const TEXT: usize = 1024;

pub(crate) fn measure(bench: &mut Bench) -> Outcome<()> {
    if bench.sizes(&[MEMBERS]).is_empty() {
        return Ok(());
    }
    report::note(&format!("encrypting {MESSAGES} messages"));
    let group = bench.runtime.block_on(EngineGroup::new(bench.key_packages[..MEMBERS - 2].to_vec()))?;
    let mut samples = Samples::default();
    for _ in 0..3 {
        let text = MimiContent::markdown("x".repeat(TEXT)).encode()?;
        let messages = bench.runtime.block_on(async {
            let mut messages = Vec::with_capacity(MESSAGES);
            while messages.len() < MESSAGES {
                messages.extend(group.encrypt_many(&text, PAGE).await?);
            }
            Ok::<_, tertulia_mls::EngineError>(messages)
        })?;
        let conversation = ConversationId::random();
        let begun = Instant::now();
        for (number, page) in messages.chunks(PAGE).enumerate() {
            bench.runtime.block_on(take(&group, conversation, number * PAGE, page))?;
        }
        samples.push_cold(begun.elapsed());
    }
    bench.report.push(
        Row::median(format!("catch up {MESSAGES} messages, decrypted and stored"), &samples, 1)
            .members(MEMBERS)
            .at_most(Value::Time(BAR)),
    );
    Ok(())
}

/// One page, as the client takes it: the messages and the cursor in one transaction with the keys that they use up.
async fn take(
    group: &EngineGroup,
    conversation: ConversationId,
    first: usize,
    page: &[Vec<u8>],
) -> Outcome<()> {
    let session = group.reader();
    let mut tx = session.new_transaction().await?;
    for (message, sequence) in page.iter().zip(first as u64..) {
        if session.store().read(|r| r.outbox_by_ciphertext(message))?.is_none() {
            let decrypted = tx.conversation(group.id()).await?.decrypt_message(message)?;
            let author = decrypted.sender_client_id.ok_or("a message without an author")?;
            let author = DeviceAddress::from_identity(author.as_bytes())?;
            let content = decrypted.app_msg.ok_or("a message without content")?;
            store(&mut tx, conversation, Sequence::new(sequence), &author, content)?;
        }
    }
    let cursor = first.to_string();
    tx.store_write(move |w| w.set_cursor(&cursor))?;
    Ok(tx.finish().await?)
}

fn store(
    tx: &mut TransactionContext,
    conversation: ConversationId,
    sequence: Sequence,
    author: &DeviceAddress,
    content: Vec<u8>,
) -> Outcome<()> {
    let parsed = MimiContent::decode(&content)?;
    let domain = author.domain.as_str();
    let sender_uri = uri::user_uri(domain, &author.user.to_string());
    let room_uri = uri::room_uri(domain, &conversation.to_string());
    let id = MessageId::compute(&sender_uri, &room_uri, &content, &parsed.salt)?;
    let message = NewMessage {
        conversation,
        sequence,
        sender: author.user,
        sender_device: author.device,
        sent_at: 0,
        message_id: *id.as_bytes(),
        text: parsed.text().map(str::to_owned),
        content,
        expires: None,
    };
    Ok(tx.store_write(move |w| w.insert_message(&message).map(drop))?)
}
