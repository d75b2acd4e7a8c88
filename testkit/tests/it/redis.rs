use tidings_testkit::{Redis, RedisCluster, valkey_is_installed};

#[test]
fn a_killed_redis_comes_back_empty() {
    let redis = Redis::start();
    assert_eq!(redis.url(), format!("redis://{}", redis.addr()));
    redis.cli(&["SET", "k", "v"]);
    assert_eq!(redis.cli(&["GET", "k"]), "v");
    redis.kill9();
    redis.restart();
    assert_eq!(redis.cli(&["GET", "k"]), "");
}

#[test]
fn an_acl_user_may_do_what_its_rules_say() {
    let redis = Redis::options().user("bus", "secret", "&tidings:* +@pubsub").start();
    assert!(redis.url().starts_with("redis://bus:secret@127.0.0.1:"));
    assert_eq!(redis.cli(&["PUBLISH", "tidings:a", "x"]), "0");
    assert!(redis.cli(&["PUBLISH", "other", "x"]).starts_with("NOPERM"));
    assert!(redis.cli(&["SET", "k", "v"]).starts_with("NOPERM"));
}

#[test]
fn tls_is_served_under_an_authority_of_its_own() {
    let redis = Redis::options().tls().start();
    assert!(redis.url().starts_with("rediss://"));
    assert!(redis.ca_file().unwrap().exists());
    assert_eq!(redis.cli(&["PING"]), "PONG");
}

#[test]
fn a_cluster_shares_the_slots_out() {
    let cluster = RedisCluster::start(3);
    assert_eq!(cluster.nodes().len(), 3);
    assert_eq!(cluster.urls().split(',').count(), 3);
    for node in cluster.nodes() {
        assert!(node.cli(&["CLUSTER", "INFO"]).contains("cluster_slots_ok:16384"));
    }
}

#[test]
fn valkey_serves_where_it_is_installed() {
    if valkey_is_installed() {
        assert_eq!(Redis::options().valkey().start().cli(&["PING"]), "PONG");
    }
}
