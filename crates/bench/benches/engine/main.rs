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

use clap::Parser;
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
    /// `cargo bench` gives it.
    #[arg(long, hide = true)]
    bench: bool,
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
    members::measure(&mut bench)?;
    messages::measure(&mut bench)?;
    commits::measure(&mut bench)?;
    catch_up::measure(&mut bench)?;
    memory::measure(&mut bench)?;
    bench.report.print();
    if let Some(file) = &arguments.json {
        bench.report.write(file)?;
    }
    Ok(())
}
