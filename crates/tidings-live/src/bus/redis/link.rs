//! One connection to the server, or to the cluster.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use redis::{
    AsyncConnectionConfig, Client, Cmd, ConnectionInfo, FromRedisValue as _, ProtocolVersion, RedisResult,
    TlsCertificates, Value,
    aio::{AsyncPushSender, MultiplexedConnection},
    cluster::ClusterClientBuilder,
    cluster_async::ClusterConnection,
    cluster_routing::{MultipleNodeRoutingInfo, RoutingInfo},
};

use super::RedisConfig;

/// How long the server may take to accept a connection, and to answer.
const CONNECT_MAX: Duration = Duration::from_secs(1);
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Commands under way to a cluster at one time.
const AT_ONCE: usize = 128;

#[derive(Clone)]
pub(super) enum Link {
    Server(MultiplexedConnection),
    /// A cluster; `sharded`: its channels live on the shard that has their slot (Redis 7).
    Cluster {
        connection: ClusterConnection,
        sharded: bool,
    },
}

impl Link {
    /// Asks the first server that answers what it is, and connects. What comes unasked goes to `pushes`.
    pub(super) async fn open(config: &RedisConfig, pushes: impl AsyncPushSender) -> RedisResult<Self> {
        let (server, kind) = Self::find(config).await?;
        if kind.cluster {
            let mut builder = ClusterClientBuilder::new(config.servers.clone())
                .use_protocol(ProtocolVersion::RESP3)
                .connection_timeout(CONNECT_MAX)
                .response_timeout(ANSWER_MAX)
                .retries(2)
                .push_sender(pushes);
            if config.uses_tls() {
                builder = builder.certs(certificates(config));
            }
            let connection = builder.build()?.get_async_connection().await?;
            return Ok(Self::Cluster { connection, sharded: kind.version >= 7 });
        }
        let options = options().set_push_sender(pushes);
        let connection =
            client(config, server)?.get_multiplexed_async_connection_with_config(&options).await?;
        Ok(Self::Server(connection))
    }

    async fn find(config: &RedisConfig) -> RedisResult<(&ConnectionInfo, Kind)> {
        let mut last = None;
        for server in &config.servers {
            match ask(config, server).await {
                Ok(kind) => return Ok((server, kind)),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("a configuration has at least one server"))
    }

    pub(super) const fn is_cluster(&self) -> bool {
        matches!(self, Self::Cluster { .. })
    }

    pub(super) async fn join(&self, channels: Vec<String>) -> RedisResult<()> {
        match self {
            _ if channels.is_empty() => Ok(()),
            Self::Server(connection) => connection.clone().subscribe(channels).await,
            Self::Cluster { connection, sharded } => {
                each(channels, |channel| {
                    let mut connection = connection.clone();
                    async move {
                        if *sharded {
                            connection.ssubscribe(channel).await
                        } else {
                            connection.subscribe(channel).await
                        }
                    }
                })
                .await
            }
        }
    }

    pub(super) async fn leave(&self, channels: Vec<String>) -> RedisResult<()> {
        match self {
            _ if channels.is_empty() => Ok(()),
            Self::Server(connection) => connection.clone().unsubscribe(channels).await,
            Self::Cluster { connection, sharded } => {
                each(channels, |channel| {
                    let mut connection = connection.clone();
                    async move {
                        if *sharded {
                            connection.sunsubscribe(channel).await
                        } else {
                            connection.unsubscribe(channel).await
                        }
                    }
                })
                .await
            }
        }
    }

    /// Publishes each payload to its channel: to a server in one write.
    pub(super) async fn publish(&self, messages: Vec<(String, Vec<u8>)>) -> RedisResult<()> {
        match self {
            Self::Server(connection) => {
                let mut pipeline = redis::pipe();
                for (channel, payload) in &messages {
                    pipeline.cmd("PUBLISH").arg(channel).arg(payload).ignore();
                }
                pipeline.query_async(&mut connection.clone()).await
            }
            Self::Cluster { connection, sharded } => {
                let name = if *sharded { "SPUBLISH" } else { "PUBLISH" };
                each(messages, |(channel, payload)| {
                    let mut connection = connection.clone();
                    async move {
                        redis::cmd(name).arg(channel).arg(payload).query_async(&mut connection).await
                    }
                })
                .await
            }
        }
    }

    /// Runs each command, and returns their answers in their order: to a server in one write.
    pub(super) async fn run(&self, commands: Vec<Cmd>) -> RedisResult<Vec<Value>> {
        match self {
            Self::Server(connection) => {
                let mut pipeline = redis::pipe();
                for command in commands {
                    pipeline.add_command(command);
                }
                pipeline.query_async(&mut connection.clone()).await
            }
            Self::Cluster { connection, .. } => {
                let one = |command: Cmd| {
                    let mut connection = connection.clone();
                    async move { command.query_async(&mut connection).await }
                };
                stream::iter(commands).map(one).buffered(AT_ONCE).try_collect().await
            }
        }
    }

    /// Whether every server still answers.
    pub(super) async fn ping(&self) -> RedisResult<()> {
        let ping = redis::cmd("PING");
        match self {
            Self::Server(connection) => ping.query_async(&mut connection.clone()).await,
            Self::Cluster { connection, .. } => {
                let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
                connection.clone().route_command(ping, masters).await.map(drop)
            }
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("cluster", &self.is_cluster()).finish_non_exhaustive()
    }
}

async fn each<T, F: Future<Output = RedisResult<()>>>(
    items: Vec<T>,
    does: impl Fn(T) -> F,
) -> RedisResult<()> {
    stream::iter(items).map(does).buffer_unordered(AT_ONCE).try_collect().await
}

/// What a server is.
#[derive(Debug, PartialEq, Eq)]
struct Kind {
    cluster: bool,
    /// The first number of its version, as Redis counts.
    version: u32,
}

async fn ask(config: &RedisConfig, server: &ConnectionInfo) -> RedisResult<Kind> {
    let mut connection =
        client(config, server)?.get_multiplexed_async_connection_with_config(&options()).await?;
    // Every user may ask this.
    let hello: Value = Cmd::new().arg("HELLO").query_async(&mut connection).await?;
    kind(hello)
}

fn kind(hello: Value) -> RedisResult<Kind> {
    let fields = std::collections::HashMap::<String, Value>::from_redis_value(hello)?;
    let text = |name: &str| {
        let value = fields.get(name).cloned().unwrap_or(Value::Nil);
        String::from_redis_value(value).unwrap_or_default()
    };
    let version = text("version").split('.').next().and_then(|n| n.parse().ok()).unwrap_or_default();
    Ok(Kind { cluster: text("mode") == "cluster", version })
}

fn options() -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(CONNECT_MAX))
        .set_response_timeout(Some(ANSWER_MAX))
}

fn client(config: &RedisConfig, server: &ConnectionInfo) -> RedisResult<Client> {
    if config.uses_tls() {
        Client::build_with_tls(server.clone(), certificates(config))
    } else {
        Client::open(server.clone())
    }
}

fn certificates(config: &RedisConfig) -> TlsCertificates {
    TlsCertificates { client_tls: None, root_cert: config.authorities.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_says_what_it_is() {
        let hello = |mode: &str, version: &str| {
            let text = |t: &str| Value::BulkString(t.into());
            let map = [("server", "redis"), ("mode", mode), ("version", version)];
            kind(Value::Map(map.map(|(k, v)| (text(k), text(v))).into())).expect("reads")
        };
        assert_eq!(hello("standalone", "7.0.15"), Kind { cluster: false, version: 7 });
        assert_eq!(hello("cluster", "6.2.6"), Kind { cluster: true, version: 6 });
        assert_eq!(hello("cluster", "10.1"), Kind { cluster: true, version: 10 });
    }
}
