//! Renewals that are lost, come late, or are of no use to the other any more: what is said afterwards is read, both ways.

use crate::{
    crossings::{ask, assert_one},
    envelopes::{Homes, meet},
    support::{read, texts},
};
use std::sync::Arc;
use tertulia::Client;
use tertulia_conversation::{
    topic::ContentTopic,
    wire::{Envelope, Outcome},
};
use tertulia_transport::MemoryNetwork;

/// A home at one network, whatever others there are.
async fn open_at(homes: &Homes, name: &str, network: &MemoryNetwork) -> Client {
    let builder = Client::builder(homes.path(name)).carrier(Arc::new(network.endpoint(name)));
    builder.open().await.expect("opens")
}

/// Synchronises, and finds nothing that cannot be read.
async fn sync(client: &Client) {
    let report = client.sync().await.expect("syncs");
    assert_eq!((report.undecryptable, report.invalid), (0, 0), "{report:?}");
}

fn is_salted(envelope: &[u8]) -> bool {
    let Outcome::Decoded(envelope) = Envelope::decode(envelope) else { panic!("an envelope") };
    envelope.salt.number() != 0
}

#[tokio::test]
async fn who_was_away_for_longer_than_relays_keep_renewals_hears_of_the_next_epoch() {
    let homes = Homes::on(&["relay"]);
    let relay = &homes.networks[0];
    let (ana, bruno, id) = homes.friends().await;
    drop((ana, bruno));
    let topic = ContentTopic::of_conversation(&id);
    let before = relay.published(&topic).len();
    homes.age("ana");
    for _ in 0..6 {
        let ana = homes.open("ana").await;
        sync(&ana).await;
        drop(ana);
        homes.a_day_later("ana");
    }
    let offers = relay.published(&topic).split_off(before);
    let salted: Vec<_> = offers.iter().map(|offer| is_salted(offer)).collect();
    assert_eq!(salted, [false, false, false, false, true, true], "four are what he has the hints of");

    // Those four the relay does not have any more, and the last is late.
    let kept = MemoryNetwork::ordered("kept");
    kept.inject(&topic, &offers[4]);
    let bruno = open_at(&homes, "bruno", &kept).await;
    sync(&bruno).await;
    assert_eq!(homes.epoch("bruno"), 1);
    bruno.send(id, "I am back").await.expect("sends");
    let newest = |network: &MemoryNetwork| network.published(&topic).pop().expect("it was published");
    relay.inject(&topic, &newest(&kept));
    let ana = homes.open("ana").await;
    assert_eq!(read(&ana, id).await, ["I am back"]);
    assert_eq!(homes.epoch("ana"), 1);
    drop(ana);

    // Another week, and then what was late changes nothing.
    homes.age("ana");
    let ana = homes.open("ana").await;
    sync(&ana).await;
    kept.inject(&topic, &newest(relay));
    sync(&bruno).await;
    assert_eq!(homes.epoch("bruno"), 2);
    kept.inject(&topic, &offers[5]);
    sync(&bruno).await;
    assert_eq!(homes.epoch("bruno"), 2, "no older epoch is the current one again");
    bruno.send(id, "and here").await.expect("sends");
    relay.inject(&topic, &newest(&kept));
    assert_eq!(read(&ana, id).await, ["I am back", "and here"]);
    assert_eq!(homes.epoch("ana"), 2);
    ana.send(id, "good").await.expect("sends");
    kept.inject(&topic, &newest(relay));
    assert_eq!(read(&bruno, id).await, ["I am back", "and here", "good"]);
    homes.assert_no_hint_twice();
}

#[tokio::test]
async fn what_a_restored_home_begins_by_force_is_told_again_until_the_other_is_heard_in_it() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    drop(ana);
    homes.back_up("ana");
    homes.restore("ana");
    // Nobody ever gets what tells of it.
    let elsewhere = MemoryNetwork::ordered("elsewhere");
    let ana = open_at(&homes, "ana", &elsewhere).await;
    sync(&ana).await;
    assert_eq!(homes.epoch("ana"), 1);
    drop(ana);
    let ana = homes.open("ana").await;
    ana.send(id, "too early").await.expect("sends");
    assert!(read(&bruno, id).await.is_empty(), "he does not know of the epoch");
    assert_eq!(homes.epoch("bruno"), 0);
    let before = homes.published().len();
    sync(&ana).await;
    assert_eq!(homes.published().len(), before, "not on the same day");
    drop(ana);

    // A day later, and the day after that.
    for day in 1..3 {
        homes.a_day_later("ana");
        let ana = homes.open("ana").await;
        sync(&ana).await;
        assert_eq!(homes.published().len(), before + day);
    }
    sync(&bruno).await;
    assert_eq!((homes.epoch("ana"), homes.epoch("bruno")), (1, 1));
    let ana = homes.open("ana").await;
    ana.send(id, "from the backup").await.expect("sends");
    assert_eq!(read(&bruno, id).await, ["from the backup"]);
    bruno.send(id, "welcome back").await.expect("sends");
    assert!(read(&ana, id).await.contains(&"welcome back".to_owned()));
    drop(ana);

    homes.a_day_later("ana");
    let before = homes.published().len();
    let ana = homes.open("ana").await;
    sync(&ana).await;
    assert_eq!(homes.published().len(), before, "it is over");
    ana.send(id, "once more").await.expect("sends");
    assert_eq!(read(&bruno, id).await, ["from the backup", "welcome back", "once more"]);
    assert_eq!(texts(&ana, id).await.len(), 4);
    homes.assert_no_hint_twice();
}

#[tokio::test]
async fn a_home_that_is_restored_twice_is_heard_though_nobody_got_the_first_of_it() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    drop(ana);
    let elsewhere = MemoryNetwork::ordered("elsewhere");
    for _ in 0..2 {
        homes.back_up("ana");
        homes.restore("ana");
        sync(&open_at(&homes, "ana", &elsewhere).await).await;
    }
    homes.back_up("ana");
    homes.restore("ana");
    let ana = homes.open("ana").await;
    ana.send(id, "from the backup").await.expect("sends");
    assert_eq!(read(&bruno, id).await, ["from the backup"]);
    bruno.send(id, "welcome back").await.expect("sends");
    assert_eq!(read(&ana, id).await, ["from the backup", "welcome back"]);
    homes.assert_no_hint_twice();
}

#[tokio::test]
async fn who_has_offered_keys_to_somebody_and_blocks_them_has_nothing_to_do_before_the_next_day() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, _) = homes.friends().await;
    drop(ana);
    homes.age("ana");
    let ana = homes.open("ana").await;
    sync(&ana).await;
    ana.block(&crate::support::handle("bruno")).await.expect("blocks");
    drop(ana);
    homes.a_day_later("ana");
    let before = homes.published().len();
    let ana = homes.open("ana").await;
    sync(&ana).await;
    assert_eq!(homes.published().len(), before, "nothing goes to who is blocked");
    let due = "SELECT count(*) FROM enveloped WHERE due_at <= unixepoch() * 1000";
    let due: u32 = homes.database("ana").query_row(due, (), |row| row.get(0)).expect("a number");
    assert_eq!(due, 0, "nobody is woken for it");
    drop(bruno);
}

#[tokio::test]
async fn a_backup_from_before_all_that_the_other_keeps_is_mended_by_meeting_anew() {
    // She has something of his to begin with, and says in vain what cannot be read; or not even that.
    for can_begin in [true, false] {
        let homes = Homes::on(&["relay"]);
        let (ana, bruno, lost) = homes.friends().await;
        ana.send(lost, "before").await.expect("sends");
        assert_eq!(read(&bruno, lost).await, ["before"]);
        drop(ana);
        homes.back_up("ana");
        for week in 1..=5 {
            homes.age("ana");
            let ana = homes.open("ana").await;
            sync(&ana).await;
            sync(&bruno).await;
            bruno.send(lost, &format!("week {week}")).await.expect("sends");
            sync(&ana).await;
            drop(ana);
            assert_eq!((homes.epoch("ana"), homes.epoch("bruno")), (week, week));
        }
        homes.restore("ana");
        if !can_begin {
            homes.database("ana").execute("DELETE FROM bundles", ()).expect("changes it");
        }
        let ana = homes.open("ana").await;
        ana.sync().await.expect("the home goes on");
        if can_begin {
            ana.send(lost, "nobody reads this").await.expect("sends");
        } else {
            assert_eq!(ana.send(lost, "nor this").await.expect_err("no session").code(), "queued");
        }
        bruno.sync().await.expect("syncs");
        bruno.send(lost, "nor what he says").await.expect("sends");
        ana.sync().await.expect("syncs");
        assert_eq!(texts(&ana, lost).await.iter().filter(|text| text.starts_with("nor what")).count(), 0);
        assert_eq!(texts(&bruno, lost).await.iter().filter(|text| text.starts_with("nobody")).count(), 0);

        let id = ask(&ana, &bruno, "bruno").await;
        assert_ne!(id, lost, "another conversation");
        assert_eq!(ask(&ana, &bruno, "bruno").await, id, "asking once more is asking for the same");
        for client in [&bruno, &ana, &bruno] {
            client.sync().await.expect("syncs");
        }
        assert_eq!(assert_one(&ana, &bruno, "met anew").await, id);
        assert!(texts(&ana, lost).await.contains(&"before".to_owned()), "what was said stays");
        // From here on it is as any other.
        let newer = bruno.intro().await.expect("an intro").to_string();
        assert_eq!(ana.meet(&newer, None).await.expect("knows him").conversation, id);
        homes.assert_no_hint_twice();
    }
}

#[tokio::test]
async fn who_meets_anew_though_the_other_still_has_all_of_it_ends_in_one_conversation_with_them() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, old) = homes.friends().await;
    drop(ana);
    homes.back_up("ana");
    homes.restore("ana");
    let ana = homes.open("ana").await;
    ana.send(old, "from the backup").await.expect("sends");
    let id = ask(&ana, &bruno, "bruno").await;
    assert_ne!(id, old);
    assert_eq!(read(&bruno, old).await, ["from the backup"]);
    for client in [&ana, &bruno, &ana] {
        client.sync().await.expect("syncs");
    }
    // He may have followed what came in the old one; what she says next brings them together.
    ana.send(id, "here I am").await.expect("sends");
    bruno.sync().await.expect("syncs");
    assert_eq!(assert_one(&ana, &bruno, "met anew in haste").await, id);
    homes.assert_no_hint_twice();
}

/// What a home keeps of what somebody has shown.
fn kept_bundle(homes: &Homes, home: &str, of: &Client) -> Vec<u8> {
    let user = of.me().user;
    let sql = "SELECT bundle FROM bundles WHERE user = ?1";
    let bundle = homes.database(home).query_row(sql, [&user.as_uuid().as_bytes()[..]], |row| row.get(0));
    bundle.expect("they have met")
}

#[tokio::test]
async fn who_shows_keys_that_no_session_begins_with_stops_no_restored_home() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno, id) = homes.friends().await;
    let mallory = homes.init("mallory").await;
    meet(&ana, "ana", &mallory, "mallory").await;
    // Mallory's keys for sessions become another's, by which he signs what he shows; the sessions themselves stay.
    drop(mallory);
    homes.init("other").await.intro().await.expect("an intro");
    let keys = "SELECT state FROM pairwise_account";
    let keys: Vec<u8> = homes.database("other").query_row(keys, (), |row| row.get(0)).expect("has keys");
    let changed = homes.database("mallory").execute("UPDATE pairwise_account SET state = ?1", [keys]);
    assert_eq!(changed.expect("changes it"), 1);
    homes.age("mallory");
    let mallory = homes.open("mallory").await;
    let before = kept_bundle(&homes, "ana", &mallory);
    let published = homes.published().len();
    mallory.sync().await.expect("renews");
    assert_eq!(homes.published().len(), published + 1);
    sync(&ana).await;
    assert_eq!(kept_bundle(&homes, "ana", &mallory), before, "it is of no use");

    // Nor does one do harm that is kept since before such were passed over.
    let odd = mallory.intro().await.expect("an intro");
    drop(ana);
    let sql = "UPDATE bundles SET bundle = ?1 WHERE user = ?2";
    let of_mallory = mallory.me().user;
    let changed = homes.database("ana").execute(sql, (odd.as_bytes(), &of_mallory.as_uuid().as_bytes()[..]));
    assert_eq!(changed.expect("changes it"), 1);
    homes.back_up("ana");
    homes.restore("ana");
    let ana = homes.open("ana").await;
    ana.queue(id, "from the backup").await.expect("kept");
    assert_eq!(ana.sync().await.expect("goes on with all others").sent, 1);
    assert_eq!(read(&bruno, id).await, ["from the backup"]);
    bruno.send(id, "welcome back").await.expect("sends");
    assert_eq!(read(&ana, id).await, ["from the backup", "welcome back"]);
    homes.assert_no_hint_twice();
}
