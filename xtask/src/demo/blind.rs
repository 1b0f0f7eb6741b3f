//! `cargo xtask demo --blind`: three people without accounts talk through a relay that knows nobody, each command a process of its own.
//!
//! At the end comes what each of them sees, then all that the relay has stored and was asked, and a search of it for whatever must not be there: what
//! was said, what people and groups are called, their keys, and the ids of people, devices and conversations.

use super::{
    fresh_place,
    search::{Finding, search, search_pieces},
    stage::{Device, Hub},
};
use crate::{
    command::{self, Binary, Failure, Program},
    prerequisites, say,
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use std::path::Path;

const NAMES: [&str; 3] = ["beatriz", "domingo", "leonora"];
const GROUP: &str = "The orchard";

// What is said, each once, so that it can be looked for at the end.
const HELLO: &str = "Hello Domingo, nobody introduces us here.";
const ANSWER: &str = "Good. I only know your key, and your voice.";
const INVITATION: &str = "Sunday at noon, under the pear tree?";
const LEONORA: &str = "Leonora here: I will bring the cheese.";
const LATER: &str = "The relay was away, and nothing is missing.";
const SECRET: &str = "The present for Leonora is a hammock.";
const SAID: [&str; 6] = [HELLO, ANSWER, INVITATION, LEONORA, LATER, SECRET];

const RELAY_LOG: Binary = Binary { package: "tertulia-bench", name: "relay-log" };

/// The relay as it is shipped, but that it logs each request.
const RELAY: &[&str] = &["relay", "-v"];
/// The same with less work for each envelope, for programs that were built without optimisation.
const EASY_RELAY: &[&str] = &["relay", "-v", "--difficulty", "10"];

/// Plays it all.
pub(super) fn demo(dev: bool) -> Result<(), Failure> {
    say::heading("building");
    prerequisites::system_tools()?;
    let binaries = command::build(dev, &[RELAY_LOG])?;
    let place = fresh_place("demo-blind")?;
    let mut relay = Hub::relay(&binaries, &place, if dev { EASY_RELAY } else { RELAY })?;
    say::line(format!("a relay listens on {}", relay.url()));
    let people = NAMES.map(|name| Device::new(&binaries, &place, name, name, relay.url()));
    play(&people, &mut relay)?;

    say::heading("what the three see");
    for person in &people {
        person.does(&["list"])?;
        person.does(&["read", GROUP])?;
    }
    let secrets = secrets(&people)?;
    relay.kill();
    say::heading("what the relay sees: all that it has stored, and all that it was asked");
    let shown = Program::new(binaries.join("relay-log")).arg(relay.data()).arg("--log").arg(relay.log());
    let shown = shown.try_read().ok_or_else(|| Failure::message("relay-log does not show what is stored"))?;
    say::line(&shown);

    say::heading("is anything of it in what the relay has?");
    look_for_what_must_not_be_there(&relay, &secrets, &shown)
}

fn play(people: &[Device; 3], relay: &mut Hub) -> Result<(), Failure> {
    let [beatriz, domingo, leonora] = people;
    say::heading("three people, each a key in a home of their own; nobody signs up anywhere");
    for person in people {
        person.does(&["init", "--relay", relay.url()])?;
    }

    say::heading("who has an intro, on paper or as a QR code, can ask; who is asked accepts or does not");
    meet((beatriz, NAMES[0]), (domingo, NAMES[1]))?;
    beatriz.refused(&["send", "@leonora", "Can you read this?"])?;
    meet((beatriz, NAMES[0]), (leonora, NAMES[2]))?;
    meet((domingo, NAMES[1]), (leonora, NAMES[2]))?;

    say::heading("two people talk");
    beatriz.does(&["send", "@domingo", HELLO])?;
    domingo.does(&["read", "@beatriz"])?;
    domingo.does(&["send", "@beatriz", ANSWER])?;
    beatriz.does(&["read", "@domingo"])?;

    say::heading("a group of three, whose changes the relay orders without knowing of it");
    beatriz.does(&["group", "create", GROUP, "domingo", "leonora"])?;
    beatriz.does(&["send", GROUP, INVITATION])?;
    leonora.does(&["read", GROUP])?;
    leonora.does(&["send", GROUP, LEONORA])?;
    domingo.does(&["read", GROUP])?;

    say::heading("the relay is killed (SIGKILL) and started again");
    relay.kill_and_restart()?;
    domingo.does(&["send", GROUP, LATER])?;
    leonora.does(&["read", GROUP])?;

    say::heading("leonora is removed, and reads nothing that is said later");
    beatriz.does(&["group", "remove", GROUP, "leonora"])?;
    beatriz.does(&["send", GROUP, SECRET])?;
    domingo.does(&["read", GROUP])?;
    let read = leonora.says(&["read", GROUP])?;
    if read.contains(SECRET) {
        return Err(Failure::message("leonora reads what was said after she was removed"));
    }
    Ok(())
}

/// One asks the other by their intro, who accepts. Each calls the other by name.
fn meet((asking, asker): (&Device, &str), (asked, name): (&Device, &str)) -> Result<(), Failure> {
    let intro = asked.says(&["intro"])?;
    asking.does(&["meet", intro.trim(), "--name", name])?;
    let requests = asked.says(&["requests"])?;
    let from = requests.split_whitespace().find(|word| word.starts_with("@key-"));
    asked.does(&["accept", from.ok_or_else(|| Failure::message("no request has come"))?])?;
    asked.does(&["meet", asking.says(&["intro"])?.trim(), "--name", asker])?;
    asking.does(&["sync"])
}

/// Something that must not be found, and how it is looked for.
enum Secret {
    /// As it is.
    Text(String),
    /// As a text, and as the bytes that it stands for.
    Hex(String),
    /// An intro: its text, and any 16 bytes of it in a row, which every key in it has.
    Intro(String),
}

/// Everything that must not be found, with what it is.
fn secrets(people: &[Device]) -> Result<Vec<(String, Secret)>, Failure> {
    let mut secrets = Vec::new();
    for text in SAID.iter().chain(&NAMES).chain(&[GROUP]) {
        secrets.push((format!("{text:?}"), Secret::Text((*text).to_owned())));
    }
    for (person, name) in people.iter().zip(NAMES) {
        let me = json(&person.tells(&["--json", "whoami"])?)?;
        for field in ["user", "device"] {
            secrets.push((format!("the {field} id of {name}"), Secret::Hex(text(&me, field)?)));
        }
        secrets.push((format!("what {name} is called by key"), Secret::Text(text(&me, "handle")?)));
        secrets.push((format!("the keys of {name}"), Secret::Intro(person.tells(&["intro"])?)));
        for line in person.tells(&["--json", "list"])?.lines() {
            let conversation = json(line)?;
            let what = format!("a conversation id of {name}");
            secrets.push((what, Secret::Hex(text(&conversation, "conversation")?)));
        }
    }
    Ok(secrets)
}

fn look_for_what_must_not_be_there(
    relay: &Hub,
    secrets: &[(String, Secret)],
    shown: &str,
) -> Result<(), Failure> {
    let everything = relay.log().parent().ok_or_else(|| Failure::message("the relay has no directory"))?;
    // The relay has the hints: finding one shows that the search finds what is there.
    let hint = shown.split_whitespace().find(|word| is_hex(word, 32));
    let hint = hint.ok_or_else(|| Failure::message("no hint is shown"))?;
    let control = search(everything, hint.as_bytes())?;
    say::line(format!("{:<52}{control}", format!("a hint, which the relay has: {}…", &hint[..16])));
    let mut found = !matches!(control, Finding::In(_));

    for (what, secret) in secrets {
        let finding = look_for(everything, secret)?;
        found |= matches!(finding, Finding::In(_));
        say::line(format!("{what:<52}{finding}"));
    }
    if found {
        return Err(Failure::message("the relay's data is not what it has to be; see the search above"));
    }
    say::good(format!(
        "\n{} things searched for in every file under {}: none is there.",
        secrets.len(),
        everything.display()
    ));
    Ok(())
}

fn look_for(everything: &Path, secret: &Secret) -> Result<Finding, Failure> {
    let (text, bytes) = match secret {
        Secret::Text(text) => return search(everything, text.as_bytes()),
        Secret::Hex(text) => (text, bytes_of_hex(text)?),
        Secret::Intro(text) => {
            let no_intro = || Failure::message(format!("{text} is no intro"));
            let encoded = text.trim().strip_prefix("tertulia_intro_1_").ok_or_else(no_intro)?;
            let bytes = BASE64_URL_SAFE_NO_PAD.decode(encoded).map_err(|_| no_intro())?;
            return match search_pieces(everything, encoded.as_bytes(), 24)? {
                Finding::Nowhere { .. } => search_pieces(everything, &bytes, 16),
                found @ Finding::In(_) => Ok(found),
            };
        }
    };
    match search(everything, text.as_bytes())? {
        Finding::Nowhere { .. } => search(everything, &bytes),
        found @ Finding::In(_) => Ok(found),
    }
}

fn json(line: &str) -> Result<serde_json::Value, Failure> {
    serde_json::from_str(line.trim()).map_err(|error| Failure::message(format!("{line}: {error}")))
}

fn text(value: &serde_json::Value, field: &str) -> Result<String, Failure> {
    let text = value[field].as_str();
    text.map(str::to_owned).ok_or_else(|| Failure::message(format!("there is no {field} in {value}")))
}

fn is_hex(word: &str, digits: usize) -> bool {
    word.len() == digits && word.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// The bytes of hexadecimal digits, with or without dashes.
fn bytes_of_hex(text: &str) -> Result<Vec<u8>, Failure> {
    let digits: String = text.chars().filter(|c| *c != '-').collect();
    let byte = |at: usize| digits.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
    let bytes: Option<Vec<u8>> = (0..digits.len()).step_by(2).map(byte).collect();
    bytes.ok_or_else(|| Failure::message(format!("{text} is no id")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_id_is_looked_for_as_its_bytes_too() {
        assert_eq!(bytes_of_hex("00ff10-ab").unwrap(), [0, 0xff, 0x10, 0xab]);
        assert!(bytes_of_hex("0").is_err());
        assert!(bytes_of_hex("zz").is_err());
        assert!(is_hex("00112233445566778899aabbccddeeff", 32));
        assert!(!is_hex("0011", 32));
    }
}
