//! Receivers of webhooks by the hundred, each on a port of its own, all in one thread: well, slow, failing, redirecting,
//! hanging, closing, resetting. Each keeps what came.

mod record;
mod request;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use rand::RngExt as _;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Handle},
    sync::oneshot,
};

pub use record::{Came, Record};

/// What a receiver does with a message that befalls its sickness. It takes every other one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sickness {
    /// Takes it, after so long; not if the sender hangs up before.
    Slow(Duration),
    /// Answers 500.
    Fails,
    /// Answers 307 to there.
    Redirects(SocketAddr),
    /// Answers nothing until the sender hangs up.
    Hangs,
    /// Ends the connection in the middle of an answer's head.
    Closes,
    /// Ends it by a reset.
    Resets,
}

/// Which messages a sickness befalls.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum When {
    Always,
    /// So many first attempts of each event.
    First(usize),
    Chance(f64),
}

pub type Manner = Option<(Sickness, When)>;

/// One receiver. Clones are the same.
#[derive(Debug, Clone)]
pub struct Receiver {
    pub addr: SocketAddr,
    record: Arc<Mutex<Record>>,
}

/// The thread. Dropping it ends all of them.
#[derive(Debug)]
pub struct Receivers {
    handle: Handle,
    end: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Receivers {
    pub fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
        let handle = runtime.handle().clone();
        let (end, ended) = oneshot::channel::<()>();
        let thread = thread::spawn(move || drop(runtime.block_on(ended)));
        Self { handle, end: Some(end), thread: Some(thread) }
    }

    pub fn add(&self, manner: Manner) -> Receiver {
        let (listener, receiver) = self.listen();
        let serving = receiver.clone();
        self.handle.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let receiver = serving.clone();
                // A connection ends in whatever way its other side likes.
                tokio::spawn(async move { receiver.serve(stream, manner).await });
            }
        });
        receiver
    }

    /// Where nobody should come: the connections that came.
    pub fn add_trap(&self) -> (SocketAddr, Arc<AtomicUsize>) {
        let (listener, receiver) = self.listen();
        let count = Arc::<AtomicUsize>::default();
        let counting = Arc::clone(&count);
        self.handle.spawn(async move {
            while listener.accept().await.is_ok() {
                counting.fetch_add(1, Ordering::SeqCst);
            }
        });
        (receiver.addr, count)
    }

    fn listen(&self) -> (TcpListener, Receiver) {
        let _inside = self.handle.enter();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.set_nonblocking(true).expect("a listener can be");
        let addr = listener.local_addr().expect("bound");
        let listener = TcpListener::from_std(listener).expect("a runtime is there");
        (listener, Receiver { addr, record: Arc::default() })
    }
}

impl Drop for Receivers {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Receiver {
    pub fn url(&self) -> String {
        format!("http://{}/hook", self.addr)
    }

    pub fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn serve(&self, stream: TcpStream, manner: Manner) -> io::Result<()> {
        let mut stream = BufReader::new(stream);
        loop {
            let request = request::read(&mut stream).await?;
            let (seq, before) = (request.seq, self.record().arrived(&request));
            let sick = match manner {
                Some((sickness, When::Always)) => Some(sickness),
                Some((sickness, When::First(count))) => (before < count).then_some(sickness),
                Some((sickness, When::Chance(chance))) => rand::rng().random_bool(chance).then_some(sickness),
                None => None,
            };
            match sick {
                None => {}
                Some(Sickness::Slow(pause)) => tokio::select! {
                    _ = hung_up(&mut stream) => return Ok(()),
                    () = tokio::time::sleep(pause) => {}
                },
                Some(Sickness::Fails) => {
                    say(&mut stream, "500 Internal Server Error", "").await?;
                    continue;
                }
                Some(Sickness::Redirects(to)) => {
                    let location = format!("Location: http://{to}/hook\r\n");
                    say(&mut stream, "307 Temporary Redirect", &location).await?;
                    continue;
                }
                Some(Sickness::Hangs) => return hung_up(&mut stream).await,
                Some(Sickness::Closes) => return stream.write_all(b"HTTP/1.1 200 O").await,
                Some(Sickness::Resets) => return stream.get_ref().set_zero_linger(),
            }
            // Before the sender can know: an ordered one goes on then.
            self.record().took(seq);
            say(&mut stream, "204 No Content", "").await?;
        }
    }
}

async fn say(stream: &mut BufReader<TcpStream>, status: &str, headers: &str) -> io::Result<()> {
    let length = if status.starts_with("204") { "" } else { "Content-Length: 0\r\n" };
    stream.write_all(format!("HTTP/1.1 {status}\r\n{headers}{length}\r\n").as_bytes()).await
}

async fn hung_up(stream: &mut BufReader<TcpStream>) -> io::Result<()> {
    while stream.read(&mut [0; 64]).await? > 0 {}
    Ok(())
}
