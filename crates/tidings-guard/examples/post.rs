//! Posts a line to a URL that a stranger gave: `cargo run --example post -- https://example.com/hook`.

use bytes::Bytes;
use http_body_util::Full;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tidings_guard::{Connector, ConnectorConfig, Policy};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).ok_or("which URL?")?;
    let connector = Connector::new(ConnectorConfig::new(Policy::default()))?;
    let target = connector.check(&url).await?;
    let client = Client::builder(TokioExecutor::new()).build(connector);
    let request =
        http::Request::post(target.url().as_str()).body(Full::new(Bytes::from_static(b"hello\n")))?;
    println!("{}", client.request(request).await?.status());
    Ok(())
}
