//! Conversations of a type of the application's own, with the same calls through a hub and in envelopes.

use crate::{
    envelopes::{Homes, meet},
    support::{Hub, PASSWORD, connect, handle},
};
use futures::StreamExt as _;
use tertulia::{
    Client, ClientBuilder, ClientEvent, ConversationId, ErrorKind, Handle, Message, MessageQuery,
    types::{
        Carrier, ConversationType, Descriptor, Encryption, FrameKind, Members, OWN_ON_MLS, Outcome, Scheme,
        TypeId, Unsupported, WireError,
    },
};

/// A type whose frames are a version and a text, in this version.
macro_rules! notes {
    ($name:ident, $version:literal, $descriptor:expr) => {
        struct $name;

        impl ConversationType for $name {
            const DESCRIPTOR: Descriptor = $descriptor.complete();
            type Frame = String;

            fn is_handshake(_: &String) -> bool {
                false
            }

            fn encode(note: &String) -> Vec<u8> {
                [&[$version], note.as_bytes()].concat()
            }

            fn decode(bytes: &[u8]) -> Outcome<String> {
                let what = "note";
                match bytes.split_first() {
                    Some((0, _)) => Outcome::NotForUs,
                    Some((&version, _)) if version > $version => {
                        Outcome::Unsupported(Unsupported { what, number: version.into() })
                    }
                    Some((_, note)) => String::from_utf8(note.to_vec())
                        .map_or(Outcome::Invalid(WireError::Malformed { what }), Outcome::Decoded),
                    None => Outcome::Invalid(WireError::Malformed { what }),
                }
            }
        }
    };
}

const FRAMES: [FrameKind; 1] =
    [FrameKind { name: "note", number: 1, carries: "a note", is_handshake: false }];
const NOTES: Descriptor = Descriptor {
    title: "NotesV1",
    id: TypeId::new(0x8001),
    summary: "people keep notes",
    frames: &FRAMES,
    ..OWN_ON_MLS
};
const PAIR: Members = Members { min_users: 2, max_users: 2, ..OWN_ON_MLS.members };
const RATCHET: Encryption = Encryption { scheme: Scheme::DoubleRatchet, ..OWN_ON_MLS.encryption };

notes!(NotesV1, 1, NOTES);
// The same type in a later version of the application.
notes!(LaterNotes, 2, NOTES);
notes!(DiaryV1, 1, Descriptor { title: "DiaryV1", id: TypeId::new(0x8002), ..NOTES });
notes!(PairV1, 1, Descriptor { title: "PairV1", id: TypeId::new(0x8003), members: PAIR, ..NOTES });
notes!(SameNumberV1, 1, Descriptor { title: "SameNumberV1", ..NOTES });
notes!(SameTitle, 1, Descriptor { id: TypeId::new(0x8004), ..NOTES });
notes!(ReservedV1, 1, Descriptor { title: "ReservedV1", id: TypeId::new(0x0200), ..NOTES });
notes!(RatchetV1, 1, Descriptor { title: "RatchetV1", encryption: RATCHET, ..NOTES });
notes!(BlindV1, 1, Descriptor { title: "BlindV1", carrier: Carrier::Envelopes, ..NOTES });

/// A broken application's: what it writes is none of the type's frames.
struct BrokenNotes;

impl ConversationType for BrokenNotes {
    const DESCRIPTOR: Descriptor = NOTES.complete();
    type Frame = Vec<u8>;

    fn is_handshake(_: &Vec<u8>) -> bool {
        false
    }

    fn encode(frame: &Vec<u8>) -> Vec<u8> {
        frame.clone()
    }

    fn decode(bytes: &[u8]) -> Outcome<Vec<u8>> {
        if bytes == b"refused" {
            return Outcome::Invalid(WireError::Malformed { what: "note" });
        }
        Outcome::Decoded(bytes.to_vec())
    }
}

/// What carries the conversations.
enum Place {
    Relay(Homes),
    Hub(Hub),
}

impl Place {
    async fn both() -> [Self; 2] {
        [Self::Relay(Homes::on(&["relay"])), Self::Hub(Hub::start().await)]
    }

    fn builder(&self, name: &str) -> ClientBuilder {
        match self {
            Self::Relay(homes) => homes.builder(name, name),
            Self::Hub(hub) => Client::builder(hub.home(name)),
        }
    }

    /// A new home, whose builder may have types.
    async fn begin(&self, name: &str, builder: ClientBuilder) -> Client {
        let begun = match self {
            Self::Relay(_) => builder.init::<&str>(&[]).await,
            Self::Hub(hub) => builder.sign_up(&hub.url, name, PASSWORD).await,
        };
        begun.expect("a new home")
    }

    async fn befriend(&self, a: &Client, a_name: &str, b: &Client, b_name: &str) {
        match self {
            Self::Relay(_) => meet(a, a_name, b, b_name).await,
            Self::Hub(_) => connect(a, b).await,
        };
    }

    /// Ana and Bruno, who are connected; both know `NotesV1` and `DiaryV1`.
    async fn friends(&self) -> (Client, Client) {
        let [ana, bruno] = ["ana", "bruno"].map(|name| self.builder(name).with_type::<NotesV1>());
        let (ana, bruno) = (ana.with_type::<DiaryV1>(), bruno.with_type::<DiaryV1>());
        let (ana, bruno) = (self.begin("ana", ana).await, self.begin("bruno", bruno).await);
        self.befriend(&ana, "ana", &bruno, "bruno").await;
        (ana, bruno)
    }

    /// Changes what a closed home holds, past the client.
    fn tamper(&self, home: &str, sql: &str) {
        match self {
            Self::Relay(homes) => homes.database(home).execute_batch(sql).expect("changes it"),
            Self::Hub(hub) => hub.tamper(home, sql),
        }
    }
}

fn bruno() -> [Handle; 1] {
    [handle("bruno")]
}

/// What is said in a conversation, as this type reads it.
fn read<T: ConversationType>(messages: Vec<Message>) -> Vec<Outcome<T::Frame>> {
    messages.into_iter().map(|message| message.frame.expect("a frame").decode::<T>()).collect()
}

/// The same in a home that has been brought up to date.
async fn notes<T: ConversationType>(client: &Client, id: ConversationId) -> Vec<Outcome<T::Frame>> {
    client.sync().await.expect("syncs");
    read::<T>(client.messages(id, MessageQuery::default()).await.expect("readable"))
}

fn decoded<const N: usize>(notes: [&str; N]) -> Vec<Outcome<String>> {
    notes.map(|note| Outcome::Decoded(note.to_owned())).into()
}

#[tokio::test]
async fn people_talk_in_a_type_of_the_applications_own_with_the_same_calls_over_both() {
    for place in Place::both().await {
        let (ana, bruno_) = place.friends().await;
        let mut events = bruno_.events().boxed();
        let made = ana.create::<NotesV1>("Notes", &bruno()).await.expect("makes it");
        let id = made.id;
        let own = made.own_type.expect("it is of a type");
        assert_eq!((own.id, own.title), (TypeId::new(0x8001), Some("NotesV1")));
        assert_eq!((made.name.as_deref(), made.members.len()), (Some("Notes"), 2));

        let sent = ana.send_frame::<NotesV1>(id, &"olives".to_owned()).await.expect("sends");
        let frame = sent.frame.expect("a frame");
        assert_eq!((frame.of(), frame.as_bytes()), (TypeId::new(0x8001), &b"\x01olives"[..]));
        let arrived = loop {
            let event = events.next().await.expect("goes on").expect("no failure");
            if let ClientEvent::Message(message) = event {
                break message;
            }
        };
        assert_eq!((arrived.conversation, arrived.text.as_str()), (id, ""));
        assert_eq!(read::<NotesV1>(vec![arrived]), decoded(["olives"]));
        drop(events);
        let at_bruno = bruno_.conversation(id).await.expect("known");
        assert_eq!((at_bruno.own_type, at_bruno.unread), (made.own_type, 1));
        assert_eq!(bruno_.find("Notes").await.expect("by its name"), id);

        bruno_.send_frame::<NotesV1>(id, &"bread".to_owned()).await.expect("answers");
        // What is written offline goes out with the next synchronisation, once.
        ana.queue_frame::<NotesV1>(id, &"wine".to_owned()).await.expect("queues");
        drop(ana);
        let ana = place.builder("ana").with_type::<NotesV1>().open().await.expect("opens");
        assert_eq!(ana.sync().await.expect("syncs").sent, 1);
        let expected = decoded(["olives", "bread", "wine"]);
        assert_eq!(notes::<NotesV1>(&bruno_, id).await, expected);
        let mut at_ana = notes::<NotesV1>(&ana, id).await;
        at_ana.sort_by_key(|note| format!("{note:?}"));
        assert_eq!(at_ana.len(), 3);
    }
}

#[tokio::test]
async fn what_is_not_of_the_conversations_type_is_not_sent() {
    for place in Place::both().await {
        let (ana, _bruno) = place.friends().await;
        let id = ana.create::<NotesV1>("Notes", &bruno()).await.expect("makes it").id;
        let group = ana.create_group("Group", &bruno()).await.expect("makes it");
        assert_eq!(group.own_type, None);
        let note = "olives".to_owned();
        let error = ana.send_frame::<DiaryV1>(id, &note).await.expect_err("it is no diary");
        assert_eq!((error.code(), error.kind()), ("other-type", ErrorKind::Misuse));
        let error = ana.queue_frame::<NotesV1>(group.id, &note).await.expect_err("it is of no type");
        assert_eq!(error.code(), "other-type");
        assert_eq!(ana.send(id, "olives").await.expect_err("texts are not said in it").code(), "other-type");
        assert_eq!(ana.queue(id, "olives").await.expect_err("nor queued").code(), "other-type");
        let error = ana.send_frame::<PairV1>(id, &note).await.expect_err("nobody has registered it");
        assert_eq!(error.code(), "type-not-registered");
        let error = ana.create::<PairV1>("Pair", &bruno()).await.expect_err("nobody has registered it");
        assert_eq!(error.code(), "type-not-registered");
        let long = "x".repeat(1 << 20);
        let error = ana.send_frame::<NotesV1>(id, &long).await.expect_err("it is too long");
        assert_eq!(error.code(), "invalid-frame");
        drop(ana);

        let ana = place.builder("ana").with_type::<BrokenNotes>().open().await.expect("opens");
        let error = ana.send_frame::<BrokenNotes>(id, &b"refused".to_vec()).await.expect_err("it is none");
        assert_eq!(error.code(), "invalid-frame");
        assert!(notes::<NotesV1>(&ana, id).await.is_empty());
    }
}

#[tokio::test]
async fn a_frame_that_is_wrong_is_counted_and_dropped_and_one_of_a_later_version_is_kept() {
    for place in Place::both().await {
        let (ana, bruno_) = place.friends().await;
        let id = ana.create::<NotesV1>("Notes", &bruno()).await.expect("makes it").id;
        bruno_.sync().await.expect("joins");
        drop(ana);
        let ana = place.builder("ana").with_type::<BrokenNotes>().open().await.expect("opens");
        for wrong in [&b"\x01\xff"[..], b"", b"\x01fine"] {
            ana.send_frame::<BrokenNotes>(id, &wrong.to_vec()).await.expect("sends");
        }
        let report = bruno_.sync().await.expect("syncs");
        assert_eq!((report.invalid, report.unsupported, report.messages), (2, 0, 1));
        drop(ana);
        let ana = place.builder("ana").with_type::<LaterNotes>().open().await.expect("opens");
        ana.send_frame::<LaterNotes>(id, &"from the future".to_owned()).await.expect("sends");
        let report = bruno_.sync().await.expect("syncs");
        assert_eq!((report.invalid, report.unsupported, report.messages), (0, 1, 1));
        let kept = Outcome::Unsupported(Unsupported { what: "note", number: 2 });
        assert_eq!(notes::<NotesV1>(&bruno_, id).await, [Outcome::Decoded("fine".to_owned()), kept]);
        drop(bruno_);
        // The later version reads it.
        let bruno_ = place.builder("bruno").with_type::<LaterNotes>().open().await.expect("opens");
        assert_eq!(notes::<LaterNotes>(&bruno_, id).await, decoded(["fine", "from the future"]));
        let [_, as_diary] = &notes::<DiaryV1>(&bruno_, id).await[..] else { panic!("two") };
        let wrong = WireError::WrongType { got: 0x8001, expected: 0x8002 };
        assert_eq!(*as_diary, Outcome::Invalid(wrong));
    }
}

#[tokio::test]
async fn a_member_who_says_something_of_another_type_is_not_heard() {
    for place in Place::both().await {
        let (ana, bruno_) = place.friends().await;
        let id = ana.create::<NotesV1>("Notes", &bruno()).await.expect("makes it").id;
        ana.send_frame::<NotesV1>(id, &"olives".to_owned()).await.expect("sends");
        assert_eq!(notes::<NotesV1>(&bruno_, id).await, decoded(["olives"]));
        drop(ana);
        place.tamper("ana", "UPDATE own_types SET type = 32770");
        let ana = place.builder("ana").with_type::<DiaryV1>().open().await.expect("opens");
        ana.send_frame::<DiaryV1>(id, &"Dear diary".to_owned()).await.expect("sends");
        assert_eq!(bruno_.sync().await.expect("syncs").invalid, 1);
        drop(ana);
        place.tamper("ana", "DELETE FROM own_types");
        let ana = place.builder("ana").open().await.expect("opens");
        ana.send(id, "A text").await.expect("sends");
        let report = bruno_.sync().await.expect("syncs");
        assert_eq!((report.invalid, report.undecryptable, report.messages), (1, 0, 0));
        // Nor does it change what the conversation is.
        assert_eq!(notes::<NotesV1>(&bruno_, id).await, decoded(["olives"]));
        let own = bruno_.conversation(id).await.expect("known").own_type.expect("it is of a type");
        assert_eq!(own.id, TypeId::new(0x8001));

        // And in a group, which is of none, a frame is not heard either.
        let group = ana.create_group("Group", &bruno()).await.expect("makes it").id;
        bruno_.sync().await.expect("joins");
        drop(ana);
        let sql =
            "INSERT INTO own_types SELECT id, 32769, zeroblob(32) FROM conversations WHERE name = 'Group'";
        place.tamper("ana", sql);
        let ana = place.builder("ana").with_type::<NotesV1>().open().await.expect("opens");
        ana.send_frame::<NotesV1>(group, &"olives".to_owned()).await.expect("sends");
        assert_eq!(bruno_.sync().await.expect("syncs").invalid, 1);
        assert_eq!(bruno_.conversation(group).await.expect("known").own_type, None);
    }
}

#[tokio::test]
async fn types_that_clash_or_cannot_be_carried_are_refused_when_a_home_is_opened() {
    for place in Place::both().await {
        drop(place.begin("ana", place.builder("ana").with_type::<NotesV1>().with_type::<NotesV1>()).await);
        let with = || place.builder("ana").with_type::<NotesV1>();
        for (builder, code, says) in [
            (with().with_type::<SameNumberV1>(), "type-taken", "the number 0x8001"),
            (with().with_type::<SameTitle>(), "type-taken", "NotesV1 is the title"),
            (with().with_type::<ReservedV1>(), "reserved-type", "begin with 0x8000"),
            (place.builder("ana").with_type::<RatchetV1>(), "type-not-carried", "possible is MLS"),
        ] {
            let error = builder.open().await.expect_err("it is refused");
            assert_eq!((error.code(), error.kind()), (code, ErrorKind::Misuse));
            assert!(error.to_string().contains(says), "{error}");
        }
        let refused = place.builder("new").with_type::<ReservedV1>();
        let error = match &place {
            Place::Relay(_) => refused.init::<&str>(&[]).await,
            Place::Hub(hub) => refused.sign_up(&hub.url, "new", PASSWORD).await,
        };
        assert_eq!(error.expect_err("it is refused").code(), "reserved-type");
        with().open().await.expect("nothing is wrong with the home");
    }
}

#[tokio::test]
async fn an_invitation_to_an_unknown_type_is_kept_until_the_application_knows_it() {
    let place = Place::Relay(Homes::on(&["relay"]));
    let ana = place.begin("ana", place.builder("ana").with_type::<NotesV1>()).await;
    let bruno_ = place.begin("bruno", place.builder("bruno")).await;
    place.befriend(&ana, "ana", &bruno_, "bruno").await;
    let id = ana.create::<NotesV1>("Notes", &bruno()).await.expect("makes it").id;
    ana.send_frame::<NotesV1>(id, &"olives".to_owned()).await.expect("sends");
    let report = bruno_.sync().await.expect("syncs");
    assert_eq!((report.unsupported, report.invalid), (1, 0));
    assert_eq!(bruno_.sync().await.expect("syncs").unsupported, 0, "it is counted once");
    assert_eq!(bruno_.conversation(id).await.expect_err("it is not entered").code(), "unknown-target");
    // Nothing else is the worse for it.
    let one_to_one = bruno_.find("@ana").await.expect("they are connected");
    bruno_.send(one_to_one, "I need a newer version").await.expect("sends");
    drop(bruno_);
    let bruno_ = place.builder("bruno").open().await.expect("opens");
    assert_eq!(bruno_.sync().await.expect("syncs").unsupported, 0);
    drop(bruno_);

    let bruno_ = place.builder("bruno").with_type::<NotesV1>().open().await.expect("opens");
    assert_eq!(notes::<NotesV1>(&bruno_, id).await, decoded(["olives"]));
    bruno_.send_frame::<NotesV1>(id, &"bread".to_owned()).await.expect("he is in it");
    assert_eq!(notes::<NotesV1>(&ana, id).await, decoded(["olives", "bread"]));
}

#[tokio::test]
async fn through_a_hub_a_conversation_of_an_unknown_type_is_shown_by_its_number() {
    let place = Place::Hub(Hub::start().await);
    let ana = place.begin("ana", place.builder("ana").with_type::<NotesV1>()).await;
    let bruno_ = place.begin("bruno", place.builder("bruno")).await;
    place.befriend(&ana, "ana", &bruno_, "bruno").await;
    let id = ana.create::<NotesV1>("Notes", &bruno()).await.expect("makes it").id;
    // To the hub it is a group as any other.
    assert_eq!(id.as_uuid().get_version_num(), 4);
    ana.send_frame::<NotesV1>(id, &"olives".to_owned()).await.expect("sends");
    let report = bruno_.sync().await.expect("syncs");
    assert_eq!((report.unsupported, report.invalid, report.messages), (1, 0, 1));
    let own = bruno_.conversation(id).await.expect("known").own_type.expect("it is of a type");
    assert_eq!((own.id, own.title), (TypeId::new(0x8001), None));
    assert_eq!(bruno_.send(id, "What is this?").await.expect_err("no texts").code(), "other-type");
    drop(bruno_);
    let bruno_ = place.builder("bruno").with_type::<NotesV1>().open().await.expect("opens");
    assert_eq!(notes::<NotesV1>(&bruno_, id).await, decoded(["olives"]));
}

#[tokio::test]
async fn who_comes_later_learns_of_the_type_inside_the_encryption() {
    let place = Place::Hub(Hub::start().await);
    let Place::Hub(hub) = &place else { panic!("a hub") };
    let (ana, bruno_) = place.friends().await;
    let carol = place.begin("carol", place.builder("carol").with_type::<NotesV1>()).await;
    connect(&ana, &carol).await;
    let made = ana.create::<NotesV1>("Notes", &bruno()).await.expect("makes it");
    bruno_.sync().await.expect("joins");
    // A further device of Bruno's, by itself; and Carol, by Ana.
    let builder = Client::builder(hub.home("phone")).with_type::<NotesV1>();
    let phone = builder.log_in(&hub.url, "bruno", PASSWORD).await.expect("logs in");
    ana.sync().await.expect("sees the device");
    ana.add_members(made.id, &[handle("carol")]).await.expect("adds");
    ana.send_frame::<NotesV1>(made.id, &"olives".to_owned()).await.expect("sends");
    for client in [&phone, &carol] {
        assert_eq!(notes::<NotesV1>(client, made.id).await, decoded(["olives"]));
        let known = client.conversation(made.id).await.expect("known");
        assert_eq!((known.own_type, known.name), (made.own_type, made.name.clone()));
    }
    carol.send_frame::<NotesV1>(made.id, &"bread".to_owned()).await.expect("sends");
    assert_eq!(notes::<NotesV1>(&phone, made.id).await, decoded(["olives", "bread"]));
}

#[tokio::test]
async fn the_limits_of_a_type_are_kept_and_one_for_envelopes_stays_away_from_a_hub() {
    for place in Place::both().await {
        let ana = place.begin("ana", place.builder("ana").with_type::<PairV1>()).await;
        let bruno_ = place.begin("bruno", place.builder("bruno").with_type::<PairV1>()).await;
        let carol = place.begin("carol", place.builder("carol")).await;
        place.befriend(&ana, "ana", &bruno_, "bruno").await;
        place.befriend(&ana, "ana", &carol, "carol").await;
        let error = ana.create::<PairV1>("Alone", &[]).await.expect_err("it takes two");
        assert_eq!(error.code(), "too-few-members");
        let three = [handle("bruno"), handle("carol")];
        let error = ana.create::<PairV1>("Three", &three).await.expect_err("it takes two");
        assert_eq!(error.code(), "too-many-members");
        let pair = ana.create::<PairV1>("Pair", &bruno()).await.expect("makes it");
        let error = ana.add_members(pair.id, &[handle("carol")]).await.expect_err("they are two");
        assert_eq!(error.code(), "too-many-members");
        assert_eq!(ana.conversation(pair.id).await.expect("known").members.len(), 2);
        drop(ana);

        let ana = place.builder("ana").with_type::<BlindV1>().open().await.expect("opens");
        match (&place, ana.create::<BlindV1>("Blind", &bruno()).await) {
            (Place::Relay(_), made) => assert_eq!(made.expect("makes it").members.len(), 2),
            (Place::Hub(_), refused) => {
                assert_eq!(refused.expect_err("no hub carries it").code(), "has-account");
            }
        }
    }
}
