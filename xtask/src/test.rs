//! `cargo xtask test`: everything that has to pass, in one order, with one build.

use crate::{
    api,
    command::{Failure, Program, target_directory},
    demo, prerequisites, say, soak,
};
use clap::{Args, ValueEnum};
use std::{
    fs,
    time::{Duration, Instant},
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Only these steps, in the usual order.
    #[arg(value_enum)]
    steps: Vec<Step>,
    /// Go on after a step that failed, and fail at the end.
    #[arg(long)]
    keep_going: bool,
}

/// A step, in the order in which they run: what fails fast comes first.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Step {
    /// The formatting is rustfmt's.
    Fmt,
    /// The dependencies' licences, sources and versions are those of deny.toml.
    Deny,
    /// No lint speaks, in any target.
    Clippy,
    /// The documentation builds without a warning.
    Docs,
    /// All tests of the workspace.
    Tests,
    /// The tests of the hub once more, with PostgreSQL.
    Postgres,
    /// Every error code was the answer to some test's request, and no answer is missing in the description of the API.
    Codes,
    /// Processes that are killed, and disks that are full, at every point of the engine where something is persisted or sent.
    Crashes,
    /// Hubs that are killed, restarted and filled while people use them, a few times each.
    Soak,
    /// Both demonstrations, from the first command to the search for what must not be there.
    Demos,
    /// All examples in the documentation.
    Doctests,
    /// The test vectors of docs/spec are read by the decoder there, which shares no code with ours.
    Spec,
    /// A minute of requests that are made up from the hub's OpenAPI document.
    Api,
}

impl Step {
    fn title(self) -> &'static str {
        match self {
            Self::Fmt => "formatting",
            Self::Deny => "dependencies",
            Self::Clippy => "clippy",
            Self::Docs => "documentation",
            Self::Tests => "tests",
            Self::Postgres => "tests with PostgreSQL",
            Self::Codes => "error codes",
            Self::Crashes => "crashes",
            Self::Soak => "nothing acknowledged is lost",
            Self::Demos => "demonstrations",
            Self::Doctests => "examples in the documentation",
            Self::Spec => "test vectors of the specification",
            Self::Api => "answers of the API",
        }
    }

    /// All steps use one profile, the same flags and the whole workspace, so that each builds on what the one before has
    /// built. Warnings are denied by arguments of the last program alone: RUSTFLAGS would build everything anew.
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Fmt => Program::cargo().args("fmt --all -- --check").run(),
            Self::Deny => prerequisites::cargo_deny()?.args("--locked check bans licenses sources").run(),
            Self::Clippy => {
                Program::cargo().args("clippy --workspace --all-targets --locked -- -D warnings").run()?;
                // What is there for these tests only.
                Program::cargo()
                    .args("clippy --package tertulia-mls --package tertulia-store --all-targets --locked")
                    .args("--features tertulia-mls/failpoints -- -D warnings")
                    .run()
            }
            Self::Docs => Program::cargo()
                .args("doc --workspace --no-deps --locked")
                .env("RUSTDOCFLAGS", "-D warnings")
                .run(),
            Self::Tests => {
                // What an earlier run reached does not count.
                for noted in ["tmp/codes", "tmp/answers"].map(|name| target_directory().join(name)) {
                    if noted.exists() {
                        fs::remove_dir_all(&noted).map_err(Failure::file(&noted))?;
                    }
                }
                prerequisites::services()?;
                prerequisites::cargo_nextest()?.args("run --workspace --locked").run()
            }
            // Rounds of the race are fewer, for they were all run with SQLite.
            Self::Postgres => {
                prerequisites::services()?;
                let tests = prerequisites::cargo_nextest()?
                    .args("run --workspace --locked -E package(tertulia-server)");
                prerequisites::with_postgres(tests)?.env("ROUNDS", "25").run()
            }
            Self::Codes => prerequisites::cargo_nextest()?
                .args("run --workspace --locked --run-ignored only -E package(tertulia-server)&binary(codes)")
                .run(),
            Self::Crashes => prerequisites::cargo_nextest()?
                .args(
                    "run --package tertulia-mls --package tertulia-store --features tertulia-mls/failpoints",
                )
                .args("--test crashes --test rekey_fails --locked")
                .run(),
            Self::Soak => soak::in_tests(),
            Self::Demos => [false, true]
                .into_iter()
                .try_for_each(|blind| demo::demo(&demo::Arguments { dev: true, blind })),
            Self::Doctests => Program::cargo().args("test --doc --workspace --locked").run(),
            Self::Spec => {
                let schemas = target_directory().join("spec");
                Program::cargo().args("build --workspace --locked --example schemas").run()?;
                Program::new(target_directory().join("debug/examples/schemas")).arg(&schemas).run()?;
                prerequisites::spec_decoder()?.arg("docs/spec/decode.py").arg(&schemas).run()
            }
            Self::Api => api::api(&api::IN_TESTS),
        }
    }
}

struct Outcome {
    title: &'static str,
    time: Duration,
    passed: bool,
}

pub(crate) fn test(arguments: &Arguments) -> Result<(), Failure> {
    let start = Instant::now();
    prerequisites::system_tools()?;
    prerequisites::rust_components()?;

    let mut outcomes = Vec::new();
    for step in Step::value_variants() {
        if !arguments.steps.is_empty() && !arguments.steps.contains(step) {
            continue;
        }
        say::heading(step.title());
        let begun = Instant::now();
        let result = step.run();
        let outcome = Outcome { title: step.title(), time: begun.elapsed(), passed: result.is_ok() };
        say::note(format!("{}: {}", outcome.title, say::duration(outcome.time)));
        outcomes.push(outcome);
        if let Err(failure) = result {
            say::bad(&failure);
            if !arguments.keep_going {
                break;
            }
        }
    }
    summary(&outcomes, start.elapsed())
}

fn summary(outcomes: &[Outcome], time: Duration) -> Result<(), Failure> {
    say::heading("summary");
    for Outcome { title, time, passed } in outcomes {
        let line =
            format!("{:<4}  {title:<32}{:>12}", if *passed { "ok" } else { "FAIL" }, say::duration(*time));
        if *passed { say::line(line) } else { say::bad(line) }
    }
    let failed: Vec<_> =
        outcomes.iter().filter(|outcome| !outcome.passed).map(|outcome| outcome.title).collect();
    if failed.is_empty() {
        say::good(format!("all passed in {}", say::duration(time)));
        Ok(())
    } else {
        Err(Failure::message(format!("failed: {}", failed.join(", "))))
    }
}
