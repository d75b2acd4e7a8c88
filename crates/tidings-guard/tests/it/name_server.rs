//! A name server that answers what a test tells it to, and counts who asks.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    sync::{Arc, Mutex},
    thread,
};

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord, TYPE,
    rdata::{A, AAAA, CNAME, RData},
};

pub(crate) enum Reply {
    /// With their TTL.
    Addresses(u32, Vec<IpAddr>),
    /// The alias, and its addresses.
    Alias(&'static str, Vec<IpAddr>),
    /// Addresses of a name that was not asked for.
    Other(&'static str, Vec<IpAddr>),
    NoName,
    Broken,
    Nothing,
    /// By UDP; by TCP, the addresses.
    Cut(Vec<IpAddr>),
    /// Says that it does not understand, to a question with extensions; to one without, the addresses.
    Plain(Vec<IpAddr>),
    /// Sends this before the answer.
    After(Vec<u8>, Vec<IpAddr>),
}

/// `(name, how often it was asked for A before)`
type Rule = dyn Fn(&str, usize) -> Reply + Send + Sync;

pub(crate) struct NameServer {
    pub(crate) addr: SocketAddr,
    asked: Arc<Mutex<Vec<(String, TYPE)>>>,
}

impl NameServer {
    pub(crate) fn start(rule: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        Self::on(sockets(), rule)
    }

    /// On this port.
    #[allow(dead_code, reason = "others include this file")]
    pub(crate) fn at(addr: SocketAddr, rule: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let sockets = (UdpSocket::bind(addr).unwrap(), TcpListener::bind(addr).unwrap());
        Self::on(sockets, rule)
    }

    fn on(
        (udp, tcp): (UdpSocket, TcpListener),
        rule: impl Fn(&str, usize) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let addr = udp.local_addr().unwrap();
        let (rule, asked): (Arc<Rule>, _) = (Arc::new(rule), Arc::<Mutex<Vec<_>>>::default());
        let (by_tcp, log) = (Arc::clone(&rule), Arc::clone(&asked));
        thread::spawn(move || serve_udp(&udp, &*rule, &log));
        thread::spawn(move || serve_tcp(&tcp, &*by_tcp));
        Self { addr, asked }
    }

    /// Questions for A records of `name`.
    pub(crate) fn asked(&self, name: &str) -> usize {
        count(&self.asked, name)
    }

    pub(crate) fn was_silent(&self) -> bool {
        self.asked.lock().unwrap().is_empty()
    }
}

/// On one port, which the other protocol may find taken.
fn sockets() -> (UdpSocket, TcpListener) {
    loop {
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
            return (udp, tcp);
        }
    }
}

fn count(asked: &Mutex<Vec<(String, TYPE)>>, name: &str) -> usize {
    asked.lock().unwrap().iter().filter(|(n, kind)| n == name && *kind == TYPE::A).count()
}

fn serve_udp(udp: &UdpSocket, rule: &Rule, asked: &Mutex<Vec<(String, TYPE)>>) {
    let mut buffer = [0; 2048];
    while let Ok((length, from)) = udp.recv_from(&mut buffer) {
        let Ok(query) = Packet::parse(&buffer[..length]) else { continue };
        let (name, kind) = question(&query);
        let before = count(asked, &name);
        asked.lock().unwrap().push((name.clone(), kind));
        let reply = rule(&name, before);
        if let Reply::After(junk, _) = &reply {
            let _ = udp.send_to(junk, from);
        }
        if let Some(bytes) = answer(&query, kind, &reply, true) {
            let _ = udp.send_to(&bytes, from);
        }
    }
}

fn serve_tcp(tcp: &TcpListener, rule: &Rule) {
    for mut stream in tcp.incoming().map_while(Result::ok) {
        let mut length = [0; 2];
        stream.read_exact(&mut length).unwrap();
        let mut bytes = vec![0; u16::from_be_bytes(length).into()];
        stream.read_exact(&mut bytes).unwrap();
        let query = Packet::parse(&bytes).unwrap();
        let (name, kind) = question(&query);
        if let Some(bytes) = answer(&query, kind, &rule(&name, 0), false) {
            stream.write_all(&(bytes.len() as u16).to_be_bytes()).unwrap();
            stream.write_all(&bytes).unwrap();
        }
    }
}

fn question(query: &Packet<'_>) -> (String, TYPE) {
    let question = &query.questions[0];
    let QTYPE::TYPE(kind) = question.qtype else { panic!("{:?}", question.qtype) };
    (question.qname.to_string(), kind)
}

fn answer(query: &Packet<'_>, kind: TYPE, reply: &Reply, udp: bool) -> Option<Vec<u8>> {
    let asked = query.questions[0].qname.clone();
    let mut packet = Packet::new_reply(query.id());
    packet.set_flags(PacketFlag::RESPONSE | PacketFlag::RECURSION_AVAILABLE);
    packet.questions.push(Question::new(asked.clone(), kind.into(), CLASS::IN.into(), false));
    match reply {
        Reply::Addresses(ttl, ips) => packet.answers.extend(records(&asked, *ttl, ips, kind)),
        Reply::Alias(alias, ips) => {
            let alias = Name::new_unchecked(alias);
            let record = ResourceRecord::new(asked, CLASS::IN, 60, RData::CNAME(CNAME(alias.clone())));
            packet.answers.push(record);
            packet.answers.extend(records(&alias, 60, ips, kind));
        }
        Reply::Other(name, ips) => packet.answers.extend(records(&Name::new_unchecked(name), 60, ips, kind)),
        Reply::NoName => *packet.rcode_mut() = RCODE::NameError,
        Reply::Broken => *packet.rcode_mut() = RCODE::ServerFailure,
        Reply::Nothing => return None,
        Reply::Cut(_) if udp => packet.set_flags(PacketFlag::TRUNCATION),
        Reply::Plain(_) if query.opt().is_some() => {
            packet.questions.clear();
            *packet.rcode_mut() = RCODE::FormatError;
        }
        Reply::Plain(ips) | Reply::Cut(ips) | Reply::After(_, ips) => {
            packet.answers.extend(records(&asked, 60, ips, kind));
        }
    }
    Some(packet.build_bytes_vec_compressed().unwrap())
}

fn records<'a>(name: &Name<'a>, ttl: u32, ips: &[IpAddr], kind: TYPE) -> Vec<ResourceRecord<'a>> {
    let data = ips.iter().filter_map(|ip| match (ip, kind) {
        (IpAddr::V4(ip), TYPE::A) => Some(RData::A(A { address: ip.to_bits() })),
        (IpAddr::V6(ip), TYPE::AAAA) => Some(RData::AAAA(AAAA { address: ip.to_bits() })),
        _ => None,
    });
    data.map(|data| ResourceRecord::new(name.clone(), CLASS::IN, ttl, data)).collect()
}
