//! Those who send: each message until it is acknowledged, with all that a client may do on the way.

use crate::{
    Outcome,
    ledger::fingerprint,
    member::Member,
    world::{World, count},
};
use rand::{RngExt as _, rngs::StdRng};
use std::{sync::Arc, time::Duration};
use tertulia_api::conversation::MessageAccepted;
use tertulia_transport::TransportError;

/// Messages that are encrypted at a time.
const BATCH: usize = 64;
/// Longest text, in bytes.
const TEXT: usize = 600;

/// How often, of 100 messages, one is sent twice at once, and one again after its acknowledgement; and of 100 attempts that
/// failed, how many are the last.
const RACED: f64 = 0.03;
const REPEATED: f64 = 0.05;
const GIVEN_UP: f64 = 0.01;

/// Sends until all is over.
pub(crate) async fn send(world: Arc<World>, member: Member, sender: usize, mut random: StdRng) {
    let mut waiting = Vec::new();
    let mut number = 0;
    while let Some(working) = world.work().await {
        if waiting.is_empty() {
            let text = vec![b'x'; random.random_range(1..=TEXT)];
            match member.encrypt(&text, BATCH).await {
                Ok(messages) => waiting = messages,
                Err(error) => return world.broke(format!("sender {sender} cannot encrypt: {error}")),
            }
            waiting.reverse();
        }
        let Some(message) = waiting.pop() else { continue };
        number += 1;
        if let Err(error) = send_one(&world, &member, message, (sender, number), &mut random).await {
            return world.broke(format!("message {number} of sender {sender} was refused for good: {error}"));
        }
        drop(working);
        // As people do, who are not all the time at it.
        tokio::time::sleep(Duration::from_micros(random.random_range(0..10_000))).await;
    }
}

/// Sends one message until it is acknowledged, or given up; an error if it can never be.
async fn send_one(
    world: &World,
    member: &Member,
    message: Vec<u8>,
    (sender, number): (usize, u64),
    random: &mut StdRng,
) -> Outcome<()> {
    let known = fingerprint(&message);
    world.ledger().begin(known, sender, number);
    for attempt in 0u32.. {
        let mut answers = Vec::with_capacity(2);
        if random.random_bool(RACED) {
            count(&world.counts.raced);
            let (one, two) = tokio::join!(post(member, message.clone()), post(member, message.clone()));
            answers.extend([one, two]);
        } else {
            answers.push(post(member, message.clone()).await);
        }
        let mut is_acknowledged = false;
        for answer in answers {
            match answer {
                Ok(place) => {
                    world.acknowledge(known, place);
                    is_acknowledged = true;
                }
                Err(error) if error.is_transient() => world.refuse(&error),
                Err(error) => return Err(error.into()),
            }
        }
        if is_acknowledged {
            if attempt > 0 {
                count(&world.counts.retried);
            }
            break;
        }
        if random.random_bool(GIVEN_UP) {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(random.random_range(5..60))).await;
    }
    if random.random_bool(REPEATED) {
        count(&world.counts.repeated);
        match post(member, message).await {
            Ok(place) => world.acknowledge(known, place),
            Err(error) if error.is_transient() => world.refuse(&error),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

async fn post(member: &Member, message: Vec<u8>) -> Result<MessageAccepted, TransportError> {
    member.hub().send_message(member.conversation(), message).await
}
