use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tidings_core::{SystemClock, SystemEntropy};
use tidings_server::App;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};

use crate::site::{PATIENCE, configured, folder};

/// The router inside another application, behind a prefix, served by `axum::serve`: the generic path.
#[tokio::test]
async fn both_live_transports_work_where_the_router_is_mounted() {
    let folder = folder();
    let config = configured(&folder, &[]).config;
    let app = App::start(config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await.expect("starts");
    let key = std::fs::read_to_string(&app.admin_key().path).expect("the key's file").trim().to_owned();
    let outer = Router::new().route("/", get(async || "the host's own page")).nest("/tidings", app.router());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("binds");
    let address = listener.local_addr().expect("an address");
    let serving = tokio::spawn(async move { axum::serve(listener, outer).await });

    let mut request = format!("ws://{address}/tidings/api/v1/ws").into_client_request().expect("a request");
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {key}").parse().expect("a value"));
    headers.insert("x-tidings-tenant", "acme".parse().expect("a value"));
    let (mut ws, _) = tokio_tungstenite::connect_async(request).await.expect("upgrades");
    let opened = next(&mut ws).await;
    assert_eq!(opened["type"], "stream.open");

    let mut sse = TcpStream::connect(address).await.expect("connects");
    let head = format!("Host: x\r\nAuthorization: Bearer {key}\r\nX-Tidings-Tenant: acme\r\n");
    sse.write_all(
        format!("GET /tidings/api/v1/events HTTP/1.1\r\n{head}Accept: text/event-stream\r\n\r\n").as_bytes(),
    )
    .await
    .expect("sends");
    let mut seen = String::new();
    until(&mut sse, &mut seen, "event: stream.open").await;

    let mut publisher = TcpStream::connect(address).await.expect("connects");
    let body = r#"{"type":"note.created","data":{"n":1}}"#;
    let length = body.len();
    let request = format!(
        "POST /tidings/api/v1/events HTTP/1.1\r\n{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    publisher.write_all(request.as_bytes()).await.expect("sends");
    let event = next(&mut ws).await;
    assert_eq!(
        (&event["type"], &event["seq"], &event["data"]),
        (&json!("note.created"), &json!(1), &json!({"n": 1}))
    );
    until(&mut sse, &mut seen, "event: note.created").await;
    until(&mut sse, &mut seen, event["id"].as_str().expect("an id")).await;
    ws.send(Message::text(r#"{"op":"ping"}"#)).await.expect("sends");
    assert_eq!(next(&mut ws).await["type"], "stream.pong");

    app.stop(Duration::from_secs(5)).await;
    let closing = next(&mut ws).await;
    assert_eq!((&closing["type"], &closing["code"]), (&json!("stream.closing"), &json!(1012)));
    until(&mut sse, &mut seen, "event: stream.closing").await;
    serving.abort();
    std::fs::remove_dir_all(&folder).expect("the folder can go");
}

type Ws = tokio_tungstenite::WebSocketStream<tokio_tungstenite::MaybeTlsStream<TcpStream>>;

async fn next(ws: &mut Ws) -> Value {
    loop {
        let message =
            tokio::time::timeout(PATIENCE, ws.next()).await.expect("in time").expect("open").expect("sound");
        if let Message::Text(text) = message {
            return serde_json::from_str(&text).expect("JSON");
        }
    }
}

async fn until(tcp: &mut TcpStream, seen: &mut String, part: &str) {
    let mut buffer = [0; 4_096];
    while !seen.contains(part) {
        let read =
            tokio::time::timeout(PATIENCE, tcp.read(&mut buffer)).await.expect("in time").expect("reads");
        assert!(read > 0, "it ended with {seen}");
        seen.push_str(&String::from_utf8_lossy(&buffer[..read]));
    }
}
