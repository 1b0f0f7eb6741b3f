//! Homes that are put back to a backup when somebody else has changed the keys since: no hint is used twice, and what is said is read.

use crate::{
    enveloped_directs::{assert_on_mls, assert_talk},
    enveloped_groups::{RotateNow as _, assert_all_talk, assert_same, friends_of_ana, settle, three},
    envelopes::Homes,
    support::{handle, read, texts},
};
use std::time::{Duration, SystemTime};
use tertulia::{Client, ConversationId};

/// Gives a device new keys in all its groups, by one commit in each.
async fn rotate(client: &Client) {
    let later = SystemTime::now() + Duration::from_hours(24 * 365);
    assert!(client.rotate_keys(later).await.expect("commits") > 0);
}

/// That each of these is shown there, once.
async fn assert_shown(client: &Client, id: ConversationId, expected: &[&str]) {
    let shown = texts(client, id).await;
    for text in expected {
        assert_eq!(shown.iter().filter(|shown| shown == text).count(), 1, "{text}: {shown:?}");
    }
}

#[tokio::test]
async fn no_hint_of_an_epoch_that_the_other_has_begun_is_used_twice() {
    // She synchronises before she speaks, or not.
    for syncs in [true, false] {
        let homes = Homes::on(&["relay"]);
        let (ana, bruno, id) = homes.friends().await;
        drop((ana, bruno));
        homes.back_up("ana");
        homes.age("bruno");
        let bruno = homes.open("bruno").await;
        bruno.sync().await.expect("renews the keys");
        let ana = homes.open("ana").await;
        ana.sync().await.expect("enters the new epoch");
        ana.send(id, "from the home that is lost").await.expect("sends");
        assert_eq!(read(&bruno, id).await, ["from the home that is lost"]);
        drop(ana);

        homes.restore("ana");
        let ana = homes.open("ana").await;
        if syncs {
            ana.sync().await.expect("enters the new epoch");
        }
        ana.send(id, "from the backup").await.expect("sends");
        assert_eq!(read(&bruno, id).await, ["from the home that is lost", "from the backup"]);
        bruno.send(id, "welcome back").await.expect("sends");
        assert!(read(&ana, id).await.contains(&"welcome back".to_owned()));
        assert_talk(id, &ana, &bruno, "both").await;
        homes.assert_no_hint_twice();
    }
}

#[tokio::test]
async fn an_invitation_that_was_accepted_already_is_accepted_with_other_hints() {
    // It came before the backup was made, or after it.
    for came_before in [true, false] {
        let homes = Homes::on(&["relay"]);
        let (ana, bruno) = (homes.init("ana").await, homes.init("bruno").await);
        let intro = bruno.intro().await.expect("an intro").to_string();
        let id = ana.meet(&intro, Some(&handle("bruno"))).await.expect("asks").conversation;
        if came_before {
            bruno.sync().await.expect("hears of it");
        }
        drop(bruno);
        homes.back_up("bruno");
        let accept = async || {
            let bruno = homes.open("bruno").await;
            bruno.sync().await.expect("hears of it");
            let from = bruno.requests().await.expect("readable")[0].from.clone();
            assert_eq!(bruno.accept(&from).await.expect("accepts").conversation, id);
            bruno
        };
        let bruno = accept().await;
        bruno.send(id, "from the home that is lost").await.expect("sends");
        assert_eq!(read(&ana, id).await, ["from the home that is lost"]);
        ana.send(id, "to it").await.expect("sends");
        drop(bruno);

        homes.restore("bruno");
        let bruno = accept().await;
        bruno.send(id, "from the backup").await.expect("sends");
        ana.sync().await.expect("syncs");
        assert_shown(&ana, id, &["from the home that is lost", "from the backup"]).await;
        assert_talk(id, &ana, &bruno, "both").await;
        homes.assert_no_hint_twice();
    }
}

#[tokio::test]
async fn no_hint_of_a_groups_epoch_that_another_has_begun_is_used_twice() {
    // The home that is lost commits in that epoch too, or speaks only.
    for commits in [true, false] {
        let homes = Homes::on(&["relay"]);
        let (ana, bruno, carla, group) = three(&homes).await;
        let id = group.id;
        drop(bruno);
        homes.back_up("bruno");
        ana.rotate_now(id).await;
        let bruno = homes.open("bruno").await;
        bruno.sync().await.expect("enters the new epoch");
        bruno.send(id, "from the home that is lost").await.expect("sends");
        if commits {
            rotate(&bruno).await;
        }
        settle(&[&bruno, &ana, &carla]).await;
        drop(bruno);

        homes.restore("bruno");
        let bruno = homes.open("bruno").await;
        bruno.sync().await.expect("enters the new epoch");
        bruno.send(id, "from the backup").await.expect("sends, after an update");
        settle(&[&ana, &carla, &bruno]).await;
        settle(&[&bruno, &ana, &carla]).await;
        assert_shown(&ana, id, &["from the home that is lost"]).await;
        if !commits {
            assert_shown(&ana, id, &["from the backup"]).await;
        }
        assert_same(id, &[&ana, &bruno, &carla]).await;
        assert_all_talk(id, &[&ana, &bruno, &carla]).await;
        homes.assert_no_hint_twice();
        // It is over: nobody goes on asking.
        let before = homes.published().len();
        settle(&[&ana, &carla, &bruno]).await;
        assert_eq!(homes.published().len(), before);
    }
}

#[tokio::test]
async fn a_welcome_that_was_taken_already_is_taken_with_other_hints() {
    let homes = Homes::on(&["relay"]);
    let (ana, others) = friends_of_ana(&homes, &["bruno"]).await;
    drop(others);
    homes.back_up("bruno");
    let id = ana.create_group("Tertulia", &[handle("bruno")]).await.expect("a group").id;
    let bruno = homes.open("bruno").await;
    bruno.sync().await.expect("comes in");
    bruno.send(id, "from the home that is lost").await.expect("sends");
    ana.sync().await.expect("syncs");
    drop(bruno);

    homes.restore("bruno");
    let bruno = homes.open("bruno").await;
    bruno.sync().await.expect("comes in");
    bruno.send(id, "from the backup").await.expect("sends, after an update");
    settle(&[&ana, &bruno, &ana, &bruno]).await;
    assert_shown(&ana, id, &["from the home that is lost", "from the backup"]).await;
    assert_same(id, &[&ana, &bruno]).await;
    assert_all_talk(id, &[&ana, &bruno]).await;
    homes.assert_no_hint_twice();
    let before = homes.published().len();
    settle(&[&ana, &bruno]).await;
    assert_eq!(homes.published().len(), before, "he has a key package that no copy of his home has");
}

#[tokio::test]
async fn no_hint_of_two_over_mls_is_used_twice_in_an_epoch_that_the_other_has_begun() {
    for commits in [true, false] {
        let homes = Homes::on(&["relay"]);
        let (ana, bruno, id) = homes.friends().await;
        ana.migrate(id).await.expect("begins");
        settle(&[&bruno, &ana]).await;
        drop(bruno);
        homes.back_up("bruno");
        rotate(&ana).await;
        let bruno = homes.open("bruno").await;
        bruno.sync().await.expect("enters the new epoch");
        bruno.send(id, "from the home that is lost").await.expect("sends");
        if commits {
            rotate(&bruno).await;
        }
        settle(&[&bruno, &ana]).await;
        drop(bruno);

        homes.restore("bruno");
        let bruno = homes.open("bruno").await;
        bruno.sync().await.expect("enters the new epoch");
        bruno.send(id, "from the backup").await.expect("sends, after an update");
        settle(&[&ana, &bruno, &ana, &bruno]).await;
        assert_shown(&ana, id, &["from the home that is lost"]).await;
        if !commits {
            assert_shown(&ana, id, &["from the backup"]).await;
        }
        assert_on_mls(id, &ana, &bruno).await;
        assert_talk(id, &ana, &bruno, "both").await;
        homes.assert_no_hint_twice();
    }
}

#[tokio::test]
async fn who_went_on_over_mls_since_the_backup_goes_on_with_other_hints() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    drop(bruno);
    homes.back_up("bruno");
    ana.migrate(id).await.expect("begins");
    let bruno = homes.open("bruno").await;
    bruno.sync().await.expect("comes in");
    bruno.send(id, "from the home that is lost").await.expect("sends");
    settle(&[&ana, &bruno]).await;
    drop(bruno);

    homes.restore("bruno");
    let bruno = homes.open("bruno").await;
    bruno.sync().await.expect("comes in");
    bruno.send(id, "from the backup").await.expect("sends");
    settle(&[&ana, &bruno, &ana, &bruno]).await;
    assert_shown(&ana, id, &["from the home that is lost", "from the backup"]).await;
    assert_on_mls(id, &ana, &bruno).await;
    assert_talk(id, &ana, &bruno, "both").await;
    homes.assert_no_hint_twice();
}

#[tokio::test]
async fn what_a_restored_home_sends_by_two_relays_counts_once() {
    let homes = Homes::on(&["first", "second"]);
    let (ana, bruno, id) = homes.friends().await;
    drop(ana);
    homes.back_up("ana");
    homes.restore("ana");
    let ana = homes.open("ana").await;
    ana.send(id, "from the backup").await.expect("sends");
    // Both relays give her own renewal back.
    let report = ana.sync().await.expect("syncs");
    assert_eq!((report.undecryptable, report.invalid), (0, 0), "{report:?}");
    for messages in [1, 0] {
        let report = bruno.sync().await.expect("syncs");
        assert_eq!((report.messages, report.undecryptable, report.invalid), (messages, 0, 0), "{report:?}");
    }
    homes.assert_no_hint_twice();
}
