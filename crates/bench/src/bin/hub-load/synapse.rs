//! What somebody would run instead: Synapse, the server of Matrix, with SQLite and without limits of rates. One room has the
//! same members, each device sends in a session of its own, and a message is as long.

use crate::{
    Arguments, Outcome,
    http::{Head, Http},
    load::{self, Accepted, Load},
    starting::Start,
};
use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use serde::Serialize;
use serde_json::{Value, json};
use std::{
    fs,
    net::TcpListener,
    path::Path,
    process::{Child, Command, Stdio},
    time::Instant,
};

/// What was measured of it.
#[derive(Debug, Serialize)]
pub(crate) struct Synapse {
    pub(crate) version: String,
    pub(crate) start: Start,
    pub(crate) many: Accepted,
    pub(crate) few: Accepted,
}

/// It is killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `python` is the interpreter that has Synapse among its packages.
pub(crate) async fn measure(arguments: &Arguments, python: &Path, place: &Path) -> Outcome<Synapse> {
    let place = place.join("synapse");
    fs::create_dir_all(&place)?;
    let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
    let address = format!("127.0.0.1:{port}");
    let configuration = place.join("homeserver.yaml");
    fs::write(&configuration, configure(&place, port)?)?;
    let run = |argument: &str| {
        let mut command = Command::new(python);
        command.args(["-m", "synapse.app.homeserver", "--config-path"]).arg(&configuration);
        command.args(Some(argument).filter(|argument| !argument.is_empty())).current_dir(&place);
        command.stdout(Stdio::null()).stderr(fs::File::create(place.join("log"))?).spawn()
    };
    if !run("--generate-keys")?.wait()?.success() {
        return Err(format!("Synapse does not start: {}", fs::read_to_string(place.join("log"))?).into());
    }
    let begun = Instant::now();
    let server = Server(run("")?);
    let start =
        Start::median(vec![Start::of(server.0.id(), begun, &address, "/_matrix/client/versions").await?]);
    let mut http = Http::connect(address.clone()).await?;
    let version = json_of(&http.get("/_matrix/federation/v1/version", None).await.unwrap_or_default());
    let version = version["server"]["version"].as_str().unwrap_or_default().to_owned();
    let senders = room(&mut http, arguments).await?;
    let many = load::run(&address, senders.clone(), arguments.time()).await?;
    let few = load::run(&address, senders.into_iter().take(8).collect(), arguments.time()).await?;
    Ok(Synapse { version, start, many, few })
}

/// JSON is YAML.
fn configure(place: &Path, port: u16) -> Outcome<String> {
    let unlimited = json!({"per_second": 1_000_000, "burst_count": 1_000_000});
    let configuration = json!({
        "server_name": "localhost",
        "report_stats": false,
        "signing_key_path": place.join("signing.key"),
        "media_store_path": place.join("media"),
        "pid_file": place.join("pid"),
        "macaroon_secret_key": "of this measurement alone",
        "trusted_key_servers": [],
        "suppress_key_server_warning": true,
        "enable_registration": true,
        "enable_registration_without_verification": true,
        "bcrypt_rounds": 4, // for signing up, which is not measured
        "database": {"name": "sqlite3", "args": {"database": place.join("homeserver.db")}},
        "listeners": [{"port": port, "bind_addresses": ["127.0.0.1"], "type": "http",
                       "resources": [{"names": ["client", "federation"]}]}],
        "rc_message": unlimited,
        "rc_registration": unlimited,
        "rc_login": {"address": unlimited, "account": unlimited, "failed_attempts": unlimited},
        "rc_joins": {"local": unlimited, "remote": unlimited},
        "rc_joins_per_room": unlimited,
        "rc_room_creation": unlimited,
    });
    Ok(serde_json::to_string_pretty(&configuration)?)
}

/// A device in the room.
#[derive(Clone)]
struct Sender {
    room: String,
    token: String,
    number: u32,
    sent: usize,
    bytes: usize,
}

impl Load for Sender {
    fn next(&mut self) -> (&'static str, String, Vec<u8>, &'static str) {
        self.sent += 1;
        let transaction = format!("{}-{}-{:08x}", self.number, self.sent, rand::random::<u32>());
        let path = format!("/_matrix/client/v3/rooms/{}/send/m.room.encrypted/{transaction}", self.room);
        let mut ciphertext = vec![0; self.bytes];
        rand::fill(&mut ciphertext[..]);
        let content = json!({
            "algorithm": "m.megolm.v1.aes-sha2",
            "ciphertext": STANDARD_NO_PAD.encode(ciphertext),
            "session_id": "of this measurement alone",
        });
        ("PUT", path, content.to_string().into_bytes(), "application/json")
    }

    fn token(&self) -> &str {
        &self.token
    }
}

/// Signs everybody up, and has all join one encrypted room.
async fn room(http: &mut Http, arguments: &Arguments) -> Outcome<Vec<Sender>> {
    let mut tokens = Vec::new();
    let mut room = String::new();
    for number in 0..arguments.senders {
        let person = if number < arguments.members { number } else { number % arguments.members };
        let name = format!("member-{person}");
        let session = if number < arguments.members {
            let body = json!({"username": name, "password": "secret", "auth": {"type": "m.login.dummy"}});
            post(http, "/_matrix/client/v3/register", None, &body).await?
        } else {
            let user = json!({"type": "m.id.user", "user": name});
            let body = json!({"type": "m.login.password", "identifier": user, "password": "secret"});
            post(http, "/_matrix/client/v3/login", None, &body).await?
        };
        let token = session["access_token"].as_str().ok_or("no token came")?.to_owned();
        if number == 0 {
            let encryption = json!({"type": "m.room.encryption", "state_key": "",
                                    "content": {"algorithm": "m.megolm.v1.aes-sha2"}});
            let body = json!({"preset": "public_chat", "initial_state": [encryption]});
            let created = post(http, "/_matrix/client/v3/createRoom", Some(&token), &body).await?;
            let id = created["room_id"].as_str().ok_or("no room came")?;
            room = id.replace('!', "%21").replace(':', "%3A");
        } else if number < arguments.members {
            post(http, &format!("/_matrix/client/v3/join/{room}"), Some(&token), &json!({})).await?;
        }
        tokens.push(token);
    }
    let sender =
        |(number, token)| Sender { room: room.clone(), token, number, sent: 0, bytes: arguments.bytes };
    Ok((0..).zip(tokens).map(sender).collect())
}

async fn post(http: &mut Http, path: &str, token: Option<&str>, body: &Value) -> Outcome<Value> {
    let head = Head { method: "POST", path, token, media_type: "application/json" };
    Ok(json_of(&http.call(head, body.to_string().into_bytes()).await?))
}

fn json_of(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_default()
}
