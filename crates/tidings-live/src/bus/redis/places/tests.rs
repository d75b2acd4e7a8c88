use std::{sync::Arc, time::Instant};

use tidings_core::SystemEntropy;
use tidings_testkit::{Redis, RedisCluster};

use super::*;
use crate::{Bus as _, RedisConfig};

const PATIENCE: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_mins(10);

async fn connect(config: &RedisConfig) -> Arc<RedisBus> {
    let bus = RedisBus::connect(config.clone(), Arc::new(SystemEntropy));
    let mut connected = bus.connected();
    let wait = connected.wait_for(|connected| *connected);
    tokio::time::timeout(PATIENCE, wait).await.expect("connects in time").expect("goes on");
    bus
}

fn places(user: Option<&str>, kept: u32, asked: u32) -> PlacesAsked {
    let user = user.map(|user| user.parse().expect("a user"));
    let holder = Holder { tenant: "acme".parse().expect("a tenant"), user };
    PlacesAsked { holder, kept, asked, limit: Some(5) }
}

async fn take(bus: &RedisBus, asked: PlacesAsked, hold: Duration) -> (u32, u32) {
    let answers = bus.places(&[asked], hold).await.expect("answers");
    let [PlacesGiven { given, elsewhere }] = answers[..] else { panic!("answered {answers:?}") };
    (given, elsewhere)
}

async fn count_over_two(config: &RedisConfig) {
    let (a, b) = (connect(config).await, connect(config).await);
    let ana = |kept, asked| places(Some("ana {x}"), kept, asked);
    assert_eq!(take(&a, ana(0, 3), LONG).await, (3, 0));
    assert_eq!(take(&b, ana(0, 4), LONG).await, (2, 3), "as many as are left");
    assert_eq!(take(&a, ana(3, 1), LONG).await, (0, 2));
    assert_eq!(take(&a, places(None, 0, 5), LONG).await, (5, 0), "the tenant as a whole");
    assert_eq!(take(&a, PlacesAsked { limit: None, ..places(None, 5, 9) }, LONG).await, (9, 0));
    assert_eq!(take(&b, ana(2, 0), LONG).await, (0, 3));
    assert_eq!(take(&b, ana(0, 0), LONG).await, (0, 3), "b has let go");
    let both = [ana(3, 2), places(Some("ben"), 0, 1)];
    let answers = a.places(&both, LONG).await.expect("answers");
    assert_eq!(answers.iter().map(|answer| answer.given).collect::<Vec<_>>(), [2, 1]);
}

#[tokio::test]
async fn places_are_counted_over_nodes() {
    let server = Redis::start();
    let config = RedisConfig::new(&server.url(), "c1").expect("an address");
    count_over_two(&config).await;
    let keys = server.cli(&["KEYS", "*"]);
    assert!(keys.lines().all(|key| key.starts_with("tidings:c1:places:{acme}")), "{keys}");
    let other = connect(&RedisConfig::new(&server.url(), "c2").expect("an address")).await;
    assert_eq!(take(&other, places(Some("ben"), 0, 1), LONG).await, (1, 0), "another cluster's are not seen");
}

#[tokio::test]
async fn places_are_counted_in_a_redis_cluster() {
    let cluster = RedisCluster::start(3);
    count_over_two(&RedisConfig::new(&cluster.urls(), "c1").expect("addresses")).await;
}

#[tokio::test]
async fn a_node_that_says_nothing_more_loses_its_places() {
    let server = Redis::start();
    let config = RedisConfig::new(&server.url(), "c1").expect("an address");
    let (a, b) = (connect(&config).await, connect(&config).await);
    let ana = |kept, asked| places(Some("ana"), kept, asked);
    assert_eq!(take(&a, ana(0, 5), Duration::from_secs(2)).await, (5, 0));
    assert_eq!(take(&b, ana(0, 1), LONG).await, (0, 5));
    let deadline = Instant::now() + PATIENCE;
    while take(&b, ana(0, 1), LONG).await != (1, 0) {
        assert!(Instant::now() < deadline, "they did not come free");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(take(&a, ana(5, 0), LONG).await, (0, 1), "it was only late: what it has counts again");
    assert_eq!(take(&b, ana(1, 1), LONG).await, (0, 5));
    let ttl: i64 = server.cli(&["PTTL", "tidings:c1:places:{acme}:ana"]).trim().parse().expect("a number");
    assert!(ttl > 0, "a holder that nobody speaks of is forgotten: {ttl}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_ask_at_once_are_never_given_more_than_the_limit() {
    let server = Redis::start();
    let config = RedisConfig::new(&server.url(), "c1").expect("an address");
    let users: Vec<String> = (0..50).map(|n| format!("user-{n}")).collect();
    let storm = |bus: Arc<RedisBus>, users: Vec<String>| async move {
        let mut has = vec![0; users.len()];
        for _ in 0..8 {
            let asked: Vec<_> = users.iter().zip(&has).map(|(u, has)| places(Some(u), *has, 1)).collect();
            let answers = bus.places(&asked, LONG).await.expect("answers");
            for (has, answer) in has.iter_mut().zip(answers) {
                *has += answer.given;
            }
        }
        has
    };
    let (one, two) = (connect(&config).await, connect(&config).await);
    let (one, two) = tokio::join!(tokio::spawn(storm(one, users.clone())), tokio::spawn(storm(two, users)));
    let (one, two) = (one.expect("ends well"), two.expect("ends well"));
    let sums: Vec<u32> = one.iter().zip(&two).map(|(a, b)| a + b).collect();
    assert_eq!(sums, vec![5; 50], "{one:?} {two:?}");
}
