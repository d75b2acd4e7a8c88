//! The question, and what counts as its answer.

use std::{net::IpAddr, time::Duration};

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord, SimpleDnsError, TYPE,
    header_buffer,
    rdata::{OPT, RData},
};

use crate::resolve::{Answer, ResolveError};

/// Bytes of an answer by UDP: what crosses the internet in one piece.
pub(super) const UDP_BYTES: u16 = 1232;
/// Aliases that are followed.
const ALIASES_MAX: usize = 16;
/// Addresses of one name; more is an attempt at something.
pub(super) const ADDRESSES_MAX: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    V4,
    V6,
}

impl Kind {
    const fn record(self) -> TYPE {
        match self {
            Self::V4 => TYPE::A,
            Self::V6 => TYPE::AAAA,
        }
    }
}

/// What a datagram turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reading {
    Answer(Result<Answer, ResolveError>),
    /// To be asked for again by TCP.
    Cut,
    /// The server does not know extensions: to be asked for again without.
    Plain,
    /// Not the answer to this question.
    Stray,
}

/// With room for a larger answer than the 512 bytes of old, where `extended`.
pub(super) fn question(id: u16, name: &str, kind: Kind, extended: bool) -> Result<Vec<u8>, SimpleDnsError> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    packet.questions.push(Question::new(Name::new(name)?, kind.record().into(), CLASS::IN.into(), false));
    if extended {
        *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: UDP_BYTES, version: 0 });
    }
    packet.build_bytes_vec()
}

/// Reads a stranger's bytes. Whatever does not repeat our question is not an answer to it.
pub(super) fn read(bytes: &[u8], id: u16, name: &str, kind: Kind) -> Reading {
    if header_buffer::id(bytes) != Ok(id) {
        return Reading::Stray;
    }
    // It may say no more than its head.
    if is_answer(bytes)
        && matches!(header_buffer::rcode(bytes), Ok(RCODE::FormatError | RCODE::NotImplemented))
    {
        return Reading::Plain;
    }
    if !plausible(bytes) {
        return Reading::Stray;
    }
    let Ok(packet) = Packet::parse(bytes) else { return Reading::Answer(Err(ResolveError::Failed)) };
    if !is_answer(bytes) || !repeats(&packet, name, kind) {
        return Reading::Stray;
    }
    if packet.has_flags(PacketFlag::TRUNCATION) {
        return Reading::Cut;
    }
    Reading::Answer(match packet.rcode() {
        RCODE::NoError => addresses(&packet, name, kind),
        RCODE::NameError => Err(ResolveError::NotFound),
        _ => Err(ResolveError::Failed),
    })
}

fn is_answer(bytes: &[u8]) -> bool {
    header_buffer::has_flags(bytes, PacketFlag::RESPONSE) == Ok(true)
}

/// The parser makes room for as many records as the head announces: no more than the bytes can hold.
fn plausible(bytes: &[u8]) -> bool {
    let counts = [
        header_buffer::answers(bytes),
        header_buffer::name_servers(bytes),
        header_buffer::additional_records(bytes),
    ];
    let records = counts.into_iter().map(|count| usize::from(count.unwrap_or(u16::MAX))).sum::<usize>();
    header_buffer::questions(bytes) == Ok(1) && records * 11 <= bytes.len()
}

fn repeats(packet: &Packet<'_>, name: &str, kind: Kind) -> bool {
    packet.questions.first().is_some_and(|question| {
        is(&question.qname, name)
            && question.qtype == QTYPE::TYPE(kind.record())
            && question.qclass == CLASS::IN.into()
    })
}

/// Follows the aliases from `name` on; records of other names do not count.
fn addresses(packet: &Packet<'_>, name: &str, kind: Kind) -> Result<Answer, ResolveError> {
    let (mut owner, mut ttl) = (name.to_owned(), u32::MAX);
    for _ in 0..=ALIASES_MAX {
        let records =
            || packet.answers.iter().filter(|record| record.class == CLASS::IN && is(&record.name, &owner));
        let addresses: Vec<IpAddr> = records().filter_map(|record| address(record, kind)).collect();
        if addresses.len() > ADDRESSES_MAX {
            return Err(ResolveError::Failed);
        }
        ttl = records().map(|record| record.ttl).fold(ttl, u32::min);
        if !addresses.is_empty() {
            return Ok(Answer { addresses, ttl: Duration::from_secs(ttl.into()) });
        }
        let Some(alias) = records().find_map(alias) else { return Err(ResolveError::NotFound) };
        owner = alias;
    }
    Err(ResolveError::Failed)
}

fn address(record: &ResourceRecord<'_>, kind: Kind) -> Option<IpAddr> {
    match (&record.rdata, kind) {
        (RData::A(a), Kind::V4) => Some(IpAddr::V4(a.address.into())),
        (RData::AAAA(aaaa), Kind::V6) => Some(IpAddr::V6(aaaa.address.into())),
        _ => None,
    }
}

fn alias(record: &ResourceRecord<'_>) -> Option<String> {
    match &record.rdata {
        RData::CNAME(cname) => Some(cname.0.to_string()),
        _ => None,
    }
}

fn is(name: &Name<'_>, wanted: &str) -> bool {
    name.to_string().eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::rdata::{A, CNAME};

    use super::*;

    fn reply(records: Vec<ResourceRecord<'_>>) -> Vec<u8> {
        let mut packet = Packet::new_reply(7);
        packet.set_flags(PacketFlag::RESPONSE);
        let name = Name::new_unchecked("a.example");
        packet.questions.push(Question::new(name, TYPE::A.into(), CLASS::IN.into(), false));
        packet.answers = records;
        packet.build_bytes_vec_compressed().unwrap()
    }

    fn a(name: &str, ttl: u32, address: u32) -> ResourceRecord<'_> {
        ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, ttl, RData::A(A { address }))
    }

    fn cname<'a>(name: &'a str, alias: &'a str) -> ResourceRecord<'a> {
        let alias = CNAME(Name::new_unchecked(alias));
        ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 9, RData::CNAME(alias))
    }

    fn read_a(bytes: &[u8]) -> Reading {
        read(bytes, 7, "a.example", Kind::V4)
    }

    #[test]
    fn aliases_are_followed_and_the_shortest_life_counts() {
        let bytes = reply(vec![
            a("c.example", 60, 1),
            cname("B.example", "c.example"),
            cname("a.example", "b.example"),
        ]);
        let answer = Answer { addresses: vec!["0.0.0.1".parse().unwrap()], ttl: Duration::from_secs(9) };
        assert_eq!(read_a(&bytes), Reading::Answer(Ok(answer)));
    }

    #[test]
    fn a_circle_of_aliases_ends() {
        let bytes = reply(vec![cname("a.example", "b.example"), cname("b.example", "a.example")]);
        assert_eq!(read_a(&bytes), Reading::Answer(Err(ResolveError::Failed)));
    }

    #[test]
    fn what_answers_another_question_is_stray() {
        let bytes = reply(vec![a("a.example", 60, 1)]);
        assert!(matches!(read_a(&bytes), Reading::Answer(Ok(_))));
        assert_eq!(read(&bytes, 8, "a.example", Kind::V4), Reading::Stray);
        assert_eq!(read(&bytes, 7, "b.example", Kind::V4), Reading::Stray);
        assert_eq!(read(&bytes, 7, "a.example", Kind::V6), Reading::Stray);
        let question = question(7, "a.example", Kind::V4, true).unwrap();
        assert_eq!(read_a(&question), Reading::Stray, "our own question, sent back");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(
            junk in proptest::collection::vec(any::<u8>(), 0..300),
            at in 0_usize..60,
            byte in any::<u8>(),
        ) {
            crate::dns::read_answer(&junk);
            let mut bytes = reply(vec![cname("a.example", "b.example"), a("b.example", 60, 1)]);
            bytes.splice(at.min(bytes.len()).., junk);
            crate::dns::read_answer(&bytes);
            if let Some(turned) = bytes.get_mut(at) {
                *turned ^= byte;
            }
            crate::dns::read_answer(&bytes);
        }
    }
}
