//! A hub that lies about what gives a group its name.

use crate::{
    lying::Setting,
    support::{handle, read},
    watch::Watch,
};
use tertulia::{Client, Conversation, Suspicion};
use tertulia_api::event::EventBody;

async fn name(client: &Client, table: &Conversation) -> Option<String> {
    client.sync().await.expect("syncs");
    client.conversation(table.id).await.expect("there").name
}

#[tokio::test]
async fn a_member_whom_the_hub_lets_rename_a_group_does_not() {
    let setting = Setting::new().await;
    let Setting { hub, alice, bob, table, .. } = &setting;
    let watch = Watch::over(alice).await;
    hub.database("UPDATE members SET role = 'admin' WHERE role = 'member'");
    bob.rename(table.id, "Bob's table").await.expect("the hub takes it");
    assert_eq!(name(alice, table).await.as_deref(), Some("Friday table"));
    let noticed = alice.suspicions().await.expect("readable").pop().expect("noticed").suspicion;
    assert_eq!(noticed, Suspicion::ForgedName { user: bob.me().user });
    watch.tells_all().await;

    // Who may, does, and that is nothing to be told of.
    alice.rename(table.id, "Saturday table").await.expect("renames");
    assert_eq!(name(bob, table).await.as_deref(), Some("Saturday table"));
    assert!(setting.suspicions().await.is_empty());
    setting.watch.tells_all().await;
}

#[tokio::test]
async fn what_only_carries_the_name_of_a_group_does_not_give_it_that() {
    let setting = Setting::new().await;
    let Setting { hub, liar, alice, bob, table, .. } = &setting;
    alice.set_role(table.id, &handle("bob"), "admin").await.expect("bob becomes admin");
    bob.sync().await.expect("is admin");
    bob.rename(table.id, "Saturday table").await.expect("renames");
    let id = table.id;
    liar.change_events(move |events| {
        for event in events {
            if let EventBody::Message { entry, message } = &event.body
                && entry.conversation == id
            {
                event.body = EventBody::Name { entry: entry.clone(), message: message.clone() };
            }
        }
    });
    // Alice, an admin too, has not heard of it: her text carries the name that she knows.
    alice.send(id, "on Friday?").await.expect("sends");
    assert_eq!(read(bob, id).await, ["on Friday?"]);
    assert_eq!(name(bob, table).await.as_deref(), Some("Saturday table"));
    let forged = Suspicion::ForgedName { user: alice.me().user };
    assert_eq!(setting.suspicions().await, std::slice::from_ref(&forged));

    // Nor does what tells her further device the name.
    let tablet = hub.log_in("alice", "tablet").await;
    tablet.sync().await.expect("joins");
    alice.sync().await.expect("tells the tablet the name");
    assert_eq!(name(&tablet, table).await.as_deref(), Some("Saturday table"));
    bob.sync().await.expect("syncs");
    assert_eq!(setting.suspicions().await.last(), Some(&forged));
    assert_eq!(setting.suspicions().await.iter().filter(|noticed| **noticed == forged).count(), 2);
    setting.watch.tells_all().await;
}
