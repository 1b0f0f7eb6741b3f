//! Requests that cross, are overtaken, taken back, or sent by who has lost a conversation: the two end in one, and what is said in it arrives.
#![allow(clippy::print_stdout)] // what is printed says which seed failed

use crate::{
    envelopes::{Homes, meet},
    support::{handle, read, texts},
};
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use tertulia::{Client, ConnectionStatus, ConversationId, Handle};

const BOTH: [&str; 2] = ["ana", "bruno"];

/// Ana or Bruno, and what they call the other.
fn other_of(name: &str) -> Handle {
    handle(if name == "ana" { "bruno" } else { "ana" })
}

pub(crate) async fn ask(from: &Client, to: &Client, name: &str) -> ConversationId {
    let intro = to.intro().await.expect("an intro").to_string();
    from.meet(&intro, Some(&handle(name))).await.expect("asks").conversation
}

async fn sync(clients: &[&Client]) {
    for client in clients {
        client.sync().await.expect("syncs");
    }
}

/// The conversation that both have by now, in which each is read by the other.
pub(crate) async fn assert_one(ana: &Client, bruno: &Client, what: &str) -> ConversationId {
    let id = ana.find("@bruno").await.expect("known");
    assert_eq!(bruno.find("@ana").await.expect("known"), id, "{what}");
    assert_talk(ana, bruno, what).await;
    assert_eq!(ana.find("@bruno").await.expect("known"), id, "{what}");
    assert_eq!(bruno.find("@ana").await.expect("known"), id, "{what}");
    id
}

/// What each says to the other is read.
async fn assert_talk(ana: &Client, bruno: &Client, what: &str) {
    for (from, name, to, text) in [(ana, "@bruno", bruno, "by Ana"), (bruno, "@ana", ana, "by Bruno")] {
        let text = format!("{text}: {what} {}", rand::random::<u32>());
        let id = from.find(name).await.expect("known");
        from.send(id, &text).await.expect("sends");
        to.sync().await.expect("syncs");
        assert!(texts(to, id).await.contains(&text), "{text}");
    }
}

#[tokio::test]
async fn a_request_that_is_overtaken_by_the_others_leads_to_one_conversation_whichever_id_is_smaller() {
    let mut seen = [false; 2];
    for _ in 0..64 {
        let homes = Homes::on(&["first", "second"]);
        let [first, second] = [&homes.networks[0], &homes.networks[1]];
        let (ana, bruno) = (homes.init("ana").await, homes.init("bruno").await);
        // The first relay is down when she asks, and back when he does.
        first.cut_off(&["ana"]);
        let of_ana = ask(&ana, &bruno, "bruno").await;
        first.cut_off(&[]);
        let of_bruno = ask(&bruno, &ana, "ana").await;
        let order = usize::from(of_ana < of_bruno);
        if seen[order] {
            continue;
        }
        seen[order] = true;
        second.cut_off(&["ana"]);
        sync(&[&ana]).await;
        // He hears that he is accepted before he hears that she has asked.
        second.cut_off(&["bruno"]);
        sync(&[&bruno]).await;
        second.cut_off(&[]);
        sync(&[&bruno, &ana, &bruno, &ana]).await;
        let id = assert_one(&ana, &bruno, "one has overtaken the other").await;
        assert_eq!(id, of_ana.min(of_bruno));
        homes.assert_no_hint_twice();
        if seen == [true; 2] {
            return;
        }
    }
    panic!("both orders of two random ids come up in 64 times: {seen:?}");
}

#[tokio::test]
async fn a_request_that_was_taken_back_and_comes_late_changes_nothing() {
    // It comes while the later one waits for an answer, before she hears the answer, or after.
    for late in 0..3 {
        let homes = Homes::on(&["first", "second"]);
        let [first, second] = [&homes.networks[0], &homes.networks[1]];
        let (ana, bruno) = (homes.init("ana").await, homes.init("bruno").await);
        first.cut_off(&["ana"]);
        ask(&ana, &bruno, "bruno").await;
        ana.cancel(&handle("bruno")).await.expect("takes it back");
        first.cut_off(&[]);
        second.cut_off(&["bruno"]);
        let id = ask(&ana, &bruno, "bruno").await;
        sync(&[&bruno]).await;
        if late == 0 {
            second.cut_off(&[]);
            sync(&[&bruno]).await;
        }
        let [request] = &bruno.requests().await.expect("readable")[..] else { panic!("one request") };
        bruno.accept(&request.from).await.expect("accepts");
        ask(&bruno, &ana, "ana").await;
        if late == 1 {
            second.cut_off(&[]);
            sync(&[&bruno]).await;
        }
        sync(&[&ana, &bruno]).await;
        second.cut_off(&[]);
        sync(&[&bruno, &ana]).await;
        // He speaks first: nothing of hers has told him where she is.
        bruno.send(bruno.find("@ana").await.expect("known"), "There you are").await.expect("sends");
        assert_eq!(read(&ana, id).await, ["There you are"], "{late}");
        assert_eq!(assert_one(&ana, &bruno, "one was taken back").await, id);
    }
}

#[tokio::test]
async fn two_who_take_their_requests_back_and_accept_the_others_are_in_one_conversation() {
    let homes = Homes::on(&["relay"]);
    let (ana, bruno) = (homes.init("ana").await, homes.init("bruno").await);
    ask(&ana, &bruno, "bruno").await;
    ask(&bruno, &ana, "ana").await;
    ana.cancel(&handle("bruno")).await.expect("takes it back");
    bruno.cancel(&handle("ana")).await.expect("takes it back");
    sync(&[&ana, &bruno]).await;
    ana.accept(&handle("bruno")).await.expect("accepts");
    bruno.accept(&handle("ana")).await.expect("accepts");
    sync(&[&ana, &bruno, &ana, &bruno]).await;
    assert_one(&ana, &bruno, "both were taken back").await;
}

#[tokio::test]
async fn who_has_lost_the_conversation_asks_anew_and_the_other_follows() {
    for round in 0..4 {
        let homes = Homes::on(&["first", "second"]);
        // Her keys are there, and nothing else.
        homes.init("ana").await.intro().await.expect("an intro");
        homes.back_up("ana");
        let (ana, bruno) = (homes.open("ana").await, homes.init("bruno").await);
        let lost = meet(&ana, "ana", &bruno, "bruno").await;
        ana.send(lost, "before").await.expect("sends");
        assert_eq!(read(&bruno, lost).await, ["before"]);
        drop(ana);
        homes.restore("ana");
        let ana = homes.open("ana").await;
        let id = ask(&ana, &bruno, "bruno").await;
        assert_ne!(id, lost);
        sync(&[&bruno, &ana, &bruno]).await;
        bruno.send(bruno.find("@ana").await.expect("known"), "after").await.expect("sends");
        assert_eq!(read(&ana, id).await, ["after"], "{round}: whichever id is smaller");
        assert_eq!(assert_one(&ana, &bruno, "one was lost").await, id);
        assert_eq!(texts(&bruno, lost).await, ["before"], "what was said stays");
        homes.assert_no_hint_twice();
    }
}

/// Plays what two people and two relays may do in any order, and then has both want to talk.
async fn play(seed: u64) {
    let random = &mut StdRng::seed_from_u64(seed);
    let homes = Homes::on(&["first", "second"]);
    let people = [homes.init("ana").await, homes.init("bruno").await];
    let [ana, bruno] = &people;
    for _ in 0..random.random_range(6..24) {
        let who = random.random_range(0..2);
        let (me, other, name) = (&people[who], &people[1 - who], BOTH[who]);
        let other_name = other_of(name);
        match random.random_range(0..100) {
            0..35 => drop(me.sync().await),
            35..55 => {
                let cut_off: Vec<_> = BOTH.into_iter().filter(|_| random.random_bool(0.4)).collect();
                homes.networks.choose(random).expect("two").cut_off(&cut_off);
            }
            55..75 => drop(ask(me, other, other_name.as_str()).await),
            75..85 => drop(me.cancel(&other_name).await),
            85..95 => drop(me.accept(&other_name).await),
            _ => {
                if let Ok(id) = me.find(&format!("@{other_name}")).await {
                    drop(me.send(id, "meanwhile").await);
                }
            }
        }
    }
    for network in &homes.networks {
        network.cut_off(&[]);
    }
    for _ in 0..2 {
        sync(&[ana, bruno]).await;
        ask(ana, bruno, "bruno").await;
        ask(bruno, ana, "ana").await;
    }
    sync(&[ana, bruno, ana, bruno]).await;
    for client in &people {
        let connections = client.connections().await.expect("readable");
        assert_eq!(connections.len(), 1, "{seed}");
        assert_eq!(connections[0].status, ConnectionStatus::Accepted, "{seed}");
    }
    // What crossed may have each use another one; what they say brings them together.
    assert_talk(ana, bruno, &format!("seed {seed}")).await;
    assert_one(ana, bruno, &format!("seed {seed}")).await;
    homes.assert_no_hint_twice();
}

#[tokio::test]
async fn whatever_two_people_ask_and_take_back_by_relays_that_come_and_go_they_end_in_one_conversation() {
    let number = |name| std::env::var(name).ok().map(|value| value.parse::<u64>().expect("a number"));
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(100),
    };
    for seed in seeds {
        println!("SEED={seed}");
        play(seed).await;
    }
}
