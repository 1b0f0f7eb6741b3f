//! `relay-log DATA`: what a relay has stored and was asked, as somebody sees it who has its disk. Reads only, also while the relay runs.

use clap::Parser;
use comfy_table::{Table, presets};
use rusqlite::{Connection, OpenFlags, Row};
use std::{collections::BTreeMap, error::Error, fs, path::PathBuf};
use tertulia_conversation::{
    hint::Salt,
    topic::ContentTopic,
    wire::{EncryptedBytes, Envelope, Outcome},
};

/// Shows the topics and all envelopes in a relay's data directory.
#[derive(Parser)]
struct Arguments {
    /// The relay's data directory.
    data: PathBuf,
    /// What it has logged with `-v`: shows the requests, too.
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { data, log } = Arguments::parse();
    let relay = Connection::open_with_flags(data.join("relay.db"), OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    print("Topics, which thousands share", &relay, TOPICS, |row| {
        let cells = [row.get::<_, i64>(1)?, row.get(2)?].map(|number| number.to_string());
        Ok([vec![topic(row.get(0)?)], cells.to_vec()].concat())
    })?;
    print("Envelopes: from nobody, to nobody", &relay, ENVELOPES, |row| {
        let envelope: Vec<u8> = row.get(4)?;
        let [form, hint, salt] = form(&envelope);
        let number = |index| row.get::<_, i64>(index).map(|number| number.to_string());
        Ok(vec![topic(row.get(0)?), number(1)?, row.get(2)?, number(3)?, form, hint, salt, end(&envelope)])
    })?;
    if let Some(log) = log {
        print_requests(&fs::read_to_string(log)?);
    }
    Ok(())
}

const TOPICS: (&[&str], &str) = (
    &["topic", "envelopes", "bytes"],
    "SELECT topic, count(*), sum(size) FROM relay_envelopes GROUP BY topic ORDER BY topic",
);

const ENVELOPES: (&[&str], &str) = (
    &["topic", "position", "time (UTC)", "bytes", "form", "hint", "salt", "…its end"],
    "SELECT topic, position, strftime('%H:%M:%f', taken_at / 1000.0, 'unixepoch'), size, envelope
     FROM relay_envelopes ORDER BY taken_at, topic, position",
);

#[expect(clippy::print_stdout, reason = "printing is what this program does")]
fn print(
    title: &str,
    relay: &Connection,
    (header, query): (&[&str], &str),
    cells: impl Fn(&Row<'_>) -> rusqlite::Result<Vec<String>>,
) -> Result<(), Box<dyn Error>> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    let mut statement = relay.prepare(query)?;
    let mut rows = 0;
    for row in statement.query_map((), |row| cells(row))? {
        table.add_row(row?);
        rows += 1;
    }
    println!("\n{title} ({rows})\n{table}");
    Ok(())
}

/// The requests, by what they were and what was answered.
#[expect(clippy::print_stdout, reason = "printing is what this program does")]
fn print_requests(log: &str) {
    let mut requests: BTreeMap<[String; 2], (u32, String, String)> = BTreeMap::new();
    for line in log.lines().filter(|line| line.contains(": answered ")) {
        let value = |name: &str| {
            let (_, after) = line.split_once(&format!("{name}="))?;
            Some(after.split([' ', '}']).next()?.trim_matches('"').to_owned())
        };
        let (Some(method), Some(path), Some(status)) = (value("method"), value("path"), value("status"))
        else {
            continue;
        };
        let time = line.get(11..23).unwrap_or_default().to_owned();
        let known = requests.entry([format!("{method} {path}"), status]);
        let known = known.or_insert_with(|| (0, time.clone(), String::new()));
        (known.0, known.2) = (known.0 + 1, time);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(["request", "answer", "how often", "first (UTC)", "last"]);
    for ([request, answer], (count, first, last)) in requests {
        table.add_row([request, answer, count.to_string(), first, last]);
    }
    println!("\nRequests, each from an address on the network\n{table}");
}

fn topic(number: u16) -> String {
    ContentTopic::from_number(number).map_or_else(|| number.to_string(), |topic| topic.to_string())
}

/// What the form of an envelope tells, its hint, and its salt.
fn form(bytes: &[u8]) -> [String; 3] {
    let Outcome::Decoded(Envelope { hint, salt, body }) = Envelope::decode(bytes) else {
        return ["of a later version".to_owned(), String::new(), String::new()];
    };
    let form = match (&body, salt) {
        (EncryptedBytes::Hpke { .. }, _) => "first contact",
        (_, Salt::NONE) => "in a conversation",
        _ => "after a restore",
    };
    let salt = if salt == Salt::NONE { String::new() } else { salt.number().to_string() };
    [form.to_owned(), hint.to_string(), salt]
}

/// The last 8 bytes, which are of the ciphertext's tag.
fn end(bytes: &[u8]) -> String {
    hex::encode(&bytes[bytes.len().saturating_sub(8)..])
}
