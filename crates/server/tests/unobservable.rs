//! Who is blocked or ignored receives, byte for byte, what who is merely not answered receives, over every endpoint that there
//! is.
#![allow(clippy::unwrap_used)]

mod support;

use reqwest::{Method, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use std::{cell::RefCell, collections::BTreeSet, fmt::Write as _};
use support::{
    answers,
    hub::{Answer, Hub, PASSWORD, Person},
    mls::{commit, encrypt},
    open::Client,
    socket::{self, Socket},
};
use tertulia_api::{connection::Connection, event::EventPage};
use tertulia_domain::{ConversationId, Protocol};
use tokio::sync::Mutex;

/// A hub with somebody who asks and somebody who is asked. In every world the handles are the same.
struct World {
    hub: Hub,
    alice: Person,
    bob: Person,
    /// The further devices of the two, where they have some.
    phones: Option<[Person; 2]>,
    one_to_one: ConversationId,
    group: ConversationId,
    /// The cursors that alice was given, in their order.
    cursors: RefCell<Vec<String>>,
    /// The stream of her events, and the cursor of the last one that came.
    stream: Mutex<(Socket, String)>,
}

impl World {
    /// Bob does not answer, or does this.
    async fn with(reaction: Option<&str>) -> Self {
        let hub = Hub::start().await;
        let (alice, bob) = (Person::sign_up(&hub, "alice").await, Person::sign_up(&hub, "bob").await);
        bob.put("/v1/self/profile", &json!({ "name": "Bob", "locale": "eu" })).await.empty();
        let one_to_one = alice.connect(&bob).await;
        if let Some(status) = reaction {
            bob.set_connection(&alice, status).await.done::<Connection>();
        }
        let (group, _) = alice.new_group().await;
        let stream = Mutex::new((socket::open(&alice, "").await, String::new()));
        Self { hub, alice, bob, phones: None, one_to_one, group, cursors: RefCell::default(), stream }
    }

    /// Bob has accepted and says nothing, or has blocked alice since. Each has two devices.
    async fn of_friends(blocks: bool) -> Self {
        let mut world = Self::with(Some("accepted")).await;
        let Self { hub, alice, bob, .. } = &world;
        let phones = [
            Person::open(hub, "alice", "/v1/sessions", 1).await,
            Person::open(hub, "bob", "/v1/sessions", 1).await,
        ];
        for device in [alice, bob, &phones[0], &phones[1]] {
            device.publish_pairwise(&[1, 2]).await;
        }
        if blocks {
            bob.set_connection(alice, "blocked").await.done::<Connection>();
        }
        world.phones = Some(phones);
        world
    }

    /// The devices of the phones, by whose they are.
    fn phones(&self) -> Vec<(&'static str, &'static str, String)> {
        let [alices, bobs] = match &self.phones {
            Some(phones) => phones.each_ref().map(|phone| phone.mls.device.to_string()),
            None => return Vec::new(),
        };
        vec![("ALICES_PHONE", "alice's phone", alices), ("BOBS_PHONE", "bob's phone", bobs)]
    }

    /// The names that stand in a step's path and body.
    fn filled(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for (place, _, device) in self.phones() {
            text = text.replace(place, &device);
        }
        text.replace("BOBS_DEVICE", &self.bob.mls.device.to_string())
            .replace("BOB", &self.bob.user.to_string())
            .replace("ALICE_ID", &self.alice.user.to_string())
            .replace("ONE_TO_ONE", &self.one_to_one.to_string())
            .replace("GROUP", &self.group.to_string())
    }

    /// What a step receives, and what alice can then find out of what the hub has stored: by the stream of her events, and by
    /// asking for what comes after everything.
    async fn find_out(&self, step: &Step) -> Vec<String> {
        let mut found = vec![self.receive(step).await];
        found.extend(self.heard().await);
        for beyond in BEYOND {
            found.push(self.receive(&get("GET /v1/events", beyond)).await);
        }
        found
    }

    /// What came by the stream of events since the last time, as it came.
    async fn heard(&self) -> Vec<String> {
        let mut heard = Vec::new();
        let page = self.alice.get("/v1/events?limit=1000").await;
        if page.status == StatusCode::UNAUTHORIZED {
            return heard; // her session has ended, and the stream with it
        }
        let Some(last) = page.done::<EventPage>().events.pop() else { return heard };
        let (socket, read) = &mut *self.stream.lock().await;
        while *read != last.cursor {
            let event = socket::next(socket).await;
            heard.push(self.named(&serde_json::to_string(&event).unwrap()));
            *read = event.cursor;
        }
        heard
    }

    /// What a step receives: status, headers and body, with what is random or of the clock named.
    async fn receive(&self, step: &Step) -> String {
        let request = self.alice.request(step.method.clone(), &self.filled(step.path));
        let request = match &step.body {
            Body::None => request,
            Body::Json(body) => {
                request.header("content-type", "application/json").body(self.filled(&body.to_string()))
            }
            Body::Mls(body) => request.header("content-type", "message/mls").body(body.clone()),
        };
        let response = request.bearer_auth(&self.alice.token).send().await.unwrap();
        let (status, headers) = (response.status(), told_by(response.headers()));
        let path = response.url().path().to_owned();
        let bytes = response.bytes().await.unwrap().to_vec();
        answers::note(&step.method, &path, status, &bytes);
        let body = match String::from_utf8(bytes) {
            Ok(text) => self.named(&text),
            Err(error) => format!("{} bytes of MLS", error.as_bytes().len()),
        };
        format!("{status} {headers:?} {body}")
    }

    /// What an answer is to who got it.
    fn named_answer(&self, answer: &Answer) -> String {
        format!("{} {}", answer.status, self.named(std::str::from_utf8(&answer.body).unwrap()))
    }

    /// Takes the 1:1 to MLS, and says what alice was answered.
    async fn migrate(&self) -> Vec<String> {
        let Self { alice, bob, one_to_one, .. } = self;
        let too_early = alice.set_protocol(*one_to_one, Protocol::Mls).await;
        let group_id = alice.conversation(*one_to_one).await.group_id.0;
        let mut at_alice = alice.mls.create_group(&group_id, &alice.hub_key);
        let mut packages = alice.claim(&[bob.user]).await;
        packages.extend(alice.claim(&[alice.user]).await);
        let bundle = commit(&mut at_alice, &packages, &[]);
        let committed = alice.commit(*one_to_one, &bundle).await;
        at_alice.apply_pending_commit().unwrap();
        let finished = alice.set_protocol(*one_to_one, Protocol::Mls).await;
        let sent = alice.send(*one_to_one, encrypt(&mut at_alice, "by the group")).await;
        let back = alice.set_protocol(*one_to_one, Protocol::Pairwise).await;
        [too_early, committed, finished, sent, back].iter().map(|answer| self.named_answer(answer)).collect()
    }

    fn named(&self, body: &str) -> String {
        let mut body = body.to_owned();
        for (_, name, device) in self.phones() {
            body = body.replace(&device, name);
        }
        for (id, name) in [
            (self.alice.user.to_string(), "alice's id"),
            (self.bob.user.to_string(), "bob's id"),
            (self.alice.mls.device.to_string(), "alice's device"),
            (self.bob.mls.device.to_string(), "bob's device"),
            (self.one_to_one.to_string(), "their 1:1"),
            (self.group.to_string(), "alice's group"),
            (
                ConversationId::subconversation(self.one_to_one, &"call".parse().unwrap()).to_string(),
                "their call",
            ),
        ] {
            body = body.replace(&id, name);
        }
        for field in ["cursor", "resume"] {
            body = with_numbers(&body, field, &mut self.cursors.borrow_mut());
        }
        for field in [
            "sent_at",
            "updated_at",
            "created_at",
            "joined_at",
            "expires_at",
            "group_id",
            "external_sender",
            "team",
            "key",
            "signature",
            "signature_key",
            "identity_key",
            "key_package",
            "commit",
            "proposal",
            "welcome",
            "message",
            "last_resort",
            "session",
            "token",
            "used_at",
        ] {
            body = without_value(&body, field);
        }
        let Ok(mut value) = serde_json::from_str::<Value>(&body.replace(":,", ":0,").replace(":}", ":0}"))
        else {
            return body;
        };
        let rows = ["missing", "redundant", "deleted", "keys", "key_packages", "devices", "members"];
        let mut differs = false;
        for field in rows {
            // The hub sorts by ids, which are random.
            if let Some(Value::Array(rows)) = value.get_mut(field) {
                rows.sort_by_key(ToString::to_string);
                differs = true;
            }
        }
        if differs { value.to_string() } else { body }
    }
}

/// The JSON with the values of this field, a number or a string, left out.
fn without_value(json: &str, field: &str) -> String {
    let key = format!("\"{field}\":");
    let mut parts = json.split(&key);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find([',', '}']).unwrap();
        out.push_str(&key);
        out.push_str(&part[end..]);
    }
    out
}

/// The JSON with each text in this field replaced by its place among those that are known. Which are the same shows, and no more.
fn with_numbers(json: &str, field: &str, known: &mut Vec<String>) -> String {
    let key = format!("\"{field}\":\"");
    let mut parts = json.split(&key);
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (text, rest) = part.split_once('"').unwrap();
        let place = known.iter().position(|cursor| cursor == text).unwrap_or(known.len());
        if place == known.len() {
            known.push(text.to_owned());
        }
        let _ = write!(out, "{key}{place}\"{rest}"); // writing to a text does not fail
    }
    out
}

/// The headers of an answer, but for those that are of the clock or of the one request.
fn told_by(headers: &HeaderMap) -> BTreeSet<String> {
    let told = headers.iter().filter(|(name, _)| !["date", "x-request-id"].contains(&name.as_str()));
    told.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
}

/// Requests for what comes after everything that the hub has stored: in the words of cursors that could once be read, and with
/// what looks like one of today.
const BEYOND: [&str; 2] =
    ["/v1/events?since=p999999999999", "/v1/events?since=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"];

fn get(operation: &'static str, path: &'static str) -> Step {
    step(operation, path, Body::None)
}

/// A request that alice makes.
struct Step {
    method: Method,
    path: &'static str,
    body: Body,
    /// The operation of the API's description that it is of.
    operation: &'static str,
}

enum Body {
    None,
    Json(Value),
    Mls(Vec<u8>),
}

fn step(operation: &'static str, path: &'static str, body: Body) -> Step {
    let method = operation.split(' ').next().unwrap().parse().unwrap();
    Step { method, path, body, operation }
}

/// 64 bytes.
const BASE64_64: &str =
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA==";

fn new_link() -> Value {
    let bytes = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    json!({ "code_hash": bytes, "public_key": bytes })
}

/// Everything that there is to ask for, most of it about bob. What ends the session comes last.
fn steps() -> Vec<Step> {
    let json = |operation, path, body| step(operation, path, Body::Json(body));
    let mls = |operation, path| step(operation, path, Body::Mls(vec![0, 1, 0, 2, 0, 0]));
    let read_all = || {
        vec![
            get("GET /v1/connections", "/v1/connections"),
            get("GET /v1/conversations", "/v1/conversations"),
            get("GET /v1/conversations/{conversation}", "/v1/conversations/ONE_TO_ONE"),
            get("GET /v1/users", "/v1/users?handle=bob"),
            get("GET /v1/users/{user}", "/v1/users/BOB"),
            get("GET /v1/search/users", "/v1/search/users?beginning=bo"),
            get("GET /v1/events", "/v1/events"),
        ]
    };
    let mut steps = read_all();
    steps.extend([
        json("POST /v1/connections", "/v1/connections", json!({ "handle": "bob" })),
        json("PUT /v1/connections/{user}", "/v1/connections/BOB", json!({ "status": "sent" })),
        json("PUT /v1/connections/{user}", "/v1/connections/BOB", json!({ "status": "accepted" })),
        json("PUT /v1/connections/{user}", "/v1/connections/BOB", json!({ "status": "ignored" })),
        json("PUT /v1/connections/{user}", "/v1/connections/BOB", json!({ "status": "pending" })),
        get("GET /v1/conversations/{conversation}/group-info", "/v1/conversations/ONE_TO_ONE/group-info"),
        mls("POST /v1/conversations/{conversation}/commits", "/v1/conversations/ONE_TO_ONE/commits"),
        mls("POST /v1/conversations/{conversation}/messages", "/v1/conversations/ONE_TO_ONE/messages"),
        mls("PUT /v1/conversations/{conversation}/name", "/v1/conversations/ONE_TO_ONE/name"),
        json("POST /v1/conversations/{conversation}/leave", "/v1/conversations/ONE_TO_ONE/leave", json!({})),
        step("DELETE /v1/conversations/{conversation}", "/v1/conversations/ONE_TO_ONE", Body::None),
        json(
            "PUT /v1/conversations/{conversation}/members/{user}/role",
            "/v1/conversations/ONE_TO_ONE/members/BOB/role",
            json!({ "role": "member" }),
        ),
        json(
            "PUT /v1/conversations/{conversation}/members/{user}/role",
            "/v1/conversations/GROUP/members/BOB/role",
            json!({ "role": "member" }),
        ),
        json("POST /v1/conversations", "/v1/conversations", json!({ "conversation": "ONE_TO_ONE" })),
        json(
            "POST /v1/conversations",
            "/v1/conversations",
            json!({ "conversation": "5e3c1f60-8a4e-4b53-9d0f-6c2a7b1e9d44", "parent": "ONE_TO_ONE" }),
        ),
        json("POST /v1/key-packages/claims", "/v1/key-packages/claims", json!({ "users": ["BOB"] })),
        json(
            "POST /v1/conversations/{conversation}/members",
            "/v1/conversations/ONE_TO_ONE/members",
            json!({ "users": ["BOB"] }),
        ),
        json(
            "POST /v1/conversations/{conversation}/members",
            "/v1/conversations/GROUP/members",
            json!({ "users": ["BOB"] }),
        ),
        step(
            "DELETE /v1/conversations/{conversation}/members/{user}",
            "/v1/conversations/ONE_TO_ONE/members/BOB",
            Body::None,
        ),
        json(
            "PUT /v1/conversations/{conversation}/protocol",
            "/v1/conversations/ONE_TO_ONE/protocol",
            json!({ "protocol": "mixed" }),
        ),
        json(
            "PUT /v1/conversations/{conversation}/message-timer",
            "/v1/conversations/ONE_TO_ONE/message-timer",
            json!({ "message_timer": 60_000 }),
        ),
        json(
            "PUT /v1/conversations/{conversation}/receipt-mode",
            "/v1/conversations/ONE_TO_ONE/receipt-mode",
            json!({ "receipt_mode": "on" }),
        ),
        json(
            "PUT /v1/conversations/{conversation}/history",
            "/v1/conversations/ONE_TO_ONE/history",
            json!({ "history": "unlimited" }),
        ),
        json(
            "PUT /v1/conversations/{conversation}/history",
            "/v1/conversations/GROUP/history",
            json!({ "history": "unlimited" }),
        ),
        get("GET /v1/conversations/{conversation}/history", "/v1/conversations/ONE_TO_ONE/history"),
        get("GET /v1/conversations/{conversation}/history", "/v1/conversations/GROUP/history"),
        json(
            "PUT /v1/conversations/{conversation}/add-permission",
            "/v1/conversations/ONE_TO_ONE/add-permission",
            json!({ "add_permission": "everyone" }),
        ),
        json(
            "POST /v1/conversations/{conversation}/pairwise-messages",
            "/v1/conversations/ONE_TO_ONE/pairwise-messages",
            json!({ "ciphertexts": [] }),
        ),
        json(
            "POST /v1/pairwise-keys/claims",
            "/v1/pairwise-keys/claims",
            json!({ "devices": [{ "user": "BOB", "device": "BOBS_DEVICE" }] }),
        ),
        mls("POST /v1/conversations/{conversation}/proposals", "/v1/conversations/ONE_TO_ONE/proposals"),
        json(
            "POST /v1/conversations/{conversation}/reset",
            "/v1/conversations/ONE_TO_ONE/reset",
            json!({ "group_id": "AAAA", "epoch": 1 }),
        ),
        get(
            "GET /v1/conversations/{conversation}/subconversations",
            "/v1/conversations/ONE_TO_ONE/subconversations",
        ),
        get(
            "GET /v1/conversations/{conversation}/subconversation",
            "/v1/conversations/ONE_TO_ONE/subconversation?name=call",
        ),
        step(
            "PUT /v1/conversations/{conversation}/subconversation",
            "/v1/conversations/ONE_TO_ONE/subconversation?name=call",
            Body::None,
        ),
        step(
            "POST /v1/conversations/{conversation}/subconversation/leave",
            "/v1/conversations/ONE_TO_ONE/subconversation/leave?name=call",
            Body::None,
        ),
        step(
            "DELETE /v1/conversations/{conversation}/subconversation",
            "/v1/conversations/ONE_TO_ONE/subconversation?name=call",
            Body::None,
        ),
        json(
            "POST /v1/conversations/{conversation}/typing",
            "/v1/conversations/ONE_TO_ONE/typing",
            json!({ "status": "started" }),
        ),
        json(
            "PUT /v1/conversations/{conversation}/access",
            "/v1/conversations/ONE_TO_ONE/access",
            json!({ "access": ["invite"], "access_roles": ["guest"] }),
        ),
        json(
            "PUT /v1/conversations/{conversation}/access",
            "/v1/conversations/GROUP/access",
            json!({ "access": ["private"], "access_roles": ["non_team_member"] }),
        ),
        // To a conversation that admits nobody, bob is added neither way.
        json(
            "POST /v1/conversations/{conversation}/members",
            "/v1/conversations/GROUP/members",
            json!({ "users": ["BOB"] }),
        ),
        json("PUT /v1/conversations/{conversation}/link", "/v1/conversations/ONE_TO_ONE/link", new_link()),
        json("PUT /v1/conversations/{conversation}/link", "/v1/conversations/GROUP/link", new_link()),
        get("GET /v1/conversations/{conversation}/link", "/v1/conversations/ONE_TO_ONE/link"),
        get("GET /v1/conversations/{conversation}/link", "/v1/conversations/GROUP/link"),
        step("DELETE /v1/conversations/{conversation}/link", "/v1/conversations/ONE_TO_ONE/link", Body::None),
        json("POST /v1/join/preview", "/v1/join/preview", json!({ "code": "AAAA" })),
        json("POST /v1/join", "/v1/join", json!({ "code": "AAAA", "proof": BASE64_64 })),
        step("POST /v1/conversations/{conversation}/join", "/v1/conversations/ONE_TO_ONE/join", Body::None),
        step("POST /v1/conversations/{conversation}/join", "/v1/conversations/GROUP/join", Body::None),
        step("DELETE /v1/conversations/{conversation}/join", "/v1/conversations/ONE_TO_ONE/join", Body::None),
        json("POST /v1/pairwise-keys", "/v1/pairwise-keys", json!({})),
        get("GET /v1/pairwise-keys/count", "/v1/pairwise-keys/count"),
        json("POST /v1/team", "/v1/team", json!({ "name": "Those who ask" })),
        get("GET /v1/team", "/v1/team"),
        get("GET /v1/team/members", "/v1/team/members"),
        step("DELETE /v1/team/members/{user}", "/v1/team/members/BOB", Body::None),
        json("PUT /v1/team/members/{user}/role", "/v1/team/members/BOB/role", json!({ "role": "admin" })),
        json("POST /v1/team/invitations", "/v1/team/invitations", json!({ "valid_for": 1 })),
        json("POST /v1/team/join", "/v1/team/join", json!({ "code": "made up" })),
        get("GET /v1/team/roles", "/v1/team/roles"),
        json(
            "POST /v1/team/roles",
            "/v1/team/roles",
            json!({ "name": "scribe", "actions": ["modify_name"] }),
        ),
        step("DELETE /v1/team/roles/{role}", "/v1/team/roles/scribe", Body::None),
        // No team has the id of a user.
        get("GET /v1/teams/{team}/channels", "/v1/teams/BOB/channels"),
        json(
            "POST /v1/teams/{team}/channels",
            "/v1/teams/BOB/channels",
            json!({ "conversation": "f3b0c4a2-7d1e-4c55-9a38-2b6e0d9f1c47", "name": "News" }),
        ),
        json(CHANNEL_NAME, "/v1/conversations/ONE_TO_ONE/channel-name", json!({ "name": "News" })),
        json(CHANNEL_NAME, "/v1/conversations/GROUP/channel-name", json!({ "name": "News" })),
        json("POST /v1/team/leave", "/v1/team/leave", json!({})),
        json("PUT /v1/self/profile", "/v1/self/profile", json!({ "name": "Alice", "locale": "de" })),
        get("GET /v1/self", "/v1/self"),
        get("GET /v1/mls/keys", "/v1/mls/keys"),
        get("GET /v1/devices", "/v1/devices"),
        json("POST /v1/devices", "/v1/devices", json!({})),
        json(
            "POST /v1/devices/{device}/remove",
            "/v1/devices/BOBS_DEVICE/remove",
            json!({ "password": PASSWORD }),
        ),
        json("POST /v1/key-packages", "/v1/key-packages", json!({ "key_packages": [] })),
        json("PUT /v1/key-packages", "/v1/key-packages", json!({ "key_packages": [] })),
        json("DELETE /v1/key-packages", "/v1/key-packages", json!({ "references": [] })),
        get("GET /v1/key-packages/count", "/v1/key-packages/count"),
        get("GET /v1/events/stream", "/v1/events/stream"),
    ]);
    steps.extend(read_all());
    // She blocks in turn, and unblocks.
    for unblocked in ["accepted", "sent"] {
        for status in ["blocked", unblocked] {
            let update = json!({ "status": status });
            steps.push(json("PUT /v1/connections/{user}", "/v1/connections/BOB", update));
            steps.push(json("POST /v1/connections", "/v1/connections", json!({ "handle": "bob" })));
            steps.extend(read_all());
        }
    }
    // The request is taken back and made again; a new name for what was asked changes nothing.
    steps.push(json("PUT /v1/connections/{user}", "/v1/connections/BOB", json!({ "status": "cancelled" })));
    steps.extend(read_all());
    steps.push(json("POST /v1/connections", "/v1/connections", json!({ "handle": "bob" })));
    steps.extend(read_all());
    steps.extend([
        json(
            "PUT /v1/self/password",
            "/v1/self/password",
            json!({ "password": PASSWORD, "new_password": "another password" }),
        ),
        json("POST /v1/self/delete", "/v1/self/delete", json!({ "password": "not her password" })),
        get("GET /v1/sessions", "/v1/sessions"),
        step("DELETE /v1/sessions/{session}", "/v1/sessions/0123456789abcdef", Body::None),
        step("DELETE /v1/sessions", "/v1/sessions", Body::None),
        step("POST /v1/sessions/current/token", "/v1/sessions/current/token", Body::None),
        step("DELETE /v1/sessions/current", "/v1/sessions/current", Body::None),
    ]);
    steps
}

/// What who talks pairwise in a 1:1 asks for.
fn pairwise_steps() -> Vec<Step> {
    let json = |operation, path, body| step(operation, path, Body::Json(body));
    let protocol = |protocol: &str| {
        let (operation, path) =
            ("PUT /v1/conversations/{conversation}/protocol", "/v1/conversations/ONE_TO_ONE/protocol");
        json(operation, path, json!({ "protocol": protocol }))
    };
    let send = |devices: &[[&str; 2]], ignore: Value| {
        let one =
            |[user, device]: &[&str; 2]| json!({ "user": user, "device": device, "ciphertext": "eA==" });
        let ciphertexts: Vec<Value> = devices.iter().map(one).collect();
        json(
            "POST /v1/conversations/{conversation}/pairwise-messages",
            "/v1/conversations/ONE_TO_ONE/pairwise-messages",
            json!({ "ciphertexts": ciphertexts, "ignore_missing": ignore }),
        )
    };
    let claim = || {
        let device = |user, device| json!({ "user": user, "device": device });
        let devices =
            [device("BOB", "BOBS_DEVICE"), device("BOB", "BOBS_PHONE"), device("ALICE_ID", "ALICES_PHONE")];
        json("POST /v1/pairwise-keys/claims", "/v1/pairwise-keys/claims", json!({ "devices": devices }))
    };
    let read_all = || {
        [
            get("GET /v1/connections", "/v1/connections"),
            get("GET /v1/conversations", "/v1/conversations"),
            get("GET /v1/conversations/{conversation}", "/v1/conversations/ONE_TO_ONE"),
            get("GET /v1/users/{user}", "/v1/users/BOB"),
            get("GET /v1/events", "/v1/events"),
        ]
    };
    let all = [["ALICE_ID", "ALICES_PHONE"], ["BOB", "BOBS_DEVICE"], ["BOB", "BOBS_PHONE"]];
    let gone = ["BOB", "0000000000000007"];
    let nobody = || json!("nobody");
    let mut steps = vec![protocol("mixed"), protocol("pairwise"), protocol("pairwise"), protocol("mls")];
    steps.extend(read_all());
    // The third claim finds the fallback keys.
    steps.extend([claim(), claim(), claim()]);
    steps.extend([
        send(&[], nobody()),
        send(&all[..2], nobody()),
        send(&all[..2], json!({ "users": ["ALICE_ID"] })),
        send(&all[..2], json!({ "users": ["BOB"] })),
        send(&all[..1], json!("everybody")),
        send(&all, nobody()),
        send(&all, nobody()),
        send(&[all[0], all[1], all[2], gone], nobody()),
        send(&[all[1], gone, ["5e3c1f60-8a4e-4b53-9d0f-6c2a7b1e9d44", "0000000000000009"]], nobody()),
    ]);
    steps.extend(read_all());
    steps.extend([
        protocol("mixed"),
        protocol("pairwise"),
        protocol("mls"),
        send(&all[1..], json!("everybody")),
    ]);
    steps.extend(read_all());
    steps
}

/// What needs no session, and so knows of nobody's connections.
const OPEN: [&str; 8] = [
    "POST /v1/accounts",
    "POST /v1/guests",
    "POST /v1/sessions",
    "GET /healthz",
    "GET /v1/relay",
    "GET /v1/relay/stream",
    "POST /v1/relay/envelopes",
    "POST /v1/relay/read",
];

const CHANNEL_NAME: &str = "PUT /v1/conversations/{conversation}/channel-name";

#[tokio::test]
async fn every_endpoint_is_among_the_steps() {
    let hub = Hub::start().await;
    let description: Value = Client::new(&hub).get("/v1/openapi.json").await.done();
    let mut operations = BTreeSet::new();
    for (path, methods) in description["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            operations.insert(format!("{} {path}", method.to_uppercase()));
        }
    }
    let covered: BTreeSet<String> =
        steps().iter().map(|step| step.operation).chain(OPEN).map(ToOwned::to_owned).collect();
    assert_eq!(operations, covered, "a new endpoint has to show that nothing of a block shows in it");
}

#[tokio::test]
async fn who_is_blocked_receives_byte_for_byte_what_who_is_not_answered_receives() {
    let (unanswered, ignored, blocked) =
        tokio::join!(World::with(None), World::with(Some("ignored")), World::with(Some("blocked")));
    let mut answered = 0;
    for step in steps() {
        let seen = unanswered.find_out(&step).await;
        assert_eq!(ignored.find_out(&step).await, seen, "ignoring shows in {} {}", step.operation, step.path);
        assert_eq!(blocked.find_out(&step).await, seen, "blocking shows in {} {}", step.operation, step.path);
        assert!(!seen[0].starts_with('5'), "{}: {seen:?}", step.operation);
        answered += usize::from(seen[0].starts_with('2'));
    }
    assert!(answered > 40, "most of it is answered: {answered}");
    for world in [unanswered, ignored, blocked] {
        world.hub.stop().await;
    }
}

#[tokio::test]
async fn in_a_one_to_one_who_is_blocked_receives_byte_for_byte_what_who_hears_nothing_receives() {
    let (silent, blocked) = tokio::join!(World::of_friends(false), World::of_friends(true));
    let mut answered = 0;
    for step in pairwise_steps() {
        let seen = silent.find_out(&step).await;
        assert_eq!(blocked.find_out(&step).await, seen, "blocking shows in {} {}", step.operation, step.path);
        answered += usize::from(seen[0].starts_with('2'));
    }
    assert!(answered > 25, "most of it is answered: {answered}");
    let seen = silent.migrate().await;
    assert_eq!(blocked.migrate().await, seen);
    let statuses: Vec<&str> = seen.iter().map(|answer| &answer[..3]).collect();
    assert_eq!(statuses, ["409", "201", "204", "201", "403"]);
    // And now by the group.
    for step in steps() {
        let seen = silent.find_out(&step).await;
        assert_eq!(blocked.find_out(&step).await, seen, "blocking shows in {} {}", step.operation, step.path);
    }
    for world in [silent, blocked] {
        world.hub.stop().await;
    }
}

#[test]
fn values_are_left_out_and_nothing_else() {
    assert_eq!(
        without_value(r#"{"key":"p12","a":1,"b":[{"key":7}]}"#, "key"),
        r#"{"key":,"a":1,"b":[{"key":}]}"#
    );
    let mut known = vec!["x".to_owned()];
    assert_eq!(
        with_numbers(r#"[{"cursor":"y"},{"cursor":"x","a":1},{"cursor":"y"}]"#, "cursor", &mut known),
        r#"[{"cursor":"1"},{"cursor":"0","a":1},{"cursor":"1"}]"#
    );
}

/// The first of the exceptions that SECURITY.md names: somebody who has blocked one is added by nobody whom they have blocked. The
/// answer is that of anybody who is not connected, and says no more.
#[tokio::test]
async fn who_adds_somebody_who_has_blocked_them_is_told_that_they_are_not_connected() {
    let (unanswered, blocked) = tokio::join!(World::with(None), World::of_friends(true));
    let mut answers = Vec::new();
    for world in [&unanswered, &blocked] {
        let World { alice, bob, .. } = world;
        let path = "/v1/conversations";
        let id = tertulia_domain::ConversationId::random();
        let new = json!({ "conversation": id, "protocol": "pairwise" });
        assert!(alice.post(path, &new).await.status.is_success());
        let answer = alice.post(&format!("{path}/{id}/members"), &json!({ "users": [bob.user] })).await;
        answers.push(world.named_answer(&answer).replace(&id.to_string(), "ID"));
    }
    assert_eq!(answers[0], answers[1]);
    assert!(answers[0].contains("not-connected"), "{}", answers[0]);
    for world in [unanswered, blocked] {
        world.hub.stop().await;
    }
}
