//! The process that dies: this test binary, started for one of its own tests.

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use serde::{Deserialize, Serialize};
use tertulia_mls::{ConversationId, EngineError};
use tertulia_store::StoreError;

use crate::{
    application::{Action, Application},
    network,
};

const ORDER: &str = "TERTULIA_CRASHES_ORDER";

/// What is to happen in the process.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Fault {
    /// Nothing; it says how often it came to which point.
    Count,
    /// It is killed when it comes to a point for the `n`th time, whichever points they are, counted from 0. Of the reads
    /// only the first counts: they change nothing.
    Kill(usize),
    /// It is killed when it comes to this point.
    KillAt(String),
    /// The operation at this point fails once, when it comes there for the `n`th time, counted from 0.
    Fail(String, usize),
}

/// What a process did.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// It was killed at this point.
    Killed(String),
    /// The fault hit it, and it went on.
    Failed,
    /// It came to its end; how often it came to which point, if that was counted.
    Completed(BTreeMap<String, usize>),
}

#[derive(Serialize, Deserialize)]
struct Order {
    home: PathBuf,
    address: SocketAddr,
    id: Vec<u8>,
    action: Action,
    fault: Fault,
}

#[derive(Serialize, Deserialize)]
enum Report {
    AtPoint(String),
    Failed,
    Completed(BTreeMap<String, usize>),
}

/// Every point that there is.
pub(crate) fn all_points() -> impl Iterator<Item = &'static str> {
    let engine = tertulia_mls::fail_points::ALL.iter().chain(tertulia_store::fail_points::ALL);
    engine.chain(&network::POINTS).copied()
}

/// Lets another process do something on the device's store, and waits for its end.
pub(crate) fn run(
    home: PathBuf,
    address: SocketAddr,
    id: &ConversationId,
    action: Action,
    fault: Fault,
) -> End {
    let order = Order { home, address, id: id.as_bytes().to_vec(), action, fault };
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["--exact", "process::acts_on_the_device_until_it_is_killed", "--nocapture"]);
    command.env(ORDER, serde_json::to_string(&order).unwrap());
    let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let reports = BufReader::new(process.stdout.take().unwrap()).lines();
    let mut end = None;
    for line in reports {
        let line = line.unwrap();
        let Some(report) = line.strip_prefix('#') else { continue };
        match serde_json::from_str(report).unwrap() {
            Report::AtPoint(point) => {
                // It stands still at the point. On Unix this is SIGKILL: nothing of it runs any more.
                process.kill().unwrap();
                end = Some(End::Killed(point));
            }
            Report::Failed => end = Some(End::Failed),
            Report::Completed(points) => end = Some(End::Completed(points)),
        }
    }
    let status = process.wait().unwrap();
    let end = end.unwrap_or_else(|| panic!("the process died by itself: {status}"));
    assert_eq!(status.success(), !matches!(end, End::Killed(_)), "{end:?} and yet {status}");
    end
}

/// Not a scenario: what the other process does.
#[tokio::test]
async fn acts_on_the_device_until_it_is_killed() {
    let Ok(order) = env::var(ORDER) else { return };
    let Order { home, address, id, action, fault } = serde_json::from_str(&order).unwrap();
    let application = Application::open(&home, address, &ConversationId::from(id)).await;
    let points = prepare(&fault);
    let mut result = application.perform(&action).await;
    let failed = result.is_err();
    if let (Err(error), Fault::Fail(..)) = (&result, &fault) {
        let is_typed = matches!(error, EngineError::Store(StoreError::DiskFull | StoreError::Busy));
        assert!(is_typed, "{error:?} does not say what happened");
        // The same session goes on, as if nothing had been.
        application.assert_memory_is_disk();
        result = application.recover().await;
    }
    result.unwrap();
    let counted = points.lock().unwrap().clone();
    report(&if failed { Report::Failed } else { Report::Completed(counted) });
}

fn report(report: &Report) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n#{}", serde_json::to_string(report).unwrap()).unwrap();
    out.flush().unwrap();
}

/// Says where it is, and waits to be killed there.
fn stand_still_at(point: &str) {
    report(&Report::AtPoint(point.to_owned()));
    loop {
        std::thread::park();
    }
}

/// Sets the points for the fault. What is returned fills with the points that are come to.
fn prepare(fault: &Fault) -> Arc<Mutex<BTreeMap<String, usize>>> {
    let counted = Arc::new(Mutex::new(BTreeMap::new()));
    match fault {
        Fault::Count => {
            for point in all_points() {
                let counted = counted.clone();
                let count = move || *counted.lock().unwrap().entry(point.to_owned()).or_default() += 1;
                fail::cfg_callback(point, count).unwrap();
            }
        }
        Fault::KillAt(point) => {
            let name = point.clone();
            fail::cfg_callback(point, move || stand_still_at(&name)).unwrap();
        }
        Fault::Kill(n) => {
            let (n, passed) = (*n, Arc::new(AtomicUsize::new(0)));
            for point in all_points() {
                let (passed, first) = (passed.clone(), AtomicBool::new(true));
                let kill = move || {
                    let is_first = first.swap(false, Ordering::Relaxed);
                    let counts = is_first || point != tertulia_store::fail_points::READ;
                    if counts && passed.fetch_add(1, Ordering::Relaxed) == n {
                        stand_still_at(point);
                    }
                };
                fail::cfg_callback(point, kill).unwrap();
            }
        }
        Fault::Fail(point, n) => fail::cfg(point, &format!("{n}*off->1*return->off")).unwrap(),
    }
    counted
}
