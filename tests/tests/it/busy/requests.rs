//! Thousands of requests a second, over hundreds of connections that are kept.

use std::{
    collections::BTreeMap,
    io,
    time::{Duration, Instant},
};

use tidings_tests::{Api, history::Log, wait::LONG};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
    runtime::Builder,
    task::JoinSet,
    time::{sleep_until, timeout},
};

use super::{Books, gather, length, start};

const CONNECTIONS: usize = 500;
const STREAMS: usize = 10;
/// A second, of all connections together. A debug build of both sides on a busy machine does a tenth.
const RATE: f64 = 10_000.0;
const RATE_SHORT: f64 = 1_000.0;
/// Below this share of the rate there was no such flood: a soak says so by failing.
const OFFERED_MIN: f64 = 0.95;

/// A request of each kind, with the status that it must have. A tenth of all publish.
fn request(api: &Api, connection: usize, n: usize) -> (String, u16) {
    let own = api.headers();
    let nobody = Api::anonymous(api.addr).headers();
    let get = |path: &str, headers: &str| format!("GET {path} HTTP/1.1\r\n{headers}\r\n");
    let post = |path: &str, body: &str| {
        format!(
            "POST {path} HTTP/1.1\r\n{own}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    match n % 10 {
        0 => {
            let event = format!(r#"{{"type":"tick.made","subject":"{connection}","data":{n}}}"#);
            (post("/api/v1/events", &event), 201)
        }
        1 | 2 => (get("/health/ready", &nobody), 200),
        3 => (get("/api/v1/jobs/01920000-0000-7000-8000-000000000000", &own), 404),
        4 => (get("/api/v1/events?since=0&limit=1", &nobody), 401),
        5 => (post("/api/v1/events", "{"), 400),
        _ => (get("/api/v1/events?since=0&limit=1", &own), 200),
    }
}

/// The status of one answer, whose body is read and thrown away.
async fn answer(wire: &mut BufReader<TcpStream>) -> io::Result<u16> {
    let (mut status, mut length, mut line) = (0, 0, String::new());
    while wire.read_line(&mut line).await? > 2 {
        if let Some(code) = line.strip_prefix("HTTP/1.1 ") {
            status = code.get(..3).and_then(|code| code.parse().ok()).unwrap_or_default();
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
        line.clear();
    }
    let mut body = vec![0; length];
    wire.read_exact(&mut body).await?;
    if status == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(status) }
}

/// One connection: its requests by the clock, each answered before the next. How often each status was the answer.
async fn call(api: Api, connection: usize, start: Instant, rate: f64) -> BTreeMap<u16, usize> {
    let stream = TcpStream::connect(api.addr).await.expect("connects");
    stream.set_nodelay(true).expect("it can be set");
    let mut wire = BufReader::with_capacity(4_096, stream);
    let mut answers = BTreeMap::new();
    let length = length();
    for n in 0_usize.. {
        let due = Duration::from_secs_f64((n * CONNECTIONS + connection) as f64 / rate);
        if due >= length || start.elapsed() >= length {
            break;
        }
        sleep_until((start + due).into()).await;
        let (request, expected) = request(&api, connection, n);
        wire.write_all(request.as_bytes()).await.expect("sends");
        let status = timeout(LONG, answer(&mut wire)).await.expect("in time").expect("answers");
        assert_eq!(status, expected, "{}", request.lines().next().unwrap_or_default());
        *answers.entry(status).or_default() += 1;
    }
    answers
}

#[test]
fn requests_over_five_hundred_connections_are_all_answered_as_they_should_be() {
    let _alone = crate::alone();
    let rate = if crate::soak().is_some() { RATE } else { RATE_SHORT };
    let (server, api) = start(STREAMS);
    let books = Books::open(&server);
    let crowd = gather(&api, STREAMS);
    books.note_streams(STREAMS);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime starts");
    let start = Instant::now();
    let answers = runtime.block_on(async {
        let mut calls = JoinSet::new();
        for connection in 0..CONNECTIONS {
            calls.spawn(call(api.clone(), connection, start, rate));
        }
        calls.join_all().await
    });
    let took = start.elapsed().max(length());
    for (status, count) in answers.iter().flatten() {
        books.note(*status, *count);
    }
    let all: usize = answers.iter().flat_map(BTreeMap::values).sum();
    let published = answers.iter().filter_map(|one| one.get(&201)).sum::<usize>();
    let offered = all as f64 / took.as_secs_f64();
    println!("{all} requests at {offered:.0} of {rate:.0} a second, {published} events");
    crowd.await_event(published as u64, LONG);
    books.close(crowd, STREAMS, published, 0);
    // What each connection published is there, in its order.
    let mut numbers = vec![Vec::new(); CONNECTIONS];
    for event in Log::read(&api, "acme", "").reads() {
        let connection: usize = event.text("subject").expect("a subject").parse().expect("a number");
        numbers[connection].push(event.value["data"].as_u64().expect("a number"));
    }
    for (numbers, answers) in numbers.iter().zip(0..) {
        assert!(numbers.iter().enumerate().all(|(i, n)| *n == i as u64 * 10), "{answers}: {numbers:?}");
    }
    if crate::soak().is_some() {
        assert!(
            offered >= rate * OFFERED_MIN,
            "only {offered:.0} requests/s were offered: it proves nothing"
        );
    }
}
