//! A receiver of webhooks that does with each what a test says, and keeps what came.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::wait;

/// What it does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Does {
    Take,
    /// Takes it, after so long.
    TakeAfter(Duration),
    /// Answers with this status line, and headers after it.
    Say(&'static str),
    /// Answers nothing and keeps the connection for so long.
    Hang(Duration),
    /// Ends the connection without an answer.
    Close,
}

/// A message as it came.
#[derive(Debug, Clone, Default)]
pub struct Delivered {
    pub seq: u64,
    /// `webhook-id`.
    pub id: String,
    pub event: Value,
    /// Whether it was answered with success.
    pub taken: bool,
}

#[derive(Debug, Clone)]
pub struct Partner {
    pub addr: SocketAddr,
    delivered: Arc<Mutex<Vec<Delivered>>>,
}

impl Partner {
    pub fn taking() -> Self {
        Self::doing(|_, _| Does::Take)
    }

    /// `what` is told the seq, and how often that has come before.
    pub fn doing(what: impl Fn(u64, usize) -> Does + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let addr = listener.local_addr().expect("bound");
        let (delivered, what) = (Arc::<Mutex<Vec<Delivered>>>::default(), Arc::new(what));
        let partner = Self { addr, delivered };
        let serving = partner.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (partner, what) = (serving.clone(), Arc::clone(&what));
                // A connection ends in whatever way its other side likes.
                thread::spawn(move || partner.serve(BufReader::new(stream), &*what));
            }
        });
        partner
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.addr)
    }

    /// Everything that came, in order.
    pub fn delivered(&self) -> Vec<Delivered> {
        self.delivered.lock().expect("no holder panics").clone()
    }

    /// The seqs that it took, in order.
    pub fn taken(&self) -> Vec<u64> {
        self.delivered().iter().filter(|one| one.taken).map(|one| one.seq).collect()
    }

    /// Waits until it has taken every one of these.
    #[track_caller]
    pub fn wait_taken(&self, seqs: impl IntoIterator<Item = u64>, within: Duration) {
        let wanted: BTreeSet<u64> = seqs.into_iter().collect();
        let missing = || wanted.difference(&self.taken().into_iter().collect()).copied().collect::<Vec<_>>();
        let done = wait::is_true_within(within, || missing().is_empty());
        assert!(done, "{} of {} were not delivered: {:?}", missing().len(), wanted.len(), missing());
    }

    /// Checks that no event came under two ids, and no id with two events.
    #[track_caller]
    pub fn assert_ids_are_stable(&self) {
        let mut ids: BTreeMap<u64, BTreeSet<String>> = BTreeMap::new();
        for one in self.delivered() {
            ids.entry(one.seq).or_default().insert(one.id);
        }
        assert!(ids.values().all(|ids| ids.len() == 1), "an event came under several ids: {ids:?}");
        let all: BTreeSet<_> = ids.values().flatten().collect();
        assert_eq!(all.len(), ids.len(), "two events came under one id");
    }

    /// Checks that it was never sent an event before it had taken all those before it.
    #[track_caller]
    pub fn assert_in_order(&self) {
        let mut taken = BTreeSet::new();
        let mut last = 0;
        for one in self.delivered() {
            assert!(
                one.seq > last || taken.contains(&one.seq) || one.seq == last,
                "{} came after {last}",
                one.seq
            );
            assert!(
                one.seq <= last || taken.contains(&last) || last == 0,
                "{} came before {last} was taken",
                one.seq
            );
            last = last.max(one.seq);
            if one.taken {
                taken.insert(one.seq);
            }
        }
    }

    fn serve(&self, mut reader: BufReader<TcpStream>, what: &dyn Fn(u64, usize) -> Does) -> io::Result<()> {
        loop {
            let one = read(&mut reader)?;
            let before = self.delivered().iter().filter(|other| other.seq == one.seq).count();
            let does = what(one.seq, before);
            if let Does::TakeAfter(pause) = does {
                wait::pause(pause);
            }
            let taken = matches!(does, Does::Take | Does::TakeAfter(_));
            self.delivered.lock().expect("no holder panics").push(Delivered { taken, ..one });
            let status = match does {
                Does::Take | Does::TakeAfter(_) => "204 No Content",
                Does::Say(status) => status,
                Does::Hang(pause) => {
                    wait::pause(pause);
                    return Ok(());
                }
                Does::Close => return Ok(()),
            };
            reader
                .get_mut()
                .write_all(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n").as_bytes())?;
        }
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> io::Result<Delivered> {
    let (mut length, mut one) = (0, Delivered::default());
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            if line.trim_end().is_empty() {
                break;
            }
            continue;
        };
        match &*name.to_ascii_lowercase() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "webhook-id" => value.trim().clone_into(&mut one.id),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    one.event = serde_json::from_slice(&body)?;
    one.seq = one.event["seq"].as_u64().unwrap_or(0);
    Ok(one)
}
