//! Acknowledged means durable: the server is killed at random moments under load.

use std::time::Duration;

use rand::RngExt as _;
use tidings_tests::{
    ServerOptions,
    load::{Load, TenantLoad},
    seed,
    wait::pause,
};

const KILLS: usize = 20;

#[test]
fn nothing_acknowledged_is_lost_by_kill_9_at_random_moments() {
    let _alone = crate::alone();
    let mut rng = seed::rng("crash");
    let mut server = ServerOptions::new().set("jobs.lease", "2s").start();
    let tenants = ["red", "green", "blue"];
    let load = Load::new(
        tenants.map(|t| TenantLoad::new(t, vec![server.tenant(t)], 2, Duration::ZERO)).into_iter().collect(),
    );
    let readers = load.run(|load| {
        for _ in 0..KILLS {
            load.wait_acknowledged(rng.random_range(20..400));
            pause(Duration::from_millis(rng.random_range(0..300)));
            server.kill();
            server.resume();
        }
    });
    for reader in readers.iter().flatten() {
        assert!(reader.connections > KILLS / 2, "it was there through the kills: {}", reader.connections);
    }
    println!("crash: {} acknowledgements over {KILLS} kills", load.acknowledged());
}
