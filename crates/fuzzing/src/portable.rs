//! What comes from elsewhere beside the messages: ratchet trees, and key packages with their private keys.

use tertulia_mls::{JoinOptions, KeyPackageSecrets};

use crate::{
    device::conversation,
    script,
    world::{People, World, with_world},
};

/// Bytes of each of the two private keys behind a key package.
pub(crate) const KEY: usize = 32;

/// The first byte chooses the world, and whether the rest is a tree or a key package.
pub fn portable(input: &[u8]) {
    let Some((choice, rest)) = input.split_first() else { return };
    with_world(choice % 2 == 1, |World { runtime, people }| {
        runtime.block_on(async {
            if choice / 2 % 2 == 0 {
                tree(people, &script::message(rest, &people.portable)).await;
            } else {
                key_package(people, &script::message(rest, &people.portable)).await;
            }
        });
    });
}

/// A tree for a genuine Welcome.
async fn tree(people: &People, bytes: &[u8]) {
    let mut tx = people.dave.session.new_transaction().await.expect("nobody else writes");
    let packages = tx.key_package_count().expect("the store can be read");
    match tx.process_welcome_with(&people.welcomes[0], &JoinOptions::with_ratchet_tree(bytes)) {
        Ok(joined) => assert_eq!(joined.id, conversation()),
        Err(error) => {
            assert!(!tx.conversation_exists(&conversation()).expect("the store can be read"), "{error:?}");
            assert_eq!(tx.key_package_count().expect("the store can be read"), packages, "{error:?}");
            let joined = tx.process_welcome(&people.welcomes[0]).expect("with its own tree it opens");
            assert_eq!(joined.id, conversation());
        }
    }
    tx.abort();
}

/// A key package with its keys behind it.
async fn key_package(people: &People, bytes: &[u8]) {
    let Some((bytes, encryption_key)) = bytes.split_last_chunk::<KEY>() else { return };
    let Some((bytes, init_key)) = bytes.split_last_chunk::<KEY>() else { return };
    let secrets = KeyPackageSecrets {
        init_key: init_key.to_vec().into(),
        encryption_key: encryption_key.to_vec().into(),
    };
    let mut tx = people.dave.session.new_transaction().await.expect("nobody else writes");
    let count = tx.key_package_count().expect("the store can be read");
    match tx.import_key_package(bytes, &secrets) {
        Ok(imported) => {
            let (taken, keys) = tx
                .take_key_package(imported.reference())
                .expect("the store can be read")
                .expect("it was just imported");
            assert_eq!(taken, imported, "what was imported is what is taken out");
            assert!(keys == secrets, "with its keys");
            assert_eq!(tx.key_package_count().expect("the store can be read"), count);
        }
        Err(error) => {
            assert_eq!(tx.key_package_count().expect("the store can be read"), count, "{error:?}");
        }
    }
    tx.abort();
}
