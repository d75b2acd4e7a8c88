use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use tidings_client::{Client, Credential};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
};

/// One request as it came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// `GET /api/v1/ws?since=0`
    pub(crate) line: String,
    /// Lower-case names.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }
}

/// What to do with a connection.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Json(u16, String),
    /// The same with status 200, once that is told.
    Held(Arc<tokio::sync::Notify>, String),
    /// These bytes after the head of an SSE stream, then the end of the connection.
    Sse(String),
    /// An upgrade, these texts, and a close with a code (0: just cut).
    WebSocket(Vec<String>, u16),
    /// No answer at all.
    Cut,
}

type Decide = dyn Fn(&Request) -> Answer + Send + Sync;

/// A server on the loopback that answers as a function says and remembers what it was asked.
pub(crate) struct Fake {
    pub(crate) url: String,
    seen: Arc<Mutex<Vec<Request>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Fake {
    pub(crate) async fn start(decide: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (decide, log): (Arc<Decide>, _) = (Arc::new(decide), Arc::clone(&seen));
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, Arc::clone(&decide), Arc::clone(&log)));
            }
        });
        Self { url, seen, task }
    }

    /// Answers in this order; afterwards, nothing.
    pub(crate) async fn scripted(answers: impl IntoIterator<Item = Answer>) -> Self {
        let answers = Mutex::new(answers.into_iter().collect::<VecDeque<_>>());
        Self::start(move |_| answers.lock().expect("held by nobody").pop_front().unwrap_or(Answer::Cut)).await
    }

    pub(crate) fn client(&self) -> Client {
        Client::builder(&self.url).credential(Credential::fixed("secret")).build().expect("a client")
    }

    pub(crate) fn seen(&self) -> Vec<Request> {
        self.seen.lock().expect("held by nobody").clone()
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen().into_iter().map(|request| request.line).collect()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One request per connection: enough, and every answer's end is plain.
async fn serve(socket: TcpStream, decide: Arc<Decide>, log: Arc<Mutex<Vec<Request>>>) {
    let mut socket = BufReader::new(socket);
    let Some(request) = read(&mut socket).await else { return };
    let answer = decide(&request);
    let key = request.header("sec-websocket-key").unwrap_or_default().to_owned();
    log.lock().expect("held by nobody").push(request);
    let mut socket = socket.into_inner();
    // The client may be gone; then nobody minds.
    let _ = match answer {
        Answer::Json(status, body) => socket.write_all(json(status, &body).as_bytes()).await,
        Answer::Held(until, body) => {
            until.notified().await;
            socket.write_all(json(200, &body).as_bytes()).await
        }
        Answer::Sse(text) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n";
            socket.write_all((head.to_owned() + &text).as_bytes()).await
        }
        Answer::WebSocket(texts, code) => websocket(socket, &key, &texts, code).await,
        Answer::Cut => Ok(()),
    };
}

fn json(status: u16, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\nretry-after: 0\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
}

async fn websocket(mut socket: TcpStream, key: &str, texts: &[String], code: u16) -> std::io::Result<()> {
    use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: {}\r\nsec-websocket-protocol: tidings.v1\r\n\r\n",
        derive_accept_key(key.as_bytes())
    );
    socket.write_all(head.as_bytes()).await?;
    for text in texts {
        socket.write_all(&frame(0x81, text.as_bytes())).await?;
    }
    if code > 0 {
        socket.write_all(&frame(0x88, &code.to_be_bytes())).await?;
        // Until the client has answered, so that nothing of it is lost to a reset.
        let _ = tokio::time::timeout(Duration::from_secs(5), socket.read(&mut [0; 64])).await;
    }
    Ok(())
}

fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![opcode];
    match u16::try_from(payload.len()).expect("short") {
        short @ ..126 => frame.push(short as u8),
        long => {
            frame.push(126);
            frame.extend_from_slice(&long.to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

async fn read(socket: &mut BufReader<TcpStream>) -> Option<Request> {
    let mut line = String::new();
    socket.read_line(&mut line).await.ok().filter(|n| *n > 0)?;
    let line = line.trim().trim_end_matches(" HTTP/1.1").to_owned();
    let mut headers = Vec::new();
    loop {
        let mut header = String::new();
        socket.read_line(&mut header).await.ok().filter(|n| *n > 0)?;
        match header.trim().split_once(": ") {
            Some((name, value)) => headers.push((name.to_lowercase(), value.to_owned())),
            None => break,
        }
    }
    let mut request = Request { line, headers, body: String::new() };
    let length: usize = request.header("content-length").and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.ok()?;
    request.body = String::from_utf8(body).ok()?;
    Some(request)
}
