//! Conversations within conversations.
#![allow(clippy::unwrap_used)]

mod common;

use common::{Device, Hub, client_id};
use tertulia_mls::{ConversationId, EngineError, ErrorKind};

async fn mark(device: &Device, child: &str, parent: &str) -> Result<(), EngineError> {
    let mut tx = device.session.new_transaction().await?;
    tx.conversation(&child.into()).await?.mark_as_child_of(&parent.into()).await?;
    tx.finish().await
}

fn exists(device: &Device, id: &str) -> bool {
    device.session.conversation_exists(&id.into()).unwrap()
}

fn family(device: &Device, id: &str) -> (Option<ConversationId>, Vec<ConversationId>) {
    let view = device.session.conversation(&id.into()).unwrap();
    (view.parent().cloned(), view.children().to_vec())
}

/// A parent with two children, one of which has a child.
async fn house(hub: &Hub) -> Device {
    let mut alice = Device::new(hub, "alice").await;
    for id in ["parent", "child", "sibling", "grandchild", "stranger"] {
        alice.create(&id.into()).await;
    }
    mark(&alice, "child", "parent").await.unwrap();
    mark(&alice, "sibling", "parent").await.unwrap();
    mark(&alice, "grandchild", "child").await.unwrap();
    alice
}

#[tokio::test]
async fn a_conversation_knows_its_parent_and_its_children() {
    let alice = house(&Hub::new()).await.restarted();
    assert_eq!(family(&alice, "parent"), (None, vec!["child".into(), "sibling".into()]));
    assert_eq!(family(&alice, "child"), (Some("parent".into()), vec!["grandchild".into()]));
    mark(&alice, "grandchild", "sibling").await.unwrap();
    assert_eq!(family(&alice, "child"), (Some("parent".into()), vec![]));
    assert_eq!(family(&alice, "sibling"), (Some("parent".into()), vec!["grandchild".into()]));
    let mut tx = alice.session.new_transaction().await.unwrap();
    let guard = tx.conversation(&"grandchild".into()).await.unwrap();
    assert_eq!((guard.parent().unwrap(), guard.children().unwrap()), (Some("sibling".into()), vec![]));
}

#[tokio::test]
async fn a_wipe_takes_the_children_along() {
    let hub = Hub::new();
    let mut alice = house(&hub).await;
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.conversation(&"child".into()).await.unwrap().wipe().unwrap();
    tx.abort();
    assert!(exists(&alice, "child") && exists(&alice, "grandchild"));
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.conversation(&"child".into()).await.unwrap().wipe().unwrap();
    tx.finish().await.unwrap();
    assert!(!exists(&alice, "child") && !exists(&alice, "grandchild"));
    assert_eq!(family(&alice, "parent"), (None, vec!["sibling".into()]));
    // The same id again is another conversation, and nobody's child.
    alice.create(&"child".into()).await;
    assert_eq!(family(&alice, "child"), (None, vec![]));
    let mut tx = alice.session.new_transaction().await.unwrap();
    tx.wipe_conversation(&"parent".into()).unwrap();
    tx.finish().await.unwrap();
    assert!(!exists(&alice, "parent") && !exists(&alice, "sibling"));
    assert!(exists(&alice, "child") && exists(&alice, "stranger"));
}

#[tokio::test]
async fn who_is_removed_from_the_parent_loses_the_children() {
    let hub = Hub::new();
    let mut alice = Device::new(&hub, "alice").await;
    let mut bob = Device::new(&hub, "bob").await;
    let (parent, child) = (ConversationId::from("parent"), ConversationId::from("child"));
    for id in [&parent, &child] {
        alice.create(id).await;
        alice.add(id, &mut [&mut bob]).await;
    }
    mark(&bob, "child", "parent").await.unwrap();
    alice.change(&parent, vec![], &[client_id("bob")]).await.unwrap();
    assert!(!bob.sync(&parent).await.pop().unwrap().is_active);
    assert!(!exists(&bob, "parent") && !exists(&bob, "child"));
}

#[tokio::test]
async fn nobody_is_its_own_ancestor_and_a_parent_must_exist() {
    let alice = house(&Hub::new()).await;
    for (child, parent) in [("parent", "parent"), ("parent", "child"), ("parent", "grandchild")] {
        let refused = mark(&alice, child, parent).await.unwrap_err();
        assert!(matches!(refused, EngineError::OwnAncestor { .. }), "{refused}");
        assert_eq!(refused.kind(), ErrorKind::Misuse);
    }
    let nowhere = mark(&alice, "child", "nowhere").await;
    assert!(matches!(nowhere, Err(EngineError::ConversationNotFound(id)) if id == "nowhere".into()));
    assert_eq!(family(&alice, "parent"), (None, vec!["child".into(), "sibling".into()]));
}
