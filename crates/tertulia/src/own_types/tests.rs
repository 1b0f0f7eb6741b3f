use super::*;
use tertulia_conversation::types::{Encryption, FrameKind, Members, OWN_ON_MLS};

const MOVES: [FrameKind; 1] = [FrameKind { name: "move", number: 1, carries: "a move", is_handshake: false }];
const HANDSHAKES: [FrameKind; 1] =
    [FrameKind { name: "kick", number: 1, carries: "who goes", is_handshake: true }];
const CHESS: Descriptor = Descriptor {
    title: "ChessV1",
    id: TypeId::new(0x8001),
    summary: "two play",
    frames: &MOVES,
    ..OWN_ON_MLS
}
.complete();

#[test]
fn what_is_not_carried_is_refused_and_says_what_is_possible() {
    assert_eq!(not_carried(&CHESS), None);
    assert_eq!(not_carried(&Descriptor { carrier: Carrier::Envelopes, ..CHESS }), None);
    let encryption = |scheme, outer| Encryption { scheme, outer, ..CHESS.encryption };
    let limits = Members { max_users: 1001, ..CHESS.members };
    for (asked, part) in [
        (
            Descriptor { encryption: encryption(Scheme::DoubleRatchet, Outer::EpochKey), ..CHESS },
            "an encryption",
        ),
        (Descriptor { encryption: encryption(Scheme::Hpke, Outer::EpochKey), ..CHESS }, "an encryption"),
        (Descriptor { encryption: encryption(Scheme::Own, Outer::EpochKey), ..CHESS }, "an encryption"),
        (Descriptor { encryption: encryption(Scheme::Mls, Outer::None), ..CHESS }, "an outer encryption"),
        (Descriptor { carrier: Carrier::Hub, ..CHESS }, "a carrier"),
        (Descriptor { encoding: Encoding::PerDevice, ..CHESS }, "an encoding"),
        (Descriptor { topics: Topics::Inbox, ..CHESS }, "topics"),
        (Descriptor { ids: Ids::Random, ..CHESS }, "ids"),
        (Descriptor { hints: Hints::Salted, ..CHESS }, "hints"),
        (Descriptor { frames: &HANDSHAKES, ..CHESS }, "frames that change members or keys"),
        (Descriptor { members: limits, ..CHESS }, "limits"),
    ] {
        assert_eq!(not_carried(&asked).map(|(part, _)| part), Some(part));
    }
}
