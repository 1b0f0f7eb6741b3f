//! `soak`: that nothing which a hub has acknowledged is lost, whatever happens to it.
//!
//! The shipped binary runs as one process or several. Light senders send as fast as they like and note what was
//! acknowledged; listeners follow on WebSockets; people with the SDK talk in a group whose members come and go. Meanwhile
//! processes are killed, the database is restarted, NATS is away, the disk is full, and answers are lost on the way. After each kind
//! of fault everybody holds still, and every log, every stream and every home is compared with what was promised.
//!
//! What is done when is random, and comes from a seed that is printed. The same seed gives the same plan; when exactly a
//! process is hit is up to the machine.

mod audit;
mod disk;
mod front;
mod hub;
mod ledger;
mod listener;
mod member;
mod nats;
mod people;
mod report;
mod senders;
mod storm;
mod world;

use clap::{Parser, ValueEnum};
use disk::SmallDisk;
use nats::Nats;
use rand::{RngExt as _, SeedableRng as _, rngs::StdRng};
use report::Report;
use std::{
    error::Error,
    fs::File,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
    time::Duration,
};
use storm::{Plan, Storage, Storm};
use tertulia_testkit::postgres;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Shows that nothing which a hub has acknowledged is lost.
#[derive(Parser)]
struct Arguments {
    /// Databases to do it with [default: both]
    #[arg(long, value_enum)]
    database: Vec<Database>,
    /// SIGKILLs of a node, with each database
    #[arg(long, default_value_t = 200)]
    kills: u32,
    /// Restarts of the PostgreSQL server
    #[arg(long, default_value_t = 20)]
    restarts: u32,
    /// Nodes on one PostgreSQL database
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    nodes: u8,
    /// Put NATS between the nodes, and do without it for so many seconds; 0: no NATS
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    nats: u64,
    /// How often the disk is full
    #[arg(long, value_name = "TIMES", default_value_t = 10)]
    full: u32,
    /// Light senders
    #[arg(long, default_value_t = 8)]
    senders: usize,
    /// What the randomness comes from [default: another one each time]
    #[arg(long)]
    seed: Option<u64>,
    /// Write the result as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write what the clients log to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// The binary `tertulia` [default: beside this one]
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Database {
    /// A file, and one node
    Sqlite,
    /// A server of our own, and several nodes
    Postgres,
}

#[tokio::main]
async fn main() -> ExitCode {
    match soak(&Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            anstream::eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Does all of it, and says whether everything was as promised.
async fn soak(arguments: &Arguments) -> Outcome<bool> {
    if let Some(log) = &arguments.log {
        let log = File::create(log)?;
        tracing_subscriber::fmt().with_env_filter("tertulia=debug").with_ansi(false).with_writer(log).init();
    }
    let seed = arguments.seed.unwrap_or_else(rand::random);
    anstream::eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut report = Report {
        seed,
        cores: thread::available_parallelism().map_or(0, usize::from),
        phases: Vec::new(),
        storms: Vec::new(),
        left_out: Vec::new(),
        broken: Vec::new(),
    };
    let wanted = |database| arguments.database.is_empty() || arguments.database.contains(&database);
    // Each has randomness of its own, so that it is the same without the others.
    let (of_sqlite, of_disk, of_postgres) = (random.random(), random.random(), random.random());
    if wanted(Database::Sqlite) {
        if arguments.kills > 0 {
            let plan = plan(arguments, "SQLite", 1, of_sqlite)?;
            weather(plan, Storage::Sqlite, &mut report, async |storm| storm.kill(arguments.kills).await)
                .await?;
        }
        if arguments.full > 0 {
            match SmallDisk::make()? {
                Some(disk) => {
                    let mut plan = plan(arguments, "SQLite on a small disk", 1, of_disk)?;
                    // What they send has to fit.
                    plan.senders = plan.senders.min(3);
                    let storage = Storage::SmallDisk(disk);
                    weather(plan, storage, &mut report, async |storm| {
                        Box::pin(storm.fill_disk(arguments.full)).await
                    })
                    .await?;
                }
                None => report.left_out.push(
                    "the full disk: this machine lets us mount nothing, and has no small /dev/shm".to_owned(),
                ),
            }
        }
    }
    if wanted(Database::Postgres) {
        let server = tokio::task::block_in_place(postgres::Server::start)?;
        let mut random = StdRng::seed_from_u64(of_postgres);
        let nats = (arguments.nats > 0).then(|| Nats::start(&mut random)).transpose()?;
        let with = if nats.is_some() { " with NATS" } else { "" };
        let name = format!("PostgreSQL, nodes: {}{with}", arguments.nodes);
        let plan = plan(arguments, &name, arguments.nodes.into(), of_postgres)?;
        weather(plan, Storage::Postgres { server, nats }, &mut report, async |storm| {
            if arguments.kills > 0 {
                storm.kill(arguments.kills).await?;
            }
            if arguments.restarts > 0 {
                storm.restart_database(arguments.restarts).await?;
            }
            if arguments.nats > 0 {
                storm.without_nats(Duration::from_secs(arguments.nats)).await?;
            }
            Ok(())
        })
        .await?;
    }
    report.print();
    if let Some(file) = &arguments.json {
        report.write(file)?;
    }
    Ok(report.broken.is_empty())
}

/// One storm, from its beginning to its end. When something is broken, the logs and the data stay.
async fn weather(
    plan: Plan,
    storage: Storage,
    report: &mut Report,
    faults: impl AsyncFnOnce(&mut Storm) -> Outcome<()>,
) -> Outcome<()> {
    let place = tempfile::Builder::new().prefix("soak").tempdir()?;
    // What these keep while they wait is kept on the heap: it is much.
    let mut storm = Box::pin(Storm::begin(plan, place.path(), storage)).await?;
    let faults = Box::pin(faults(&mut storm)).await;
    let before = report.broken.len();
    if let Err(error) = faults {
        report.broken.extend(storm.broken());
        report.broken.push(error.to_string());
    }
    let (phases, summary, broken) = Box::pin(storm.end()).await?;
    report.phases.extend(phases);
    report.storms.push(summary);
    report.broken.extend(broken);
    if report.broken.len() > before {
        let place = place.keep();
        report.broken.push(format!("the logs and the data are in {}", place.display()));
    }
    Ok(())
}

fn plan(arguments: &Arguments, name: &str, nodes: usize, seed: u64) -> Outcome<Plan> {
    let binary = match &arguments.binary {
        Some(binary) => binary.clone(),
        None => std::env::current_exe()?.parent().unwrap_or(Path::new("")).join("tertulia"),
    };
    if !binary.is_file() {
        return Err(format!("there is no {}; `cargo xtask soak` builds it", binary.display()).into());
    }
    if arguments.senders == 0 {
        return Err("there is at least one sender".into());
    }
    Ok(Plan { name: name.to_owned(), binary, nodes, senders: arguments.senders, seed })
}
