//! What comes in a conversation of two: it is shown in the one that it continues.

use super::{Direct, give_up};
use crate::{
    Result,
    envelopes::{Work, private, types::Verdict},
    receipts::is_report,
    sync::may_talk,
};
use tertulia_domain::{DeviceAddress, Protocol};
use tertulia_store::EnvelopedRecord;

/// Takes what was decrypted. By the first thing of the other both are known to be in it.
pub(in crate::envelopes::mls) fn take(
    work: &mut Work<'_>,
    record: &EnvelopedRecord,
    author: &DeviceAddress,
    content: Vec<u8>,
    is_receipt: bool,
) -> Result<Verdict> {
    let Direct { mut state, mut of_two, .. } = Direct::of(record.clone())?;
    let id = record.conversation;
    let shown = record.continues.unwrap_or(id);
    let peer = of_two.peer;
    let is_of_other = author.user == peer;
    if is_of_other && !of_two.confirmed {
        of_two.confirmed = true;
        state.of_two = Some(of_two);
        state.write(work, id)?;
        // Those that count less.
        let known = work.client.directs_of(shown)?;
        for beaten in known.into_iter().skip_while(|known| known.record.conversation != id).skip(1) {
            give_up(work, beaten)?;
        }
        work.write(move |w| w.advance_protocol(shown, Protocol::Mls).map(drop))?;
        work.applied.changed.push(shown);
    }
    if is_of_other && !is_receipt {
        private::is_used_by_other(work, shown, author.user)?;
    }
    let mine = work.client.inner().store.read(|r| r.connection(peer))?;
    if is_of_other && !mine.is_some_and(|mine| may_talk(mine.status)) {
        // Of who is blocked it is read, so that the keys move on, and dropped.
        return Ok(Verdict::Genuine);
    }
    // An empty receipt says that the other has come in.
    if is_receipt && content.is_empty() {
        return Ok(Verdict::Genuine);
    }
    if is_receipt && !is_report(&content) {
        return Ok(Verdict::Unreadable("a receipt tells of no messages".to_owned()));
    }
    work.take_content(shown, author, content)?;
    Ok(Verdict::Genuine)
}
