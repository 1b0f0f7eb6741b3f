//! People who ask somebody into a group without being connected with them: their invitations wait for an answer.

use crate::{
    carriers::{Between, Carrier},
    enveloped_groups::{RotateNow as _, assert_all_talk, assert_same, settle},
    envelopes::{Homes, copy},
    support::{handle, read, texts},
};
use futures::StreamExt as _;
use std::{sync::Arc, time::Duration};
use tertulia::{Bundle, Client, ClientEvent, ConnectionStatus, ConversationId, Handle, RequestKind};
use tertulia_conversation::topic::ContentTopic;
use tertulia_transport::{Cursor, Delivery as _, Memory, Page, TransportError};

/// Ana, who takes Carla for connected; and Carla, who has taken her request back before that was heard of. To Carla Ana is nobody.
async fn strangers(homes: &Homes) -> (Client, Client) {
    let (ana, carla) = (homes.init("ana").await, homes.init("carla").await);
    let intro = ana.intro().await.expect("an intro").to_string();
    carla.meet(&intro, Some(&handle("ana"))).await.expect("asks");
    ana.sync().await.expect("hears of it");
    carla.cancel(&handle("ana")).await.expect("takes it back");
    let from = ana.requests().await.expect("readable")[0].from.clone();
    ana.accept(&from).await.expect("accepts");
    let intro = carla.intro().await.expect("an intro").to_string();
    ana.meet(&intro, Some(&handle("carla"))).await.expect("names her");
    (ana, carla)
}

async fn invite(ana: &Client, name: &str) -> ConversationId {
    ana.create_group(name, &[handle("carla")]).await.expect("a group").id
}

fn status(client: &[tertulia::Connection]) -> Vec<ConnectionStatus> {
    client.iter().map(|connection| connection.status).collect()
}

#[tokio::test]
async fn an_invitation_of_who_is_not_connected_waits_and_accepting_it_enters_the_group_alone() {
    let homes = Homes::on(&["relay"]);
    let (ana, carla) = strangers(&homes).await;
    let id = invite(&ana, "Tertulia").await;
    ana.send(id, "Carla, are you there?").await.expect("sends");
    carla.sync().await.expect("hears of it");
    let requests = carla.requests().await.expect("readable");
    let [request] = &requests[..] else { panic!("one: {requests:?}") };
    assert_eq!((request.kind, request.conversation, &request.from), (RequestKind::Group, id, &handle("ana")));
    assert_eq!(request.user, ana.me().user);
    assert!(carla.all_conversations().await.expect("readable").iter().all(|known| known.id != id));

    let accepted = carla.accept_request(&request.from).await.expect("enters");
    assert_eq!(accepted.connection, None);
    assert_eq!(accepted.groups.iter().map(|group| group.id).collect::<Vec<_>>(), [id]);
    assert!(carla.requests().await.expect("readable").is_empty());
    assert_eq!(carla.conversation(id).await.expect("known").name.as_deref(), Some("Tertulia"));
    assert_eq!(read(&carla, id).await, ["Carla, are you there?"], "what was said since is there");
    carla.send(id, "I am.").await.expect("sends");
    assert_eq!(read(&ana, id).await, ["Carla, are you there?", "I am."]);
    // In a group with somebody is not connected with them.
    assert_eq!(status(&carla.connections().await.expect("readable")), [ConnectionStatus::Cancelled]);
    assert!(carla.create_group("Other", &[handle("ana")]).await.is_err());
    let error = carla.accept_request(&handle("ana")).await.expect_err("nothing waits");
    assert_eq!(error.code(), "not-connected");
}

#[tokio::test]
async fn who_is_ignored_may_ask_again_who_is_blocked_not_and_neither_learns_of_it() {
    let homes = Homes::on(&["relay"]);
    let (ana, carla) = strangers(&homes).await;
    let id = invite(&ana, "Tertulia").await;
    carla.sync().await.expect("hears of it");
    let before = homes.published();
    assert_eq!(carla.ignore_request(&handle("ana")).await.expect("ignores"), None);
    assert!(carla.requests().await.expect("readable").is_empty());
    // The same envelope once more is a replay, and brings nothing back.
    let inbox =
        carla.intro().await.expect("an intro").to_string().parse::<Bundle>().expect("hers").inbox_address();
    for envelope in &before {
        homes.networks[0].inject(&ContentTopic::of_inbox(&inbox), envelope);
    }
    carla.sync().await.expect("syncs");
    assert!(carla.requests().await.expect("readable").is_empty());
    // Asking again is a new request, by a new Welcome.
    ana.remove_members(id, &[handle("carla")]).await.expect("takes her out");
    ana.add_members(id, &[handle("carla")]).await.expect("asks again");
    carla.sync().await.expect("hears of it");
    assert_eq!(carla.requests().await.expect("readable").len(), 1);
    let published = homes.published().len();
    let blocked = carla.block(&handle("ana")).await.expect("blocks");
    assert_eq!(blocked.status, ConnectionStatus::Blocked);
    assert!(carla.requests().await.expect("readable").is_empty());
    assert_eq!(homes.published().len(), published, "nothing is told");
    invite(&ana, "Another").await;
    let report = carla.sync().await.expect("hears nothing");
    assert_eq!(report.invalid, 0);
    assert!(carla.requests().await.expect("readable").is_empty());
    carla.unblock(&handle("ana")).await.expect("unblocks");
    invite(&ana, "A third").await;
    carla.sync().await.expect("hears of it");
    assert_eq!(carla.requests().await.expect("readable").len(), 1);
}

#[tokio::test]
async fn somebody_of_whom_nothing_is_known_can_be_accepted_and_blocked() {
    let homes = Homes::on(&["relay"]);
    let (ana, carla) = (homes.init("ana").await, homes.init("carla").await);
    // Her keys are there, and then the two meet, of which her backup knows nothing.
    carla.intro().await.expect("an intro");
    drop(carla);
    copy(&homes.path("carla"), &homes.path("backup"));
    let carla = homes.open("carla").await;
    crate::envelopes::meet(&ana, "ana", &carla, "carla").await;
    drop(carla);
    std::fs::remove_dir_all(homes.path("carla")).expect("is lost");
    copy(&homes.path("backup"), &homes.path("carla"));
    let carla = homes.open("carla").await;
    // What waits for her in the inbox from then: Ana's request.
    let id = invite(&ana, "Tertulia").await;
    carla.sync().await.expect("hears of both");
    let requests = carla.requests().await.expect("readable");
    let has = |kind| requests.iter().filter(|request| request.kind == kind).count();
    assert_eq!((has(RequestKind::Private), has(RequestKind::Group), requests.len()), (1, 1, 2));
    let from: Handle = requests[0].from.clone();
    assert_eq!(requests[1].from, from);
    // One answer for all that somebody has asked.
    let ignored = carla.ignore_request(&from).await.expect("ignores").expect("there is a row");
    assert_eq!(ignored.status, ConnectionStatus::Ignored);
    assert!(carla.requests().await.expect("readable").is_empty());
    assert!(carla.all_conversations().await.expect("readable").is_empty());
    let blocked = carla.block(&from).await.expect("blocks");
    assert_eq!(blocked.status, ConnectionStatus::Blocked);
    assert!(carla.conversation(id).await.is_err());
}

#[tokio::test]
async fn who_is_connected_by_then_is_not_asked() {
    let homes = Homes::on(&["relay"]);
    let (ana, carla) = (homes.init("ana").await, homes.init("carla").await);
    let intro = ana.intro().await.expect("an intro").to_string();
    carla.meet(&intro, Some(&handle("ana"))).await.expect("asks");
    ana.sync().await.expect("hears of it");
    let from = ana.requests().await.expect("readable")[0].from.clone();
    ana.accept(&from).await.expect("accepts");
    let intro = carla.intro().await.expect("an intro").to_string();
    ana.meet(&intro, Some(&handle("carla"))).await.expect("names her");
    let id = invite(&ana, "Tertulia").await;
    // She hears of the group and of being accepted at once, in whatever order.
    carla.sync().await.expect("hears of both");
    assert!(carla.requests().await.expect("readable").is_empty());
    settle(&[&ana, &carla]).await;
    assert_eq!(carla.find("Tertulia").await.expect("she is in it"), id);
}

/// A relay that keeps hardly anything, says so, and has cut so many envelopes of conversations' topics. Who reads a topic from its beginning is not told.
#[derive(Debug)]
struct Brief {
    inner: Memory,
    cut: usize,
}

impl Brief {
    fn place(&self, topic: ContentTopic, after: Option<&Cursor>) -> Option<Cursor> {
        match after {
            None if !topic.is_inbox() => Some(self.cut.to_string().try_into().expect("digits are a cursor")),
            _ => after.cloned(),
        }
    }
}

#[async_trait::async_trait]
impl Between for Brief {
    fn inner(&self) -> &Memory {
        &self.inner
    }

    async fn retention(&self) -> Result<Option<Duration>, TransportError> {
        Ok(Some(Duration::ZERO))
    }

    async fn fetch(
        &self,
        topic: &ContentTopic,
        after: Option<&Cursor>,
        limit: u32,
    ) -> Result<Page, TransportError> {
        self.inner.fetch(topic, self.place(*topic, after).as_ref(), limit).await
    }

    async fn wait(
        &self,
        topics: &[(ContentTopic, Option<Cursor>)],
        at_most: Duration,
    ) -> Result<Vec<(ContentTopic, Page)>, TransportError> {
        let topics: Vec<_> =
            topics.iter().map(|(topic, after)| (*topic, self.place(*topic, after.as_ref()))).collect();
        self.inner.wait(&topics, at_most).await
    }
}

#[tokio::test]
async fn who_accepts_later_than_the_relay_keeps_what_was_changed_since_is_let_in_again_by_itself() {
    let homes = Homes::on(&["relay"]);
    let (ana, carla) = strangers(&homes).await;
    let id = invite(&ana, "Tertulia").await;
    carla.sync().await.expect("hears of it");
    drop(carla);
    for _ in 0..5 {
        ana.rotate_now(id).await;
    }
    let cut = homes.networks[0].published(&ContentTopic::of_conversation(&id)).len();
    let relay = Arc::new(Carrier(Brief { inner: homes.networks[0].endpoint("carla"), cut }));
    let carla = Client::builder(homes.path("carla")).carrier(relay).open().await.expect("opens");
    let accepted = carla.accept_request(&handle("ana")).await.expect("enters");
    assert_eq!(accepted.groups.iter().map(|group| group.id).collect::<Vec<_>>(), [id]);
    let epochs = (carla.epoch(id).await.expect("a member"), ana.epoch(id).await.expect("a member"));
    assert!(epochs.0 < epochs.1, "of what was changed since, nothing is left: {epochs:?}");
    settle(&[&carla, &ana, &carla]).await;
    assert_same(id, &[&ana, &carla]).await;
    assert_all_talk(id, &[&ana, &carla]).await;
}

#[tokio::test]
async fn few_wait_of_one_person_and_none_for_ever() {
    let homes = Homes::on(&["relay"]);
    let (ana, carla) = strangers(&homes).await;
    for number in 0..10 {
        invite(&ana, &format!("Group {number}")).await;
    }
    let report = carla.sync().await.expect("syncs");
    assert_eq!(carla.requests().await.expect("readable").len(), 8);
    assert_eq!(report.invalid, 2, "the others are passed over");
    drop(carla);
    homes.database("carla").execute("UPDATE invitations SET expires = 1", ()).expect("changes it");
    let carla = homes.open("carla").await;
    assert!(carla.requests().await.expect("readable").is_empty());
    let error = carla.accept_request(&handle("ana")).await.expect_err("too late");
    assert_eq!(error.code(), "request-expired");
    carla.sync().await.expect("forgets them");
    let count =
        |sql: &str| homes.database("carla").query_row(sql, (), |row| row.get::<_, u32>(0)).expect("a number");
    assert_eq!(count("SELECT count(*) FROM invitations"), 0);
    assert_eq!(status(&carla.connections().await.expect("readable")), [ConnectionStatus::Cancelled]);
    invite(&ana, "Once more").await;
    carla.sync().await.expect("hears of it");
    assert_eq!(carla.requests().await.expect("readable").len(), 1);
}

#[tokio::test]
async fn events_tell_of_an_invitation_as_it_comes() {
    let homes = Homes::on(&["relay"]);
    let (ana, carla) = strangers(&homes).await;
    let id = invite(&ana, "Before").await;
    let listener = carla.clone();
    let mut events = Box::pin(listener.events());
    let ClientEvent::Invited(request) = events.next().await.expect("goes on").expect("an event") else {
        panic!("what came before is told first");
    };
    assert_eq!((request.kind, request.conversation), (RequestKind::Group, id));
    while events.next().await.expect("goes on").expect("an event") != ClientEvent::CaughtUp {}
    let id = invite(&ana, "Live").await;
    loop {
        if let ClientEvent::Invited(request) = events.next().await.expect("goes on").expect("an event") {
            assert_eq!((request.from, request.conversation), (handle("ana"), id));
            break;
        }
    }
    assert!(texts(&carla, id).await.is_empty());
}
