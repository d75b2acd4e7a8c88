use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use memchr::memmem;
use rand::RngExt as _;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpSocket, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use crate::{
    Api, StreamRequest,
    stream::{Live, leading_seq},
    wait::LONG,
    ws,
};

/// What one client has seen.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// Every attempt to connect, the first included.
    pub attempts: Vec<Attempt>,
    /// Every end of a stream.
    pub partings: Vec<Parting>,
    pub events: u64,
    /// What should not have come.
    pub fault: Option<String>,
}

#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    pub at: Instant,
    /// The status of its answer, where there was one.
    pub status: Option<u16>,
}

/// How a stream ended.
#[derive(Debug, Clone, Default)]
pub struct Parting {
    /// `code` of `stream.closing`.
    pub code: Option<u64>,
    /// `reconnect_after_ms` of the same.
    pub hint: Option<u64>,
    /// `retry:` of the last record; SSE only.
    pub retry: Option<u64>,
    /// The close frame's code; WebSocket only.
    pub close: Option<u16>,
}

#[derive(Debug)]
pub(super) struct Client {
    nodes: Vec<Api>,
    request: StreamRequest,
    open: AtomicBool,
    head: AtomicU64,
    epoch: Mutex<Option<String>>,
    record: Mutex<Record>,
}

/// A stream that has been accepted, and how it says its bytes.
struct Connection {
    wire: BufReader<TcpStream>,
    /// Of SSE, what is no whole record yet.
    pending: Vec<u8>,
    parting: Parting,
}

type Failed = Option<Duration>;

impl Client {
    pub(super) fn new(nodes: Vec<Api>, request: StreamRequest) -> Self {
        Self {
            nodes,
            request,
            open: AtomicBool::new(false),
            head: AtomicU64::new(0),
            epoch: Mutex::default(),
            record: Mutex::default(),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.load(Ordering::Acquire)
    }

    pub(super) fn head(&self) -> u64 {
        self.head.load(Ordering::Acquire)
    }

    pub(super) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until it is dropped, or something is wrong.
    pub(super) async fn live(self: Arc<Self>, opening: Arc<Semaphore>) {
        let mut first = Some(opening.acquire().await.expect("it is never closed"));
        let (mut node, mut failures) = (0, 0);
        loop {
            let opened = timeout(LONG, self.connect(&self.nodes[node % self.nodes.len()])).await;
            drop(first.take());
            let pause = match opened.unwrap_or(Err(None)) {
                Ok(connection) => {
                    failures = 0;
                    let parting = self.read(connection).await;
                    self.open.store(false, Ordering::Release);
                    self.record().partings.push(parting.clone());
                    node += 1;
                    // Without a hint it is an end like any other.
                    parting.hint.map_or_else(|| backoff(0), Duration::from_millis)
                }
                Err(retry_after) => {
                    failures += 1;
                    backoff(failures - 1).max(retry_after.unwrap_or_default())
                }
            };
            if self.record().fault.is_some() {
                return;
            }
            sleep(pause).await;
        }
    }

    fn fail(&self, what: impl std::fmt::Display) {
        self.record().fault.get_or_insert_with(|| format!("{:?}: {what}", self.request));
    }

    /// `Err`: it was refused, perhaps with a `Retry-After`.
    async fn connect(&self, api: &Api) -> Result<Connection, Failed> {
        let at = Instant::now();
        let (status, outcome) = match self.ask(api).await {
            Ok((status @ (101 | 200), _, wire)) => {
                (Some(status), Ok(Connection { wire, pending: Vec::new(), parting: Parting::default() }))
            }
            Ok((status, retry_after, _)) => (Some(status), Err(retry_after)),
            Err(_) => (None, Err(None)),
        };
        self.record().attempts.push(Attempt { at, status });
        outcome
    }

    async fn ask(&self, api: &Api) -> io::Result<(u16, Failed, BufReader<TcpStream>)> {
        let from = self.request.from.unwrap_or(Ipv4Addr::LOCALHOST);
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((from, 0)))?;
        let stream = socket.connect(api.addr).await?;
        stream.set_nodelay(true)?;
        let mut wire = BufReader::with_capacity(4_096, stream);
        wire.write_all(self.question(api).as_bytes()).await?;
        let (mut status, mut retry_after, mut line) = (0, None, String::new());
        while wire.read_line(&mut line).await? > 2 {
            let text = line.trim_end().to_ascii_lowercase();
            if let Some(code) = text.strip_prefix("http/1.1 ") {
                status = code.get(..3).and_then(|code| code.parse().ok()).unwrap_or_default();
            } else if let Some(seconds) = text.strip_prefix("retry-after:") {
                retry_after = seconds.trim().parse().ok().map(Duration::from_secs);
            }
            line.clear();
        }
        Ok((status, retry_after, wire))
    }

    fn question(&self, api: &Api) -> String {
        let since = match &*self.epoch.lock().expect("no holder panics") {
            Some(epoch) => Some(format!("{epoch}:{}", self.head())),
            None => self.request.since.clone(),
        };
        let (query, headers) = (&self.request.query, api.headers());
        match self.request.live {
            Live::Ws => {
                let since = since.map_or_else(String::new, |since| format!("since={since}&"));
                format!(
                    "GET /api/v1/ws?{since}{query} HTTP/1.1\r\n{headers}Connection: Upgrade\r\nUpgrade: websocket\r\n\
                     Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
                )
            }
            Live::Sse => {
                let since = since.map_or_else(String::new, |since| format!("Last-Event-ID: {since}\r\n"));
                format!(
                    "GET /api/v1/events?{query} HTTP/1.1\r\n{headers}Accept: text/event-stream\r\n{since}\r\n"
                )
            }
        }
    }

    /// To its end.
    async fn read(&self, mut connection: Connection) -> Parting {
        let ended = match self.request.live {
            Live::Ws => self.read_frames(&mut connection).await,
            Live::Sse => self.read_chunks(&mut connection).await,
        };
        if let Err(error) = ended.map_err(|e| (e.kind(), e))
            && error.0 == io::ErrorKind::InvalidData
        {
            self.fail(error.1);
        }
        connection.parting
    }

    async fn read_frames(&self, connection: &mut Connection) -> io::Result<()> {
        loop {
            let wire = &mut connection.wire;
            let first = wire.read_u8().await?;
            let length = match wire.read_u8().await? {
                126 => u64::from(wire.read_u16().await?),
                127 => wire.read_u64().await?,
                short @ 0..126 => u64::from(short),
                _ => return Err(bad(&"a masked frame from the server")),
            };
            let mut payload = vec![0; usize::try_from(length).expect("64 bits")];
            wire.read_exact(&mut payload).await?;
            match (first, &*payload) {
                (0x81, _) => {
                    let text = String::from_utf8(payload).map_err(|_| bad(&"text that is not UTF-8"))?;
                    self.take(&text, &mut connection.parting)?;
                }
                (0x89, ping) => wire.write_all(&ws::masked(0x80 | ws::PONG, ping)).await?,
                (0x88, [high, low, ..]) => {
                    connection.parting.close = Some(u16::from_be_bytes([*high, *low]));
                    return wire.write_all(&ws::masked(0x80 | ws::CLOSE, &[*high, *low])).await;
                }
                _ => return Err(bad(&format!("a frame that begins with {first:#x}"))),
            }
        }
    }

    async fn read_chunks(&self, connection: &mut Connection) -> io::Result<()> {
        let mut size = String::new();
        loop {
            size.clear();
            connection.wire.read_line(&mut size).await?;
            let length =
                usize::from_str_radix(size.trim_end(), 16).map_err(|_| io::ErrorKind::UnexpectedEof)?;
            let start = connection.pending.len();
            connection.pending.resize(start + length + 2, 0);
            connection.wire.read_exact(&mut connection.pending[start..]).await?;
            connection.pending.truncate(start + length);
            if length == 0 {
                return Ok(());
            }
            let mut taken = 0;
            while let Some(end) = memmem::find(&connection.pending[taken..], b"\n\n") {
                let record = std::str::from_utf8(&connection.pending[taken..taken + end])
                    .map_err(|_| bad(&"a record that is not UTF-8"))?;
                for line in record.lines() {
                    if let Some(data) = line.strip_prefix("data: ") {
                        self.take(data, &mut connection.parting)?;
                    } else if let Some(retry) = line.strip_prefix("retry: ") {
                        connection.parting.retry = retry.parse().ok();
                    }
                }
                taken += end + 2;
            }
            connection.pending.drain(..taken);
        }
    }

    fn take(&self, text: &str, parting: &mut Parting) -> io::Result<()> {
        if let Some(seq) = leading_seq(text) {
            let head = self.head();
            if seq != head + 1 {
                return Err(bad(&format!("{seq} came after {head}")));
            }
            self.record().events += 1;
            self.head.store(seq, Ordering::Release);
            return Ok(());
        }
        let control: Value = serde_json::from_str(text)?;
        match control["type"].as_str() {
            Some("stream.open") => {
                let said = control["epoch"].as_str().map(str::to_owned);
                let mut epoch = self.epoch.lock().expect("no holder panics");
                if epoch.is_some() && *epoch != said {
                    return Err(bad(&format!("another epoch: {control}")));
                }
                *epoch = said;
                self.open.store(true, Ordering::Release);
            }
            Some("stream.heartbeat") => {}
            Some("stream.closing") => {
                parting.code = control["code"].as_u64();
                parting.hint = control["reconnect_after_ms"].as_u64();
            }
            _ => return Err(bad(&control)),
        }
        Ok(())
    }
}

/// 1, 2, 4 … 30 s with full jitter, as the protocol's page asks.
fn backoff(failures: u32) -> Duration {
    let most = 2_f64.powi(failures.min(5).cast_signed()).min(30.0);
    Duration::from_secs_f64(rand::rng().random_range(0.0..most))
}

fn bad(what: &impl ToString) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what.to_string())
}
