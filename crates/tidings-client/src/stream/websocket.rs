use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt as _, StreamExt as _};
use http::{HeaderValue, Request, header};
use secrecy::ExposeSecret as _;
use tidings_core::Cursor;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async_with_config,
    tungstenite::{self, Message, handshake::client::generate_key, protocol::WebSocketConfig},
};

use super::{
    Selection,
    dial::{Ended, Incoming},
};
use crate::{Client, ClientError, Problem, Token};

/// The subprotocol.
const PROTOCOL: &str = "tidings.v1";

/// How long a handshake may take.
const OPEN_MAX: Duration = Duration::from_secs(20);

/// How long a server that has closed may take to end the connection.
const CLOSE_MAX: Duration = Duration::from_secs(1);

pub(super) struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

/// Opens a WebSocket that goes on after `from`.
pub(super) async fn open(
    client: &Client,
    selection: &Selection,
    from: Option<Cursor>,
    token: &Token,
) -> Result<Socket, ClientError> {
    let request = upgrade(client, selection, from, token)?;
    let url = request.uri().to_string();
    let config = WebSocketConfig::default()
        .read_buffer_size(16 << 10)
        .max_message_size(Some(16 << 20))
        .max_frame_size(Some(16 << 20));
    let unreadable = |why: String| ClientError::Unreadable { url: url.clone(), why };
    match tokio::time::timeout(OPEN_MAX, connect_async_with_config(request, Some(config), true)).await {
        Ok(Ok((socket, _))) => Ok(Socket(socket)),
        Ok(Err(tungstenite::Error::Http(answer))) => {
            let retry_after = crate::request::retry_after(answer.headers());
            let body = answer.body().as_deref().unwrap_or_default();
            Err(ClientError::Refused(Box::new(Problem::read(answer.status().as_u16(), retry_after, body))))
        }
        Ok(Err(error)) if is_cut(&error) => Err(ClientError::Disconnected { url, why: error.to_string() }),
        Ok(Err(error)) => Err(unreadable(error.to_string())),
        Err(_) => Err(ClientError::Disconnected { url, why: "the handshake took too long".into() }),
    }
}

/// The connection ended, or never began: another one may do better.
fn is_cut(error: &tungstenite::Error) -> bool {
    use tungstenite::error::ProtocolError;
    matches!(
        error,
        tungstenite::Error::Io(_)
            | tungstenite::Error::ConnectionClosed
            | tungstenite::Error::Protocol(ProtocolError::HandshakeIncomplete)
    )
}

fn upgrade(
    client: &Client,
    selection: &Selection,
    from: Option<Cursor>,
    token: &Token,
) -> Result<Request<()>, ClientError> {
    let mut url = client.url("api/v1/ws")?;
    let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
    url.set_scheme(scheme).map_err(|()| ClientError::Invalid("the URL takes no WebSocket scheme".into()))?;
    let since = from.map(|cursor| ("since".to_owned(), cursor.to_string()));
    let pairs: Vec<_> = selection.pairs().chain(since).collect();
    if !pairs.is_empty() {
        url.query_pairs_mut().extend_pairs(pairs);
    }
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => return Err(ClientError::Invalid("the URL names no host".into())),
    };
    let mut request = Request::get(url.as_str())
        .header(header::HOST, host)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, generate_key())
        .header(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(PROTOCOL))
        .body(())
        .map_err(|e| ClientError::Invalid(format!("the upgrade request cannot be made: {e}")))?;
    request.headers_mut().extend(client.headers(token)?);
    Ok(request)
}

impl Socket {
    pub(super) async fn next(&mut self) -> Result<Incoming, Ended> {
        let cut = |reason: String| Ended { code: None, reason };
        match self.0.next().await {
            Some(Ok(Message::Text(text))) => Ok(Incoming::Message(Bytes::from(text))),
            Some(Ok(Message::Close(Some(frame)))) => {
                // Reading on sends the answer to the close; the server then ends the connection.
                let rest = async { while let Some(Ok(_)) = self.0.next().await {} };
                let _ = tokio::time::timeout(CLOSE_MAX, rest).await;
                Err(Ended { code: Some(frame.code.into()), reason: frame.reason.to_string() })
            }
            Some(Ok(Message::Close(None))) => Err(cut("the server closed without a reason".into())),
            Some(Ok(_)) => Ok(Incoming::Alive),
            Some(Err(error)) => Err(cut(error.to_string())),
            None => Err(cut("the connection was cut".into())),
        }
    }

    pub(super) async fn authenticate(&mut self, token: &Token) -> bool {
        let message = serde_json::json!({ "op": "auth", "token": token.secret.expose_secret() });
        self.0.send(Message::text(message.to_string())).await.is_ok()
    }
}
