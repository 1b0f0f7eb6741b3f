//! Other programs: started, watched, and their failures named.

use std::{
    env,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
};

/// Why a task did not end well.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("`{command}` could not be started: {source}")]
    Start { command: String, source: io::Error },
    #[error("`{command}` failed ({status})")]
    Status { command: String, status: ExitStatus },
    #[error("{path}: {source}")]
    File { path: PathBuf, source: io::Error },
    #[error("{0}")]
    Message(String),
}

impl Failure {
    /// A failure that a sentence explains best.
    pub(crate) fn message(text: impl Into<String>) -> Self {
        Self::Message(text.into())
    }

    /// For `map_err` on what was done to a file.
    pub(crate) fn file(path: &Path) -> impl FnOnce(io::Error) -> Self {
        |source| Self::File { path: path.to_owned(), source }
    }
}

/// A command line that is about to run.
#[derive(Debug)]
pub(crate) struct Program(Command);

impl Program {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Self {
        Self(Command::new(program))
    }

    /// The cargo that runs us, so that a toolchain chosen by hand stays chosen.
    pub(crate) fn cargo() -> Self {
        Self::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
    }

    pub(crate) fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.0.arg(arg);
        self
    }

    /// Arguments, separated by spaces.
    pub(crate) fn args(mut self, args: &str) -> Self {
        self.0.args(args.split_whitespace());
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    /// Runs it on this terminal; anything but success is a failure.
    pub(crate) fn run(mut self) -> Result<(), Failure> {
        let command = self.shown();
        let status = self.0.status().map_err(|source| Failure::Start { command: command.clone(), source })?;
        if status.success() { Ok(()) } else { Err(Failure::Status { command, status }) }
    }

    /// Runs it and returns what it wrote to standard output; `None` if it is not there or did not succeed.
    pub(crate) fn try_read(mut self) -> Option<String> {
        let output = self.0.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// The command as a person would type it.
    pub(crate) fn shown(&self) -> String {
        let mut words = vec![Path::new(self.0.get_program()).file_name().unwrap_or_default()];
        words.extend(self.0.get_args());
        words.join(OsStr::new(" ")).to_string_lossy().into_owned()
    }

    /// The command itself, for what is not run to its end here.
    pub(crate) fn into_inner(self) -> Command {
        self.0
    }
}

/// Makes the repository's root the working directory, wherever the command was typed.
pub(crate) fn at_repository_root() -> Result<(), Failure> {
    let root = repository_root();
    env::set_current_dir(root).map_err(Failure::file(root))
}

fn repository_root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("this crate is a directory of the repository")
}

/// Where cargo puts what it builds.
pub(crate) fn target_directory() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| repository_root().join("target"), PathBuf::from)
}

/// A binary of the workspace that is not shipped.
#[derive(Clone, Copy)]
pub(crate) struct Binary {
    pub(crate) package: &'static str,
    pub(crate) name: &'static str,
}

/// Builds the shipped binary and `more` with the release profile, or all binaries with the development one, and returns the
/// directory that they are in. With the development profile it is the whole workspace that is built: of fewer packages or binaries the
/// dependencies would have other features for each selection, and be built once more.
pub(crate) fn build(dev: bool, more: &[Binary]) -> Result<PathBuf, Failure> {
    if dev {
        Program::cargo().args("build --workspace --bins").run()?;
        return Ok(target_directory().join("debug"));
    }
    let shipped = Program::cargo().args("build --profile release --package tertulia-cli --bin tertulia");
    let all = more.iter().fold(shipped, |cargo, Binary { package, name }| {
        cargo.arg("--package").arg(package).arg("--bin").arg(name)
    });
    all.run()?;
    Ok(target_directory().join("release"))
}
