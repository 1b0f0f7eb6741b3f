//! `flood`: somebody floods an inbox, and its owner comes to look.
//!
//! A relay and the homes are the shipped program, each command a process of its own, over HTTP. The flood stands in the inbox's topic, and behind it an invitation by
//! somebody real. What is measured is `tertulia requests` in a home that has never synchronised: from its start until it has ended and shown the
//! invitation, and the most memory that it has used. The relay is as shipped but that posting costs no work and has no limit: the flood is
//! there already, and who made it has paid for it. Reading has its limit.
//!
//! The data is in the directory for temporary files; set `TMPDIR` to measure another disk.

mod home;
mod junk;

use clap::Parser;
use comfy_table::{Table, presets};
use home::{Home, Relay};
use junk::Junk;
use serde::Serialize;
use std::{env, error::Error, fs, path::PathBuf, thread};

/// Floods an inbox and measures how long its owner takes to see a real invitation.
#[derive(Parser)]
struct Arguments {
    /// Envelopes of the flood.
    #[arg(long, default_value_t = 100_000)]
    envelopes: usize,
    /// The program; by default `tertulia` beside this one.
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// Write the result as JSON, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// What it is to take at most, in seconds; in bytes of memory.
const TIME: f64 = 2.0;
const MEMORY: f64 = 100e6;

#[derive(Serialize)]
struct Report {
    envelopes: usize,
    cores: usize,
    floods: Vec<Flood>,
}

/// One flood, and what it has cost its owner.
#[derive(Serialize)]
struct Flood {
    junk: Option<Junk>,
    /// From the start of the program to its end.
    seconds: f64,
    peak_bytes: u64,
    /// What the relay has kept of it.
    bytes: usize,
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments = Arguments::parse();
    let program = match &arguments.program {
        Some(program) => program.clone(),
        None => env::current_exe()?.with_file_name("tertulia"),
    };
    let mut floods = Vec::new();
    for junk in [None, Some(Junk::Others), Some(Junk::Aimed)] {
        let place = tempfile::tempdir()?;
        let relay = Relay::start(&program, place.path())?;
        let owner = Home::new(&program, place.path(), "owner", relay.url())?;
        let stranger = Home::new(&program, place.path(), "stranger", relay.url())?;
        let intro = owner.run(&["intro"])?;
        let bytes = match junk {
            Some(junk) => junk::flood(relay.url(), intro.trim(), junk, arguments.envelopes).await?,
            None => 0,
        };
        stranger.run(&["meet", intro.trim()])?;
        let measured = owner.measure(&["requests"])?;
        if !measured.output.contains("@key-") {
            return Err("the invitation was not shown".into());
        }
        floods.push(Flood { junk, seconds: measured.time.as_secs_f64(), peak_bytes: measured.peak, bytes });
    }
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let report = Report { envelopes: arguments.envelopes, cores, floods };
    print(&report);
    if let Some(file) = &arguments.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)?;
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "printing is what this program does")]
fn print(report: &Report) {
    println!("{} envelopes in an inbox before an invitation; {} cores", report.envelopes, report.cores);
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(["flood", "until it is shown", "bar", "", "most memory", "bar", ""]);
    let met = |met| if met { "met" } else { "NOT MET" };
    for Flood { junk, seconds, peak_bytes, .. } in &report.floods {
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let memory = *peak_bytes as f64;
        table.add_row([
            junk.map_or("none", Junk::name),
            &format!("{seconds:.2} s"),
            &format!("≤ {TIME} s"),
            met(*seconds <= TIME),
            &format!("{:.1} MB", memory / 1e6),
            &format!("≤ {:.0} MB", MEMORY / 1e6),
            met(memory <= MEMORY),
        ]);
    }
    println!("{table}");
}
