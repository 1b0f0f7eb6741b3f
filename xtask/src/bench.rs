//! `cargo xtask bench`: what the engine and a hub can do on this machine.

use crate::{
    command::{Failure, Program, target_directory},
    prerequisites, say,
};
use clap::Args;
use serde_json::{Value, json};
use std::{collections::BTreeSet, fs, path::Path};

#[derive(Args)]
pub(crate) struct Arguments {
    /// Leave out the engine's benchmarks, which take some minutes.
    #[arg(long)]
    no_engine: bool,
    /// Leave out the hub under load.
    #[arg(long)]
    no_hub: bool,
    /// Further arguments of the load program, after `--`: `-- --messages 10000 --senders 16`.
    #[arg(last = true)]
    load: Vec<String>,
}

pub(crate) fn bench(arguments: &Arguments) -> Result<(), Failure> {
    prerequisites::system_tools()?;
    let results = target_directory().join("bench");
    fs::create_dir_all(&results).map_err(Failure::file(&results))?;

    if !arguments.no_engine {
        say::heading("the engine, with its keystore on disk");
        // What an earlier version measured under another name must not come into the table.
        let criterion = target_directory().join("criterion");
        if criterion.exists() {
            fs::remove_dir_all(&criterion).map_err(Failure::file(&criterion))?;
        }
        Program::cargo().args("bench --package tertulia-bench --bench engine -- --noplot").run()?;
        report_engine(&criterion, &results.join("engine.json"))?;
    }
    if !arguments.no_hub {
        say::heading("a hub, with durable storage");
        // As built with the benchmarks: `cargo run` would build it once more, without what only benchmarks depend on.
        Program::cargo().args("bench --quiet --package tertulia-bench --bench engine --no-run").run()?;
        let program = Program::new(target_directory().join("release/hub-load"))
            .arg("--json")
            .arg(results.join("hub.json"));
        arguments.load.iter().fold(program, Program::arg).run()?;
    }
    say::note(format!("written to {}", results.display()));
    Ok(())
}

/// Collects criterion's estimates into one table and one file.
fn report_engine(criterion: &Path, file: &Path) -> Result<(), Failure> {
    let mut measurements = Vec::new();
    collect(criterion, &mut measurements)?;
    measurements.sort_by(|a, b| (&a.operation, a.members).cmp(&(&b.operation, b.members)));

    let sizes: BTreeSet<u64> = measurements.iter().map(|measurement| measurement.members).collect();
    let heads: String = sizes.iter().fold(String::new(), |line, members| line + &format!("{members:>14}"));
    say::line(format!("\n{:<44}{heads}", "median, by members of the group"));
    for row in measurements.chunk_by(|a, b| a.operation == b.operation) {
        let cells = row.iter().fold(String::new(), |line, cell| line + &format!("{:>14}", time(cell.median)));
        say::line(format!("{:<44}{cells}", row[0].operation));
    }
    let report: Vec<Value> = measurements
        .iter()
        .map(|Measurement { operation, members, median, deviation }| {
            json!({ "operation": operation, "members": members, "median_ns": median, "std_dev_ns": deviation })
        })
        .collect();
    let text = serde_json::to_string_pretty(&report).expect("numbers and strings are valid JSON");
    fs::write(file, text).map_err(Failure::file(file))
}

struct Measurement {
    operation: String,
    members: u64,
    /// Nanoseconds.
    median: f64,
    deviation: f64,
}

/// Finds `…/new/benchmark.json` with its `estimates.json` at any depth.
fn collect(directory: &Path, measurements: &mut Vec<Measurement>) -> Result<(), Failure> {
    for entry in fs::read_dir(directory).map_err(Failure::file(directory))? {
        let path = entry.map_err(Failure::file(directory))?.path();
        if !path.is_dir() {
            continue;
        }
        if path.ends_with("new") {
            let (benchmark, estimates) =
                (read(&path.join("benchmark.json"))?, read(&path.join("estimates.json"))?);
            let estimate = |name: &str| estimates[name]["point_estimate"].as_f64().unwrap_or(f64::NAN);
            measurements.push(Measurement {
                operation: benchmark["group_id"].as_str().unwrap_or_default().to_owned(),
                members: benchmark["value_str"]
                    .as_str()
                    .and_then(|text| text.parse().ok())
                    .unwrap_or_default(),
                median: estimate("median"),
                deviation: estimate("std_dev"),
            });
        } else {
            collect(&path, measurements)?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Value, Failure> {
    let text = fs::read(path).map_err(Failure::file(path))?;
    serde_json::from_slice(&text).map_err(|error| Failure::message(format!("{}: {error}", path.display())))
}

/// Nanoseconds, in the unit that suits them.
fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        n if n < 1e3 => format!("{n:.0} ns"),
        n if n < 1e6 => format!("{:.1} µs", n / 1e3),
        n if n < 1e9 => format!("{:.2} ms", n / 1e6),
        n => format!("{:.2} s", n / 1e9),
    }
}
