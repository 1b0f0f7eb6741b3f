//! The commands of the README do what it says, typed as they stand there.

use crate::support::{Device, Hub, PASSWORD, tertulia};
use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Output},
};

/// The commands of the README's section of this name, without their prompts and comments.
fn commands(section: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = fs::read_to_string(path).expect("the README can be read");
    let section =
        text.split("\n## ").find_map(|part| part.strip_prefix(&format!("{section}\n"))).expect("the section");
    let blocks = section.split("```").skip(1).step_by(2).filter_map(|block| block.strip_prefix("console\n"));
    let lines = blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix("$ "));
    lines.map(|line| line.split(" #").next().unwrap_or_default().trim_end().to_owned()).collect()
}

/// Somebody at a terminal: a shell with the program in its path and a home directory of its own.
struct Shell {
    home: PathBuf,
    bin: PathBuf,
    /// What was exported, which the next command finds.
    exported: Vec<String>,
}

impl Shell {
    fn new(directory: &Path) -> Self {
        let (home, bin) = (directory.join("home"), directory.join("bin"));
        fs::create_dir_all(&home).expect("a directory can be made");
        fs::create_dir_all(&bin).expect("a directory can be made");
        symlink(env!("CARGO_BIN_EXE_tertulia"), bin.join("tertulia")).expect("a link can be made");
        Self { home, bin, exported: Vec::new() }
    }

    fn types(&mut self, line: &str) -> Output {
        if line.starts_with("export ") {
            self.exported.push(line.to_owned());
        }
        let script = [self.exported.as_slice(), &[line.to_owned()]].concat().join("\n");
        let path = format!("{}:{}", self.bin.display(), std::env::var("PATH").expect("a path"));
        let mut command = Command::new("bash");
        command.args(["-euc", &script]).current_dir(&self.home).env("HOME", &self.home).env("PATH", path);
        command
            .env_remove("TERTULIA_HOME")
            .env_remove("XDG_DATA_HOME")
            .env("TERTULIA_PASSWORD", PASSWORD)
            .env("NO_COLOR", "1");
        command.output().expect("a shell is there")
    }
}

#[test]
fn the_readmes_conversation_takes_place() {
    let mut talk = commands("Talk").into_iter();
    // The program that is tested is the one that the first command installs.
    assert_eq!(talk.next().as_deref(), Some("cargo install --path crates/cli"));
    let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
    assert!(crates.ends_with("crates/cli") && env!("CARGO_BIN_EXE_tertulia").ends_with("tertulia"));
    // The port may be taken on the machine of the test; that it is the default one is looked at here.
    assert_eq!(talk.next().as_deref(), Some("tertulia serve"));
    let settings = tertulia().args(["serve", "--print-config"]).output().expect("the binary was built");
    let settings = String::from_utf8(settings.stdout).expect("UTF-8");
    assert!(settings.contains("listen = \"127.0.0.1:8440\""), "{settings}");
    let hub = Hub::start();
    let others: Vec<Device> = ["bob", "carol"].iter().map(|handle| hub.sign_up(handle)).collect();

    let mut shell = Shell::new(hub.directory());
    let (mut typed, mut heard) = (Vec::new(), String::new());
    for line in talk {
        let output = shell.types(&line.replace("http://127.0.0.1:8440", &hub.url()));
        assert!(output.status.success(), "{line}\n{}", String::from_utf8_lossy(&output.stderr));
        heard.push_str(&String::from_utf8_lossy(&output.stdout));
        if let Some(other) =
            others.iter().find(|other| line == format!("tertulia connect {}", other.handle()))
        {
            other.run(&["accept", "alice"]).done();
        }
        typed.push(line);
    }
    assert!(shell.home.join("alice").is_dir(), "{typed:?}");
    assert!(heard.contains("Shall we meet again?"), "{heard}");
    assert_eq!(others[0].texts("@alice"), ["Shall we meet again?"]);
    for other in &others {
        assert_eq!(other.texts("Friday table"), ["Same place?"], "{typed:?}");
    }
    // What the text says beside the block.
    let mut second = Shell::new(&hub.directory().join("second"));
    let line = format!("tertulia login alice --hub {}", hub.url());
    assert!(second.types(&line).status.success());
    let listed = second.types("tertulia list --json");
    assert!(String::from_utf8_lossy(&listed.stdout).contains("@bob"), "{listed:?}");
}

#[test]
fn every_command_that_the_documents_name_is_one() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut looked_at = 0;
    for page in ["README.md", "docs/hosting.md", "docs/operations.md", "docs/scaling.md", "SECURITY.md"] {
        let text = fs::read_to_string(root.join(page)).expect("the page can be read");
        // Inline code and lines of shell blocks, up to the first word that is not of a command.
        for after in text.split("`tertulia ").skip(1).chain(text.split("$ tertulia ").skip(1)) {
            let end = after.find(['`', '\n']).unwrap_or(after.len());
            let is_word = |word: &&str| word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
            let words: Vec<&str> = after[..end].split(' ').take_while(is_word).collect();
            let words: Vec<&str> = words.into_iter().filter(|word| !word.starts_with('-')).collect();
            let Some(first) = words.first() else { continue };
            let help = tertulia().args([first, "--help"]).output().expect("the binary was built");
            assert!(help.status.success(), "{page}: tertulia {first}");
            // Its commands, if it has some.
            let help = String::from_utf8(help.stdout).expect("UTF-8");
            if let (Some(second), Some(commands)) = (words.get(1), help.split("Commands:").nth(1)) {
                let is_there =
                    commands.lines().any(|line| line.trim_start().split(' ').next() == Some(*second));
                assert!(is_there, "{page}: tertulia {first} {second}\n{commands}");
            }
            looked_at += 1;
        }
    }
    assert!(looked_at >= 20, "{looked_at} commands");
}
