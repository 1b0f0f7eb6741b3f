//! The settings of a hub: from flags, the environment and a file, and printed.

use crate::support::{Answer, tertulia};
use serde_json::Value;
use std::{fs, path::PathBuf};
use tempfile::TempDir;

/// A directory with a file of settings in it.
struct Settings {
    directory: TempDir,
}

impl Settings {
    fn new(text: &str) -> Self {
        let settings = Self { directory: tempfile::tempdir().unwrap() };
        fs::write(settings.path(), text).unwrap();
        settings
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("hub.toml")
    }

    /// `serve --print-config` with this file.
    fn print(&self, args: &[&str], environment: &[(&str, &str)]) -> Answer {
        let mut command = tertulia();
        command.args(["serve", "--print-config", "--config"]).arg(self.path()).args(args);
        command.envs(environment.iter().copied());
        Answer::new("operator", args, command.output().unwrap())
    }

    /// One setting and where it comes from.
    fn setting(&self, key: &str, args: &[&str], environment: &[(&str, &str)]) -> (Value, String) {
        let all = self.print(&[args, &["--json"]].concat(), environment).one();
        let setting = &all[key];
        (
            setting["value"].clone(),
            setting["from"].as_str().unwrap_or_else(|| panic!("{key}: {all}")).to_owned(),
        )
    }
}

#[test]
fn a_flag_counts_more_than_the_environment_and_that_more_than_the_file() {
    let file = Settings::new("guest-hours = 3\nbehind-proxy = true\n");
    let environment = [("TERTULIA_GUEST_HOURS", "2")];
    let flag = ["--guest-hours", "1"];
    let from = |origin: &str, value: &str| (Value::from(value), origin.to_owned());
    assert_eq!(file.setting("guest-hours", &flag, &environment), from("flag", "1"));
    assert_eq!(file.setting("guest-hours", &[], &environment), from("environment", "2"));
    assert_eq!(file.setting("guest-hours", &[], &[]), from("file", "3"));
    assert_eq!(Settings::new("").setting("guest-hours", &[], &[]), from("default", "24"));
    assert_eq!(file.setting("domain", &[], &[]), (Value::Null, "not set".to_owned()));
    // What is on in the file can be put off.
    assert_eq!(file.setting("behind-proxy", &[], &[]), from("file", "true"));
    assert_eq!(file.setting("behind-proxy", &["--behind-proxy=false"], &[]), from("flag", "false"));
    assert_eq!(
        file.setting("behind-proxy", &[], &[("TERTULIA_BEHIND_PROXY", "0")]),
        from("environment", "0")
    );
}

#[test]
fn what_is_printed_is_a_file_that_says_the_same() {
    let file = Settings::new(
        "listen = '127.0.0.1:9'\nmax-storage = '20GiB'\nrate-joins = 'none'\nguest-hours = 0\n",
    );
    let printed =
        file.print(&["--domain", "chat.example.org"], &[("TERTULIA_METRICS", "9464")]).done().stdout();
    for line in [
        "listen = \"127.0.0.1:9\" # file",
        "domain = \"chat.example.org\" # flag",
        "metrics = 9464 # environment",
        "behind-proxy = false # default",
        "# tls-cert # not set",
    ] {
        assert!(printed.lines().any(|found| found == line), "{line} is not in:\n{printed}");
    }
    let values = |text: &str| -> Vec<String> {
        let set = text.lines().filter(|line| !line.starts_with('#'));
        set.map(|line| line.rsplit_once(" # ").unwrap().0.to_owned()).collect()
    };
    // Also with each way to a certificate.
    let ways = [
        "acme-names = 'chat.example.org,example.org'\nacme-contact = 'admin@example.org'\n",
        "tls-cert = 'chain.pem'\ntls-key = 'key.pem'\n",
        "behind-proxy = true\n",
    ];
    let ways = ways.map(|text| Settings::new(text).print(&[], &[]).done().stdout());
    for printed in ways.into_iter().chain([printed]) {
        let again = Settings::new(&printed).print(&[], &[]).done().stdout();
        assert_eq!(values(&again), values(&printed));
        assert!(
            again.lines().filter(|line| !line.starts_with('#')).all(|line| line.ends_with("# file")),
            "{again}"
        );
    }
    // Nothing was started or made.
    assert_eq!(fs::read_dir(file.directory.path()).unwrap().count(), 1);
}

#[test]
fn no_proxy_is_told_beside_names_to_have_a_certificate_issued_for() {
    let names = ["--acme-names", "chat.example.org"];
    let set = |text: &str, args: &[&str], environment: &[(&str, &str)]| {
        Settings::new(text).print(&[&names[..], args].concat(), environment)
    };
    // That there is none may be said.
    set("behind-proxy = false\n", &[], &[]).done();
    set("", &["--behind-proxy=false"], &[]).done();
    set("", &[], &[("TERTULIA_BEHIND_PROXY", "0")]).done();
    set("behind-proxy = true\n", &["--behind-proxy=false"], &[]).done();
    set("behind-proxy = true\n", &[], &[]).usage();
    set("", &["--behind-proxy"], &[]).usage();
    set("", &[], &[("TERTULIA_BEHIND_PROXY", "1")]).usage();
}

#[test]
fn another_way_to_a_certificate_by_a_flag_or_the_environment_replaces_that_of_the_file() {
    let files = Settings::new("tls-cert = 'chain.pem'\ntls-key = 'key.pem'\n");
    let acme = Settings::new("acme-names = 'chat.example.org'\nacme-contact = 'admin@example.org'\n");
    let name = "other.example.org";
    for printed in [
        files.print(&["--acme-names", name], &[]),
        files.print(&[], &[("TERTULIA_ACME_NAMES", name)]),
        acme.print(&["--tls-cert", "other.pem", "--tls-key", "other-key.pem"], &[]),
    ] {
        let printed = printed.done().stdout();
        assert!(printed.contains("other") && !printed.contains("# file"), "{printed}");
    }
    // In one place they contradict each other.
    files.print(&["--acme-names", name, "--tls-cert", "other.pem"], &[]).usage();
    Settings::new("tls-cert = 'chain.pem'\ntls-key = 'key.pem'\nacme-names = 'other.example.org'\n")
        .print(&[], &[])
        .usage();
}

#[test]
fn secrets_are_not_printed() {
    let file = Settings::new(
        "otlp-endpoint = 'https://collector:opensesame@collector.example'\notlp-header = 'authorization: Bearer opensesame'\n\
         database = 'postgres://hub:opensesame@db.example/hub'\nnats = 'tls://hub:opensesame@nats.example,tls://other.example'\n",
    );
    for args in [&[][..], &["--json"]] {
        let printed = file.print(args, &[]).done().stdout();
        assert!(!printed.contains("opensesame"), "{printed}");
        assert!(printed.contains("(not shown)"), "{printed}");
    }
}

#[test]
fn a_password_in_an_address_that_is_not_understood_is_not_printed() {
    for command in ["serve", "admin copy-database", "admin after-restore"] {
        let mut tertulia = std::process::Command::new(env!("CARGO_BIN_EXE_tertulia"));
        tertulia
            .args(command.split(' '))
            .env("TERTULIA_DATABASE", "postgres://hub:opensesame@db.example/hub?sslmode=perhaps");
        let refused = tertulia.output().unwrap();
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && told.contains("(not shown)"), "{command}: {told}");
        assert!(!told.contains("opensesame"), "{command}: {told}");
    }
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_place() {
    let file = Settings::new("listen = '127.0.0.1:0'\nguest-hour = 3\n");
    let answer = file.print(&[], &[]);
    assert_eq!(answer.code(), "invalid-configuration");
    let stderr = answer.stderr();
    assert!(
        stderr.contains("hub.toml, line 2: there is no setting `guest-hour`; is `guest-hours` meant?"),
        "{stderr}"
    );
    // A mistake is one whatever a flag says.
    let file = Settings::new("guest-hours = 721\n");
    assert_eq!(file.print(&["--guest-hours", "1"], &[]).code(), "invalid-configuration");
    let mut nowhere = tertulia();
    nowhere.args(["serve", "--print-config", "--config", "/nowhere/hub.toml"]);
    assert_eq!(Answer::new("operator", &[], nowhere.output().unwrap()).code(), "invalid-configuration");
}

#[test]
fn a_setting_that_is_of_no_use_alone_is_refused_wherever_it_comes_from() {
    Settings::new("tls-cert = 'chain.pem'\n").print(&[], &[]).usage();
    Settings::new("").print(&["--tls-key", "key.pem"], &[]).usage();
    let both = Settings::new("tls-cert = 'chain.pem'\n").print(&["--tls-key", "key.pem"], &[]);
    assert!(both.done().stdout().contains("tls-cert = \"chain.pem\" # file"));
}
