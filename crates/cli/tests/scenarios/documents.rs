//! Completions and manual pages.

use crate::support::{Hub, tertulia};
use std::fs;

#[test]
fn completions_are_made_for_every_shell() {
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let output = tertulia().args(["completions", shell]).output().unwrap();
        assert!(output.status.success(), "{shell}");
        let script = String::from_utf8(output.stdout).unwrap();
        for word in ["tertulia", "signup", "connections", "group", "--home"] {
            assert!(script.contains(word.trim_start_matches('-')), "{shell}: {word}");
        }
    }
}

#[test]
fn a_manual_page_is_made_for_every_command() {
    let page = tertulia().arg("man").output().unwrap();
    assert!(page.status.success());
    assert!(String::from_utf8(page.stdout).unwrap().contains(".TH tertulia 1"));

    let directory = tempfile::tempdir().unwrap();
    let pages = directory.path().join("man1");
    assert!(tertulia().arg("man").arg(&pages).status().unwrap().success());
    for name in ["tertulia", "tertulia-send", "tertulia-group", "tertulia-group-create", "tertulia-serve"] {
        let text = fs::read_to_string(pages.join(format!("{name}.1"))).unwrap();
        assert!(text.contains(".SH NAME"), "{name}");
    }
}

#[test]
fn help_and_version_need_no_home() {
    let hub = Hub::start();
    let nobody = hub.device("nobody");
    for args in [&["--help"][..], &["send", "--help"], &["--version"]] {
        assert!(nobody.run(args).done().stdout().contains("tertulia"), "{args:?}");
    }
    assert!(!nobody.home().exists());
}

#[test]
fn the_types_of_conversations_are_listed_without_a_home() {
    let table = tertulia().arg("types").output().unwrap();
    assert!(table.status.success());
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("GroupV1") && table.contains("HubGroupV1"), "{table}");

    let lines = tertulia().args(["types", "--json"]).output().unwrap();
    let lines = String::from_utf8(lines.stdout).unwrap();
    let types: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let group = types.iter().find(|one| one["title"] == "GroupV1").unwrap();
    assert_eq!((&group["id"], &group["hints"]), (&4.into(), &"ratcheted".into()));
    assert!(!group["guarantees"]["leaks"].as_array().unwrap().is_empty());

    // What is specified and waits says so.
    let waiting: Vec<_> = types.iter().filter(|one| one["is_carried"] == false).collect();
    let titles: Vec<_> = waiting.iter().map(|one| one["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["SelfV1", "SubconversationV1"]);
    assert_eq!(table.matches("envelopes, not yet").count(), 2, "{table}");
}
