//! Tidings inside another axum application, below `/tidings`, beside the application's own routes.
//!
//! Run it with `cargo run -p tidings-server --example mount`, then:
//!
//! ```sh
//! curl http://127.0.0.1:8080/
//! curl -N -H "Authorization: Bearer $(cat /tmp/tidings-mount/admin.key)" -H "X-Tidings-Tenant: acme" \
//!      -H "Accept: text/event-stream" http://127.0.0.1:8080/tidings/api/v1/events
//! ```

use std::{error::Error, path::PathBuf, sync::Arc, time::Duration};

use axum::{Router, routing::get};
use tidings_core::{SystemClock, SystemEntropy};
use tidings_server::{App, config::Config};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut config = Config::default();
    config.server.data = PathBuf::from("/tmp/tidings-mount");
    let tidings = App::start(config, Arc::new(SystemClock), Arc::new(SystemEntropy)).await?;
    println!("The administrator's key is in {}.", tidings.admin_key().path.display());

    let app = Router::new()
        .route("/", get(async || "The host application's own page.\n"))
        .nest("/tidings", tidings.router());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8080").await?;
    let stopping = tidings.clone();
    axum::serve(listener, app)
        .with_graceful_shutdown(async move {
            let _ = tokio::signal::ctrl_c().await;
            // Streams end first, else the graceful shutdown would wait for them.
            stopping.stop(Duration::from_secs(10)).await;
        })
        .await?;
    Ok(())
}
