//! A node, PostgreSQL or Redis is killed, or stands still.

use std::time::{Duration, Instant};

use tidings_tests::{
    cluster::Cluster,
    wait::{self, pause},
};

use super::{assert_nobody_reconnected, assert_told_stale, load, repeat, soak};

#[test]
fn a_killed_node_loses_nothing_and_comes_back() {
    let _alone = crate::alone();
    let mut cluster = Cluster::start();
    load(&cluster).run(|load| {
        repeat(3, |n| {
            load.wait_acknowledged(100);
            let node = n % cluster.nodes.len();
            cluster.nodes[node].kill();
            load.wait_acknowledged(100);
            cluster.nodes[node].resume();
            load.assert_recovers(Instant::now());
        });
    });
}

#[test]
fn a_killed_postgresql_loses_nothing_acknowledged() {
    let _alone = crate::alone();
    let cluster = Cluster::start();
    load(&cluster).run(|load| kill_postgres(load, &cluster));
}

#[test]
fn behind_a_pooler_in_transaction_mode_all_is_the_same() {
    let _alone = crate::alone();
    let mut cluster = Cluster::options().pooled().start();
    load(&cluster).run(|load| {
        kill_postgres(load, &cluster);
        let pooler = cluster.pooler.as_ref().expect("it is pooled");
        pooler.kill9();
        load.wait_refused();
        pooler.restart();
        load.assert_recovers(Instant::now());
        cluster.nodes[0].kill();
        load.wait_acknowledged(50);
        cluster.nodes[0].resume();
        load.assert_recovers(Instant::now());
    });
}

fn kill_postgres(load: &tidings_tests::load::Load, cluster: &Cluster) {
    repeat(1, |_| {
        load.wait_acknowledged(100);
        cluster.postgres.kill9();
        load.wait_refused();
        cluster.postgres.restart();
        load.assert_recovers(Instant::now());
    });
}

/// What cannot be acknowledged is refused with 503 and `Retry-After`: the load asserts it of each refusal.
#[test]
fn a_postgresql_that_stands_still_makes_streams_say_that_they_are_stale() {
    let _alone = crate::alone();
    let cluster = Cluster::start();
    let still = Duration::from_secs(if soak().is_some() { 20 } else { 8 });
    let readers = load(&cluster).run(|load| {
        repeat(1, |_| {
            load.wait_acknowledged(100);
            cluster.postgres.pause();
            let from = Instant::now();
            load.wait_refused();
            pause(still.saturating_sub(from.elapsed()));
            cluster.postgres.resume();
            load.assert_recovers(Instant::now());
        });
    });
    assert_told_stale(readers.iter().flatten());
    assert_nobody_reconnected(&readers);
}

#[test]
fn without_redis_all_goes_on_and_nobody_reconnects() {
    let _alone = crate::alone();
    let cluster = Cluster::start();
    let redis = cluster.redis.as_ref().expect("it has one");
    let is_used = || !redis.cli(&["PUBSUB", "CHANNELS"]).is_empty();
    let readers = load(&cluster).run(|load| {
        repeat(2, |_| {
            wait::until_true("the nodes to use Redis", wait::LONG, is_used);
            load.wait_acknowledged(100);
            redis.kill9();
            load.wait_acknowledged(100);
            load.assert_recovers(Instant::now());
            redis.restart();
            let back = Instant::now();
            assert_eq!(redis.cli(&["DBSIZE"]).trim(), "0", "it came back empty");
            wait::until_true("the nodes to use Redis again", tidings_tests::load::RECOVERY, is_used);
            load.assert_recovers(back);
        });
    });
    assert_nobody_reconnected(&readers);
}

#[test]
fn a_redis_that_stands_still_delays_nobody_for_long() {
    let _alone = crate::alone();
    let cluster = Cluster::start();
    let redis = cluster.redis.as_ref().expect("it has one");
    let readers = load(&cluster).run(|load| {
        repeat(1, |_| {
            load.wait_acknowledged(100);
            redis.pause();
            load.wait_acknowledged(100);
            load.assert_recovers(Instant::now());
            redis.resume();
            load.assert_recovers(Instant::now());
        });
    });
    assert_nobody_reconnected(&readers);
}

#[test]
fn postgresql_alone_is_a_cluster() {
    let _alone = crate::alone();
    let cluster = Cluster::options().without_redis().start();
    let readers = load(&cluster).run(|load| {
        repeat(1, |_| {
            load.wait_acknowledged(200);
            load.assert_recovers(Instant::now());
        });
    });
    assert_nobody_reconnected(&readers);
}
