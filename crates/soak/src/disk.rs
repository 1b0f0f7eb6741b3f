//! A small file system that can be filled and emptied, without harm to the machine's own.
//!
//! A `tmpfs` in a mount namespace of its own, which root can make, and anybody where user namespaces are allowed. Where
//! neither is, as in most containers, `/dev/shm` is one, if it is small: 64 MiB in a container that nobody has asked for
//! more. It goes with the process that holds it.

use crate::Outcome;
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};
use tempfile::TempDir;

/// How large it is to be, in MiB. It is to last for all rounds.
const SIZE: u64 = 48;
/// Of a shared one, the largest that is filled, in KiB.
const LARGEST_SHARED: u64 = 128 * 1024;
/// What is written at a time. The rest that is smaller holds nobody up.
const BLOCK: usize = 4096;

/// A file system of a few MiB.
pub(crate) struct SmallDisk {
    /// Ends with its standard input, and the namespace with it.
    holder: Option<Child>,
    /// What it is, for the report.
    kind: &'static str,
    within: Vec<String>,
    /// As the nodes see it.
    inside: PathBuf,
    /// As this process sees it.
    outside: PathBuf,
    _directory: TempDir,
}

impl SmallDisk {
    /// Makes one; none if this machine lets us make none.
    pub(crate) fn make() -> Outcome<Option<Self>> {
        if let Some(disk) = Self::in_namespace("a tmpfs of its own", &["--mount"], &["--mount"])? {
            return Ok(Some(disk));
        }
        let user = ["--map-root-user", "--mount"];
        let enter = ["--user", "--preserve-credentials", "--mount"];
        if let Some(disk) = Self::in_namespace("a tmpfs in a user namespace", &user, &enter)? {
            return Ok(Some(disk));
        }
        Ok(Self::shared())
    }

    pub(crate) fn kind(&self) -> &'static str {
        self.kind
    }

    /// What a program is started by so that it sees the file system.
    pub(crate) fn within(&self) -> Vec<String> {
        self.within.clone()
    }

    /// Where it is for such a program.
    pub(crate) fn path(&self) -> &Path {
        &self.inside
    }

    /// Writes until there is no room.
    pub(crate) fn fill(&self) -> Outcome<()> {
        let mut ballast = File::options().create(true).append(true).open(self.ballast())?;
        loop {
            match ballast.write(&[0; BLOCK]) {
                Ok(BLOCK) => {}
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Gives the room back.
    pub(crate) fn free(&self) -> Outcome<()> {
        Ok(fs::remove_file(self.ballast())?)
    }

    fn ballast(&self) -> PathBuf {
        self.outside.join("ballast")
    }

    fn in_namespace(kind: &'static str, unshare: &[&str], enter: &[&str]) -> Outcome<Option<Self>> {
        const MOUNT: &str = r#"mount -t tmpfs -o "size=$1m" tmpfs "$2" && echo mounted && exec cat"#;
        let directory = tempfile::tempdir()?;
        let inside = directory.path().to_owned();
        let mut command = Command::new("unshare");
        command.args(unshare).args(["sh", "-c", MOUNT, "sh", &SIZE.to_string()]).arg(&inside);
        let spawned = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let Ok(mut holder) = spawned else { return Ok(None) };
        let stdout = holder.stdout.take().expect("standard output was asked to be a pipe");
        let mut line = String::new();
        BufReader::new(stdout).take(16).read_line(&mut line)?;
        let id = holder.id();
        let outside = PathBuf::from(format!("/proc/{id}/root")).join(inside.strip_prefix("/")?);
        let mut within = vec!["nsenter".to_owned(), format!("--target={id}")];
        within.extend(enter.iter().map(|&option| option.to_owned()));
        within.push("--".to_owned());
        let disk = Self { holder: Some(holder), kind, within, inside, outside, _directory: directory };
        let usable = line.trim_end() == "mounted" && disk.is_seen_by_both();
        Ok(usable.then_some(disk))
    }

    /// Whether a program within sees what is written here.
    fn is_seen_by_both(&self) -> bool {
        let written = fs::write(self.outside.join("probe"), "").is_ok();
        let Some((program, arguments)) = self.within.split_first() else { return written };
        let found = Command::new(program)
            .args(arguments)
            .args(["rm"])
            .arg(self.inside.join("probe"))
            .stderr(Stdio::null())
            .status();
        written && found.is_ok_and(|status| status.success())
    }

    fn shared() -> Option<Self> {
        let Ok(output) = Command::new("df").args(["-Pk", "/dev/shm"]).output() else { return None };
        let text = String::from_utf8_lossy(&output.stdout);
        let mut fields = text.lines().nth(1).unwrap_or_default().split_whitespace();
        let (kind, size) = (fields.next(), fields.next().and_then(|size| size.parse::<u64>().ok()));
        if !(kind.is_some_and(|kind| kind == "shm" || kind == "tmpfs")
            && size.is_some_and(|size| size <= LARGEST_SHARED))
        {
            return None;
        }
        let Ok(directory) = tempfile::tempdir_in("/dev/shm") else { return None };
        let path = directory.path().to_owned();
        Some(Self {
            holder: None,
            kind: "the small tmpfs at /dev/shm",
            within: Vec::new(),
            inside: path.clone(),
            outside: path,
            _directory: directory,
        })
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        if let Some(mut holder) = self.holder.take() {
            drop(holder.stdin.take());
            // Fails only if it has ended already.
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}
