//! The engine's operations against the MLS library alone, and against the bars that they have to meet.
//!
//! Each is what an application pays: open the transaction, do it, and write the result durably into the encrypted keystore on
//! disk. Beside it stands the same operation on the library, with its storage in memory and nothing around it.

mod catch_up;
mod commits;
mod members;
mod memory;
mod messages;
mod report;
mod sample;

use std::{error::Error, path::PathBuf, process::ExitCode};

use clap::{Parser, ValueEnum};
use mls_rs::MlsMessage;
use tertulia_bench::leaves;
use tertulia_mls::KeyPackage;
use tokio::runtime::Runtime;

use self::report::Report;

type Outcome<T> = Result<T, Box<dyn Error>>;

#[derive(Parser)]
struct Arguments {
    /// Write the figures to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Measure groups up to this size only.
    #[arg(long, default_value_t = 10_000)]
    members: usize,
    /// Measure only this. May be repeated.
    #[arg(long, value_enum)]
    only: Vec<Part>,
    /// `cargo bench` gives it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured, in this order.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Adding all members of a new group.
    Members,
    /// Encrypting and decrypting.
    Messages,
    /// Own commits, others' commits, joins.
    Commits,
    /// A device that was away.
    CatchUp,
    /// What a group takes in memory.
    Memory,
}

impl Part {
    fn measure(self, bench: &mut Bench) -> Outcome<()> {
        match self {
            Self::Members => members::measure(bench),
            Self::Messages => messages::measure(bench),
            Self::Commits => commits::measure(bench),
            Self::CatchUp => catch_up::measure(bench),
            Self::Memory => memory::measure(bench),
        }
    }
}

/// What the measurements share.
struct Bench {
    runtime: Runtime,
    report: Report,
    leaves: Vec<MlsMessage>,
    key_packages: Vec<KeyPackage>,
    largest: usize,
}

impl Bench {
    /// Sizes of groups, of these that are wanted.
    fn sizes(&self, sizes: &[usize]) -> Vec<usize> {
        sizes.iter().copied().filter(|size| *size <= self.largest).collect()
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report::note(&format!("the measurement failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Outcome<()> {
    report::note("making key packages");
    let leaves = leaves(arguments.members)?;
    let key_packages =
        leaves.iter().map(|leaf| Ok(KeyPackage::from_bytes(&leaf.to_bytes()?)?)).collect::<Outcome<_>>()?;
    let mut bench = Bench {
        runtime: Runtime::new()?,
        report: Report::default(),
        leaves,
        key_packages,
        largest: arguments.members,
    };
    for part in Part::value_variants() {
        if arguments.only.is_empty() || arguments.only.contains(part) {
            part.measure(&mut bench)?;
        }
    }
    bench.report.print();
    if let Some(file) = &arguments.json {
        bench.report.write(file)?;
    }
    Ok(())
}
