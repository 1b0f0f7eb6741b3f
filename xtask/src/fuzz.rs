//! `cargo xtask fuzz`: all fuzz targets, one after another.

use crate::{
    command::{Failure, Program, target_directory},
    prerequisites, say,
};
use clap::Args;
use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

#[derive(Args)]
pub(crate) struct Arguments {
    /// How long each target runs.
    #[arg(default_value_t = 600)]
    seconds: u64,
    /// Only these targets.
    #[arg(long = "target", value_name = "NAME")]
    targets: Vec<String>,
    /// Put what was found into fuzz/corpus, as little of it as reaches the same code.
    #[arg(long)]
    keep: bool,
}

/// The compiler that knows the sanitizers.
const TOOLCHAIN: &str = "nightly";

/// Most memory that a target may use, in MiB.
const MEMORY: u32 = 2048;

struct Outcome {
    target: String,
    inputs: Option<u64>,
    corpus: usize,
    coverage: Option<u64>,
    failed: bool,
}

pub(crate) fn fuzz(arguments: &Arguments) -> Result<(), Failure> {
    prerequisites::system_tools()?;
    let fuzzer = Fuzzer { program: prerequisites::cargo_fuzz()?, built: target_directory().join("fuzz") };
    let mut targets = targets()?;
    if let Some(unknown) = arguments.targets.iter().find(|target| !targets.contains(target)) {
        return Err(Failure::message(format!(
            "there is no target {unknown}; there are {}",
            targets.join(", ")
        )));
    }
    targets.retain(|target| arguments.targets.is_empty() || arguments.targets.contains(target));

    fuzzer.cargo("build").run()?;
    let mut outcomes = Vec::new();
    for target in targets {
        say::heading(&target);
        let begun = Instant::now();
        outcomes.push(fuzzer.run(target, arguments)?);
        say::note(say::duration(begun.elapsed()));
    }
    summary(&outcomes)
}

struct Fuzzer {
    program: PathBuf,
    built: PathBuf,
}

impl Fuzzer {
    /// `cargo fuzz` on the nightly compiler, with what it builds beside everything else that is built.
    fn cargo(&self, subcommand: &str) -> Program {
        Program::new(&self.program)
            .env("RUSTUP_TOOLCHAIN", TOOLCHAIN)
            .env("CARGO_TARGET_DIR", &self.built)
            .args("fuzz")
            .arg(subcommand)
    }

    fn run(&self, target: String, arguments: &Arguments) -> Result<Outcome, Failure> {
        let found = self.built.join("corpus").join(&target);
        let seeds = Path::new("fuzz/corpus").join(&target);
        fs::create_dir_all(&found).map_err(Failure::file(&found))?;
        let log = self.built.join(format!("{target}.log"));
        let file = fs::File::create(&log).map_err(Failure::file(&log))?;
        // New inputs go into the first directory; those of the tree are only read.
        let command = self
            .cargo("run")
            .arg(&target)
            .arg(&found)
            .arg(&seeds)
            .args("-- -timeout=60 -print_final_stats=1 -max_len=4096")
            .arg(format!("-max_total_time={}", arguments.seconds))
            .arg(format!("-rss_limit_mb={MEMORY}"));
        let shown = command.shown();
        let mut command = command.into_inner();
        let status =
            command.stderr(file).status().map_err(|source| Failure::Start { command: shown, source })?;
        let text = fs::read(&log).map_err(Failure::file(&log))?;
        let text = String::from_utf8_lossy(&text);
        if status.success() && arguments.keep {
            self.cargo("run").arg(&target).arg(&seeds).arg(&found).args("-- -merge=1 -max_len=4096").run()?;
        }
        if !status.success() {
            say::bad(format!("{target} failed; its whole output is in {}", log.display()));
            for line in text.lines().skip_while(|line| !line.contains("panicked")).take(40) {
                say::line(line);
            }
        }
        let corpus = fs::read_dir(&found).map_err(Failure::file(&found))?.count();
        Ok(Outcome {
            inputs: number_behind(&text, "stat::number_of_executed_units:"),
            coverage: number_behind(&text, " cov: "),
            failed: !status.success(),
            target,
            corpus,
        })
    }
}

/// The last number that follows this text in libFuzzer's output.
fn number_behind(log: &str, label: &str) -> Option<u64> {
    let (_, behind) = log.rsplit_once(label)?;
    behind.split_whitespace().next()?.parse().ok()
}

/// The targets: each is a file.
fn targets() -> Result<Vec<String>, Failure> {
    let directory = Path::new("fuzz/fuzz_targets");
    let mut targets = Vec::new();
    for entry in fs::read_dir(directory).map_err(Failure::file(directory))? {
        let path = entry.map_err(Failure::file(directory))?.path();
        targets.extend(path.file_stem().map(|name| name.to_string_lossy().into_owned()));
    }
    targets.sort();
    Ok(targets)
}

fn summary(outcomes: &[Outcome]) -> Result<(), Failure> {
    say::heading("summary");
    let shown = |number: Option<u64>| number.map_or_else(|| "?".to_owned(), |number| number.to_string());
    say::line(format!("      {:<14}{:>12}{:>10}{:>10}", "target", "inputs", "corpus", "coverage"));
    for Outcome { target, inputs, corpus, coverage, failed } in outcomes {
        let line = format!(
            "{:<4}  {target:<14}{:>12}{corpus:>10}{:>10}",
            if *failed { "FAIL" } else { "ok" },
            shown(*inputs),
            shown(*coverage)
        );
        if *failed { say::bad(line) } else { say::line(line) }
    }
    let failed: Vec<_> =
        outcomes.iter().filter(|outcome| outcome.failed).map(|outcome| outcome.target.as_str()).collect();
    if failed.is_empty() {
        say::good("nothing found");
        Ok(())
    } else {
        Err(Failure::message(format!("found by {}; the inputs are in fuzz/artifacts", failed.join(", "))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_number_of_the_fuzzer_counts() {
        let log = "#1 INITED cov: 12 ft: 3\n#2 NEW    cov: 345 ft: 9\nstat::number_of_executed_units: 6789\n";
        assert_eq!(number_behind(log, " cov: "), Some(345));
        assert_eq!(number_behind(log, "stat::number_of_executed_units:"), Some(6789));
        assert_eq!(number_behind("", " cov: "), None);
    }
}
