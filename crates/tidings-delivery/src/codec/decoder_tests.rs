use super::*;
use crate::CloseCode;
use proptest::prelude::*;

fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        n @ 0..=125 => out.push(0x80 | n as u8),
        n @ 126..=0xFFFF => {
            out.push(0xFE);
            out.extend_from_slice(&(n as u16).to_be_bytes());
        }
        n => {
            out.push(0xFF);
            out.extend_from_slice(&(n as u64).to_be_bytes());
        }
    }
    let mask = [0x11, 0xA2, 0x33, 0xF4];
    out.extend_from_slice(&mask);
    out.extend(payload.iter().enumerate().map(|(i, b)| b ^ mask[i % 4]));
    out
}

/// Everything that comes of `input`, fed in pieces that end at `cuts`.
fn decode(input: &[u8], cuts: &[usize]) -> (Vec<Message>, Option<Violation>) {
    let mut decoder = Decoder::new(1_000);
    let mut messages = Vec::new();
    let mut ends: Vec<usize> = cuts.iter().map(|c| c % (input.len() + 1)).chain([input.len()]).collect();
    ends.sort_unstable();
    let mut at = 0;
    for end in ends {
        let mut piece = &input[at..end];
        at = end;
        loop {
            match decoder.next(&mut piece) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => break,
                Err(violation) => return (messages, Some(violation)),
            }
        }
        assert!(piece.is_empty(), "what needs more input has taken all there was");
    }
    (messages, None)
}

fn refused(input: &[u8]) -> Violation {
    decode(input, &[]).1.expect("refused")
}

#[test]
fn each_violation_has_its_code() {
    let text = |payload: &[u8]| masked(0x81, payload);
    let cases: [(&str, Vec<u8>, Violation, CloseCode); 17] = [
        ("unmasked", vec![0x81, 0x01, b'a'], Violation::Unmasked, CloseCode::Protocol),
        ("rsv1", masked(0xC1, b""), Violation::ReservedBits, CloseCode::Protocol),
        ("rsv3 on a control frame", masked(0x99, b""), Violation::ReservedBits, CloseCode::Protocol),
        ("opcode 3", masked(0x83, b""), Violation::ReservedOpcode, CloseCode::Protocol),
        ("opcode 11", masked(0x8B, b""), Violation::ReservedOpcode, CloseCode::Protocol),
        ("fragmented ping", masked(0x09, b""), Violation::ControlFrame, CloseCode::Protocol),
        ("long ping", masked(0x89, &[0; 126]), Violation::ControlFrame, CloseCode::Protocol),
        ("continuation of nothing", masked(0x80, b""), Violation::NothingToContinue, CloseCode::Protocol),
        (
            "two messages at once",
            [masked(0x01, b"a"), text(b"b")].concat(),
            Violation::Interleaved,
            CloseCode::Protocol,
        ),
        ("padded length", vec![0x81, 0xFE, 0, 5, 0, 0, 0, 0], Violation::Length, CloseCode::Protocol),
        (
            "length of 2^63",
            [&[0x82, 0xFF, 0x80][..], &[0; 11]].concat(),
            Violation::Length,
            CloseCode::Protocol,
        ),
        (
            "too big by header",
            [&[0x82, 0xFE, 3, 233][..], &[0; 4]].concat(),
            Violation::TooBig,
            CloseCode::TooBig,
        ),
        (
            "too big by fragments",
            [masked(0x02, &[0; 600]), masked(0x80, &[0; 401])].concat(),
            Violation::TooBig,
            CloseCode::TooBig,
        ),
        ("no utf-8", text(&[0xC0, 0xAF]), Violation::Utf8, CloseCode::InvalidData),
        ("half a letter", text(&[0xE2, 0x82]), Violation::Utf8, CloseCode::InvalidData),
        ("close code 1005", masked(0x88, &1005_u16.to_be_bytes()), Violation::CloseCode, CloseCode::Protocol),
        ("half a close code", masked(0x88, &[3]), Violation::CloseCode, CloseCode::Protocol),
    ];
    for (name, input, violation, code) in cases {
        assert_eq!(refused(&input), violation, "{name}");
        assert_eq!(violation.code(), code, "{name}");
    }
}

#[test]
fn close_codes_are_those_that_may_be_sent() {
    for code in 0..=u16::MAX {
        let (messages, violation) = decode(&masked(0x88, &code.to_be_bytes()), &[]);
        let may = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        assert_eq!(violation.is_none(), may, "{code}");
        assert_eq!(messages.len(), usize::from(may));
    }
    assert_eq!(refused(&masked(0x88, &[0x03, 0xE8, 0xFF])), Violation::Utf8);
}

#[test]
fn text_is_judged_before_its_message_is_whole() {
    assert_eq!(refused(&masked(0x01, &[b'a', 0xFF])), Violation::Utf8, "the first fragment decides");
}

#[test]
fn a_letter_may_be_split_between_fragments_with_a_ping_between() {
    let euro = "€".as_bytes();
    let input = [masked(0x01, &euro[..1]), masked(0x89, b"hi"), masked(0x80, &euro[1..])].concat();
    assert_eq!(decode(&input, &[]), (vec![Message::Ping(b"hi".to_vec()), Message::Text("€".into())], None));
}

#[test]
fn empty_fragments_are_bounded() {
    let mut input = masked(0x01, b"");
    for _ in 0..FRAGMENTS_MAX {
        input.extend(masked(0x00, b""));
    }
    assert_eq!(refused(&input), Violation::TooManyFragments);
}

#[test]
fn nothing_is_held_between_messages_nor_for_what_has_not_come() {
    let mut decoder = Decoder::new(1 << 20);
    let whole = masked(0x81, &[b'a'; 300]);
    assert!(decoder.next(&mut &whole[..]).expect("valid").is_some());
    assert!(decoder.message.is_none() && decoder.control.capacity() == 0);
    let promise = [0x82, 0xFF, 0, 0, 0, 0, 0, 0x0F, 0, 0, 1, 2, 3, 4, 9];
    assert!(decoder.next(&mut &promise[..]).expect("valid").is_none());
    assert!(decoder.message.expect("begun").bytes.capacity() < 100);
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let first = prop_oneof![
        6 => prop::sample::select(vec![0x81_u8, 0x82, 0x01, 0x02, 0x00, 0x80, 0x88, 0x89, 0x8A]),
        1 => any::<u8>()
    ];
    let payload = prop_oneof![
        3 => "[a-zé€🦀]{0,60}".prop_map(String::into_bytes),
        1 => prop::collection::vec(any::<u8>(), 0..300)
    ];
    (first, payload).prop_map(|(first, payload)| masked(first, &payload))
}

proptest! {
    #[test]
    fn any_split_of_the_bytes_gives_the_same(
        frames in prop::collection::vec(any_frame(), 0..12),
        cuts in prop::collection::vec(any::<usize>(), 0..40),
    ) {
        let input = frames.concat();
        prop_assert_eq!(decode(&input, &cuts), decode(&input, &[]));
    }

    #[test]
    fn any_bytes_are_read_or_refused(input in prop::collection::vec(any::<u8>(), 0..400), cuts in prop::collection::vec(any::<usize>(), 0..10)) {
        decode(&input, &cuts);
    }
}
