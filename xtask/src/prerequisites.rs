//! What the build needs beyond Rust, installed when it is missing.

use crate::{
    command::{Failure, Program, target_directory},
    say,
};
use std::{
    env, fs,
    path::{Path, PathBuf},
};

/// A cargo subcommand from the package registry.
struct Tool {
    /// The package, and the binary's name.
    name: &'static str,
    /// What is installed. Another patch release of the same series, if it is there, does as well.
    version: &'static str,
    /// Leave out what is not used, to have it sooner.
    features: &'static str,
}

const CARGO_NEXTEST: Tool = Tool {
    name: "cargo-nextest",
    version: "0.9.143",
    features: "--no-default-features --features default-no-update",
};
const CARGO_DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", features: "" };
const CARGO_FUZZ: Tool = Tool { name: "cargo-fuzz", version: "0.13.2", features: "" };

/// `cargo nextest`, ready for its arguments.
pub(crate) fn cargo_nextest() -> Result<Program, Failure> {
    // A cargo subcommand gets its own name as its first argument.
    Ok(installed(&CARGO_NEXTEST)?.arg("nextest"))
}

/// `cargo deny`, ready for its arguments.
pub(crate) fn cargo_deny() -> Result<Program, Failure> {
    installed(&CARGO_DENY)
}

/// The binary `cargo-fuzz`, which gets `fuzz` as its first argument.
pub(crate) fn cargo_fuzz() -> Result<PathBuf, Failure> {
    path(&CARGO_FUZZ)
}

/// `schemathesis`, of the version in xtask/api/requirements.txt, in an environment of its own.
pub(crate) fn schemathesis() -> Result<Program, Failure> {
    Ok(Program::new(python_environment("schemathesis", "xtask/api/requirements.txt")?.join("schemathesis")))
}

/// The Python that has Synapse, of the version in xtask/bench/requirements.txt, in an environment of its own.
pub(crate) fn synapse() -> Result<PathBuf, Failure> {
    Ok(python_environment("synapse", "xtask/bench/requirements.txt")?.join("python"))
}

/// Python with what docs/spec/requirements.txt names, in an environment of its own: for the decoder beside the specification.
pub(crate) fn spec_decoder() -> Result<Program, Failure> {
    Ok(Program::new(python_environment("spec-decoder", "docs/spec/requirements.txt")?.join("python")))
}

/// Where the programs are of a Python environment of this name, in which is what the file names.
fn python_environment(name: &str, requirements: &str) -> Result<PathBuf, Failure> {
    let wanted = fs::read_to_string(requirements).map_err(Failure::file(Path::new(requirements)))?;
    let root = target_directory().join("tools").join(name);
    let programs = root.join(if cfg!(windows) { "Scripts" } else { "bin" });
    let python = programs.join("python");
    // What is in it stands in a file of its own, written last: an installation that was cut short is begun anew. So is one whose
    // interpreter the system has replaced.
    let done = root.join("requirements.txt");
    let is_there = fs::read_to_string(&done).is_ok_and(|installed| installed == wanted)
        && Program::new(&python).arg("--version").try_read().is_some();
    if !is_there {
        install(&[&PYTHON])?;
        say::note(format!("installing the packages of {requirements} into {}", root.display()));
        Program::new("python3").args("-m venv --clear").arg(&root).run()?;
        Program::new(&python)
            .args("-m pip install --quiet --disable-pip-version-check --requirement")
            .arg(requirements)
            .run()?;
        fs::write(&done, &wanted).map_err(Failure::file(&done))?;
    }
    Ok(programs)
}

fn installed(tool: &Tool) -> Result<Program, Failure> {
    path(tool).map(Program::new)
}

fn path(tool: &Tool) -> Result<PathBuf, Failure> {
    if fits(tool, Program::new(tool.name)) {
        return Ok(PathBuf::from(tool.name));
    }
    // Beside what is built, so that the person's own tools stay as they are.
    let root = target_directory().join("tools");
    let binary = root.join("bin").join(format!("{}{}", tool.name, env::consts::EXE_SUFFIX));
    if !fits(tool, Program::new(&binary)) {
        say::note(format!("installing {} {} into {}", tool.name, tool.version, root.display()));
        // Without optimisation: these run for seconds, and are built in a fraction of the time.
        Program::cargo()
            .args("install --quiet --locked --debug --force --root")
            .arg(&root)
            .args(tool.features)
            .arg(format!("{}@{}", tool.name, tool.version))
            .run()?;
    }
    Ok(binary)
}

/// Whether it is there, in a version of the wanted series.
fn fits(tool: &Tool, program: Program) -> bool {
    let subcommand = if tool.name == CARGO_NEXTEST.name { "nextest" } else { "" };
    let Some(output) = program.args(subcommand).arg("--version").try_read() else { return false };
    let found = output.split_whitespace().nth(1).unwrap_or_default();
    series(found) == series(tool.version)
}

/// `0.9` of `0.9.143`.
fn series(version: &str) -> Option<&str> {
    version.rsplit_once('.').map(|(series, _patch)| series)
}

/// The compiler's components that rust-toolchain.toml names, for machines where rustup does not add them by itself.
pub(crate) fn rust_components() -> Result<(), Failure> {
    for component in ["fmt", "clippy"] {
        if Program::cargo().arg(component).arg("--version").try_read().is_none() {
            let component = if component == "fmt" { "rustfmt" } else { component };
            Program::new("rustup").args("component add").arg(component).run()?;
        }
    }
    Ok(())
}

/// Something from outside that a build script calls.
struct SystemTool {
    /// How to see that it is there.
    probe: &'static [&'static str],
    /// The Debian package that it is in.
    package: &'static str,
    /// What it is for.
    purpose: &'static str,
}

const SYSTEM_TOOLS: &[SystemTool] = &[
    SystemTool {
        probe: &["cc", "--version"],
        package: "gcc libc6-dev",
        purpose: "a C compiler, for SQLCipher, OpenSSL and AWS-LC",
    },
    SystemTool { probe: &["make", "--version"], package: "make", purpose: "make, for OpenSSL" },
    SystemTool {
        probe: &["perl", "-MFindBin", "-MIPC::Cmd", "-MFile::Compare", "-MTime::Piece", "-e", "1"],
        package: "perl",
        purpose: "Perl with its standard modules, for OpenSSL's configuration",
    },
];

const PYTHON: SystemTool = SystemTool {
    probe: &["python3", "-c", "import ensurepip, venv"],
    package: "python3 python3-venv",
    purpose: "Python with venv, for the check of the API's answers and the decoder beside the specification",
};

const POSTGRES: SystemTool = SystemTool {
    // Debian keeps it out of the path, by version.
    probe: &["sh", "-c", "command -v initdb || ls /usr/lib/postgresql/*/bin/initdb"],
    package: "postgresql",
    purpose: "PostgreSQL, for the tests of a hub that keeps its data there",
};

const PEBBLE: SystemTool = SystemTool {
    probe: &["sh", "-c", "command -v pebble && command -v pebble-challtestsrv"],
    package: "pebble",
    purpose: "Pebble, a certificate authority for tests",
};

const NATS: SystemTool = SystemTool {
    // Debian keeps it where only root looks.
    probe: &["sh", "-c", "PATH=$PATH:/usr/sbin:/usr/local/sbin; command -v nats-server"],
    package: "nats-server",
    purpose: "NATS, for the tests of several hubs on one database",
};

/// What the tests start for themselves.
pub(crate) fn services() -> Result<(), Failure> {
    install(&[&POSTGRES, &NATS, &PEBBLE])
}

/// Sees to PostgreSQL.
pub(crate) fn postgres() -> Result<(), Failure> {
    install(&[&POSTGRES])
}

/// The program with a PostgreSQL server of its own, which is gone afterwards.
pub(crate) fn with_postgres(program: Program) -> Result<Program, Failure> {
    postgres()?;
    let with = "run --quiet --locked --package tertulia-testkit --bin with-postgres --";
    let inner = program.into_inner();
    Ok(inner.get_args().fold(Program::cargo().args(with).arg(inner.get_program()), Program::arg))
}

/// Sees to a C compiler, make and Perl.
pub(crate) fn system_tools() -> Result<(), Failure> {
    if cfg!(windows) {
        // The compiler there is found through the registry, by the build scripts themselves.
        return Ok(());
    }
    install(&SYSTEM_TOOLS.iter().collect::<Vec<_>>())
}

/// Installs those of the tools that are missing, or says what to install.
fn install(tools: &[&SystemTool]) -> Result<(), Failure> {
    let missing: Vec<&&SystemTool> = tools.iter().filter(|tool| !tool.is_there()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages = missing.iter().map(|tool| tool.package).collect::<Vec<_>>().join(" ");
    if let Some(apt) = apt_get() {
        say::note(format!("installing the Debian packages {packages}"));
        apt().args("update --quiet=2").run()?;
        return apt().args("install --yes --quiet=2 --no-install-recommends").args(&packages).run();
    }
    let purposes = missing.iter().map(|tool| tool.purpose).collect::<Vec<_>>().join("\n  ");
    Err(Failure::message(format!(
        "the build needs, and this machine lacks:\n  {purposes}\nPlease install them (on Debian and Ubuntu: {packages})."
    )))
}

impl SystemTool {
    fn is_there(&self) -> bool {
        let (program, args) = self.probe.split_first().expect("every probe names its program");
        args.iter().fold(Program::new(program), Program::arg).try_read().is_some()
    }
}

/// `apt-get` with the right to install, if this is a system that has it.
fn apt_get() -> Option<impl Fn() -> Program> {
    if !Path::new("/usr/bin/apt-get").exists() {
        return None;
    }
    let root = Program::new("id").arg("-u").try_read().is_some_and(|id| id == "0");
    // `-n`: fail instead of asking for a password in the middle of a build.
    let sudo = !root && Program::new("sudo").args("-n true").try_read().is_some();
    (root || sudo).then_some(move || {
        let program = if sudo { Program::new("sudo").args("-n apt-get") } else { Program::new("apt-get") };
        program.env("DEBIAN_FRONTEND", "noninteractive")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_patch_release_does_as_well_and_another_series_does_not() {
        assert_eq!(series("0.9.151"), series(CARGO_NEXTEST.version));
        assert_ne!(series("0.10.1"), series(CARGO_NEXTEST.version));
        assert_eq!(series(""), None);
    }

    #[test]
    fn what_is_not_there_is_seen_to_be_missing() {
        let tool =
            SystemTool { probe: &["no-such-program", "--version"], package: "none", purpose: "nothing" };
        assert!(!tool.is_there());
    }
}
