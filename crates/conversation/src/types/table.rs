//! The published table of types.

use std::fmt::Write as _;

use super::{Descriptor, Encoding, FrameKind, Ids, Outer, Registry, Topics};

/// The types as a Markdown table, and a section for each.
pub fn markdown(types: &Registry) -> String {
    let mut out = String::from(
        "| title | number | carried by | encryption | hints | users | devices | for |\n|---|---|---|---|---|---|---|---|\n",
    );
    for descriptor in types.iter() {
        // Writing to a `String` does not fail.
        let _ = row(&mut out, descriptor);
    }
    for descriptor in types.iter() {
        let _ = section(&mut out, descriptor);
    }
    out
}

fn row(out: &mut String, of: &Descriptor) -> std::fmt::Result {
    let anchor = of.title.to_lowercase();
    writeln!(
        out,
        "| [`{}`](#{anchor}) | {} | {} | {} | {} | {} | {} | {} |",
        of.title,
        of.id,
        of.carried_by(),
        of.encryption.scheme.as_str(),
        of.hints.as_str(),
        span(of.members.min_users, of.members.max_users),
        of.members.max_devices,
        of.summary,
    )
}

fn section(out: &mut String, of: &Descriptor) -> std::fmt::Result {
    let frames: Vec<_> = of.frames.iter().map(named).collect();
    let guarantees = &of.guarantees;
    writeln!(out, "\n### {}\n\n| | |\n|---|---|", of.title)?;
    let rows: [(&str, String); 15] = [
        ("number", of.id.to_string()),
        ("for", of.summary.to_owned()),
        (
            "encryption",
            format!(
                "{}{}: {}",
                of.encryption.scheme.as_str(),
                outer(of.encryption.outer),
                of.encryption.details
            ),
        ),
        ("frames", frames.join("; ")),
        ("encoding", encoding(of.encoding).to_owned()),
        ("content topic", topics(of.topics).to_owned()),
        ("ids", ids(of.ids).to_owned()),
        ("hints", of.hints.as_str().to_owned()),
        (
            "members",
            format!(
                "{} users, at most {} devices: {}",
                span(of.members.min_users, of.members.max_users),
                of.members.max_devices,
                of.members.rules
            ),
        ),
        ("who can read", guarantees.confidentiality.to_owned()),
        ("who wrote it", guarantees.authentication.to_owned()),
        ("forward secrecy", guarantees.forward_secrecy.to_owned()),
        ("after a compromise", guarantees.post_compromise.to_owned()),
        ("unlinkability", guarantees.unlinkability.to_owned()),
        ("deniability", guarantees.deniability.to_owned()),
    ];
    for (name, value) in rows {
        writeln!(out, "| {name} | {value} |")?;
    }
    writeln!(out, "| what shows | {} |", guarantees.leaks.join("; "))
}

fn named(frame: &FrameKind) -> String {
    let number = if frame.number == 0 { String::new() } else { format!("{} ", frame.number) };
    let handshake = if frame.is_handshake { ", a handshake" } else { "" };
    format!("{number}*{}*{handshake}: {}", frame.name, frame.carries)
}

fn span(least: u32, most: u32) -> String {
    if least == most { most.to_string() } else { format!("{least}–{most}") }
}

const fn outer(outer: Outer) -> &'static str {
    match outer {
        Outer::None | Outer::Included => "",
        Outer::EpochKey => ", covered under a key of the epoch",
    }
}

const fn encoding(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Protobuf => {
            "Protocol Buffers 3 in the canonical form, inside `EncryptedFrame`, padded to a size class"
        }
        Encoding::Own => "the application's own, inside `EncryptedFrame`, padded to a size class",
        Encoding::Mls => "MLS messages as RFC 9420 writes them, in the bodies of the hub's API",
        Encoding::PerDevice => "one ciphertext for each device, in the bodies of the hub's API",
    }
}

const fn topics(topics: Topics) -> &'static str {
    match topics {
        Topics::Inbox => "`/tertulia/1/inbox-<bucket>/proto`, the bucket by the inbox address",
        Topics::Conversation => "`/tertulia/1/talk-<bucket>/proto`, the bucket by the conversation's id",
        Topics::Log => "the conversation's log at its hub",
    }
}

const fn ids(ids: Ids) -> &'static str {
    match ids {
        Ids::CreationSecret => "a hash of the type's number and a secret that only members know",
        Ids::InboxAddress => "a hash of the type's number and the inbox address",
        Ids::Random => "random",
        Ids::User => "the user's own id",
        Ids::BothUsers => "derived from both users' ids and domains",
        Ids::ParentAndName => "derived from the parent's id and a name",
    }
}
