//! What is stored, damaged: the store's encryption finds damage of the disk, so that this is what only our own mistakes
//! or a wrong restoring could do. It must still be an error.

use tertulia_store::{JournalEntry, RecordKey, StoreError};

use crate::{
    device::{Device, Inside, conversation},
    hub::Hub,
    script,
    world::{World, with_world},
};

/// The kinds of the engine's own records, and some that it does not know.
const KINDS: u16 = 12;

/// The first byte chooses the record, the rest is what stands in it.
pub fn stored(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    with_world(false, |World { runtime, people }| {
        runtime.block_on(async {
            let device = people.bob.copy(&Hub::default());
            damage(&device, *choice, rest).await;
            let Ok(view) = device.session.conversation(&conversation()) else {
                return in_a_transaction(&device, &people.genuine).await;
            };
            // What can be read is whole: its parts can be asked for.
            let _ = (view.epoch(), view.client_ids(), view.epoch_authenticator(), view.export_secret_key(32));
            let _ = (view.own_client_id(), view.external_sender(), view.pending_proposals());
            in_a_transaction(&device, &people.genuine).await;
        });
    });
}

async fn in_a_transaction(device: &Device, genuine: &[u8]) {
    let _ = device.session.conversations();
    let _ = device.session.pending_commits();
    let mut tx = device.session.new_transaction().await.expect("nobody else writes");
    let _ = tx.key_package_count();
    let _ = tx.prune_key_packages();
    let Ok(mut guard) = tx.conversation(&conversation()).await else { return };
    if guard.epoch().is_ok() {
        let before = Inside::of(&mut guard);
        if guard.decrypt_message(genuine).is_err() && guard.is_joined().is_ok_and(|joined| joined) {
            assert_eq!(Inside::of(&mut guard), before);
        }
        let _ = guard.encrypt_message("on a damaged state");
    }
    let _ = tx.finish().await;
}

async fn damage(device: &Device, choice: u8, rest: &[u8]) {
    let store = device.session.store();
    let id = conversation().as_bytes().to_vec();
    let (state, epoch, serial, head) = store
        .read(|tx| {
            let newest = tx.max_group_epoch(&id)?;
            let epoch = newest.map(|newest| tx.group_epoch(&id, newest)).transpose()?.flatten();
            let serial = tx.journal(&id)?.last().map(|entry| entry.serial);
            Ok::<_, StoreError>((tx.group_state(&id)?, newest.zip(epoch), serial, tx.pending_head(&id)?))
        })
        .expect("the store can be read");
    let writer = store.lock().await.expect("nobody else writes");
    let write = store.write(&writer, |tx| -> Result<(), StoreError> {
        match (choice % 6, state, epoch) {
            (0, Some(state), _) => {
                let bytes = script::message(rest, &[state.state.to_vec()]);
                tx.put_group_state(&id, state.serial, &bytes)
            }
            (1, _, Some((number, secrets))) => {
                tx.put_group_epoch(&id, number, &script::message(rest, &[secrets.to_vec()]))
            }
            (2, ..) => {
                let part = u32::from(rest.first().copied().unwrap_or_default()) % 4;
                tx.put_group_tree_part(&id, part, &script::message(rest, &[]))
            }
            (3, ..) => {
                // Of the first version without a head; and one whose head is whole.
                let head = head.filter(|_| choice % 12 == 3).unwrap_or_default();
                tx.put_pending_commit(&id, &head, &script::message(rest, &[]))
            }
            (4, Some(state), _) => {
                let number = |at: usize| u32::from(rest.get(at).copied().unwrap_or_default());
                let entry = JournalEntry {
                    serial: serial.unwrap_or(state.serial) + 1,
                    leaf: number(0).pow(3),
                    generation: number(1).pow(3),
                    digest: rest.get(2..).map(<[u8]>::to_vec),
                };
                tx.append_to_journal(&id, &entry)
            }
            _ => {
                let key =
                    RecordKey { kind: u16::from(choice / 6) % KINDS, owner: id.clone(), key: vec![0; 8] };
                tx.put_record(&key, &script::message(rest, &[]))
            }
        }
    });
    write.expect("the disk works");
}
