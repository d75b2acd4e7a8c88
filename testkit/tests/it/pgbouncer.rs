use std::process::Command;

use tidings_testkit::{PgBouncer, Postgres};

#[test]
fn a_pooler_passes_sessions_on_and_comes_back() {
    let postgres = Postgres::start();
    postgres.database("pooled");
    let pooler = PgBouncer::start(&postgres);
    let ask = || {
        let mut psql = Command::new("psql");
        let output =
            psql.args(["-X", "-t", "-A", "-c", "SELECT 7"]).arg(pooler.url("pooled")).output().unwrap();
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap()
    };
    assert_eq!(ask().trim(), "7");
    pooler.kill9();
    assert!(ask().contains("refused"));
    pooler.restart();
    assert_eq!(ask().trim(), "7");
}
