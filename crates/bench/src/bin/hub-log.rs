//! `hub-log DATA`: what a hub has stored, as somebody sees it who has its disk. Reads only, also while the hub runs.

use clap::Parser;
use comfy_table::{Table, presets};
use rusqlite::{Connection, OpenFlags, Row, types::Value};
use std::{error::Error, fmt::Write as _, path::PathBuf};

/// Shows the accounts, the conversations and the whole log in a hub's data directory.
#[derive(Parser)]
struct Arguments {
    /// The hub's data directory.
    data: PathBuf,
}

fn main() -> Result<(), Box<dyn Error>> {
    let database = Arguments::parse().data.join("hub.db");
    let hub = Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    print("Accounts and devices", &hub, ACCOUNTS, |row| {
        Ok(vec![
            row.get(0)?,
            id(&row.get::<_, Vec<u8>>(1)?),
            row.get::<_, Value>(2).map(|value| text(&value))?,
        ])
    })?;
    print("Conversations: no names, which are encrypted", &hub, CONVERSATIONS, |row| {
        Ok(vec![id(&row.get::<_, Vec<u8>>(0)?), row.get(1)?, row.get::<_, i64>(2)?.to_string(), row.get(3)?])
    })?;
    print("The log, with the last bytes of each entry", &hub, LOG, |row| {
        let body: Option<Vec<u8>> = row.get(6)?;
        Ok(vec![
            row.get::<_, i64>(0)?.to_string(),
            id(&row.get::<_, Vec<u8>>(1)?),
            row.get(2)?,
            row.get::<_, Value>(3).map(|value| text(&value))?,
            row.get::<_, Option<String>>(4)?.unwrap_or_else(|| "the hub".to_owned()),
            row.get(5)?,
            body.as_ref().map(|body| body.len().to_string()).unwrap_or_default(),
            body.as_deref().map(end).unwrap_or_default(),
        ])
    })
}

const ACCOUNTS: (&[&str], &str) = (
    &["handle", "user", "devices"],
    "SELECT handle, id, (SELECT count(*) FROM devices WHERE user_id = users.id) FROM users ORDER BY created_at",
);

const CONVERSATIONS: (&[&str], &str) = (
    &["conversation", "type", "epoch", "members now"],
    "SELECT id, type, epoch, coalesce((SELECT group_concat(handle, ', ') FROM members JOIN users ON users.id = members.user_id
         WHERE members.conversation = conversations.id AND left_position IS NULL), '')
     FROM conversations ORDER BY created_at",
);

const LOG: (&[&str], &str) = (
    &["position", "conversation", "kind", "epoch", "from", "time (UTC)", "bytes", "…their end"],
    "SELECT position, conversation, log.kind, epoch, handle, strftime('%H:%M:%S', sent_at / 1000, 'unixepoch'), body
     FROM log LEFT JOIN users ON users.id = log.sender_user ORDER BY position",
);

#[expect(clippy::print_stdout, reason = "printing is what this program does")]
fn print(
    title: &str,
    hub: &Connection,
    (header, query): (&[&str], &str),
    cells: impl Fn(&Row<'_>) -> rusqlite::Result<Vec<String>>,
) -> Result<(), Box<dyn Error>> {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.iter().copied());
    for row in hub.prepare(query)?.query_map((), |row| cells(row))? {
        table.add_row(row?);
    }
    println!("\n{title}\n{table}");
    Ok(())
}

/// The first digits of an id.
fn id(bytes: &[u8]) -> String {
    hex::encode(&bytes[..bytes.len().min(4)])
}

/// A number, or nothing.
fn text(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Text(text) => text.clone(),
        _ => String::new(),
    }
}

/// The last 24 bytes. The first ones of an MLS message are its header, the rest is ciphertext and signature.
fn end(bytes: &[u8]) -> String {
    let from = bytes.len().saturating_sub(24);
    bytes[from..].chunks(4).fold(String::new(), |mut text, chunk| {
        let _ = write!(text, "{} ", hex::encode(chunk));
        text
    })
}
