//! A database that is not the one that it was.

use super::*;

async fn epoch_of(store: &PostgresStore, tenant: &str) -> tidings_core::Epoch {
    store.log_state(&tenant_id(tenant)).await.expect("reads").expect("exists").epoch
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_gives_every_history_a_new_name() {
    let (name, url) = named_database();
    let store = open(PostgresConfig::new(&url)).await;
    store.commit(0, &Batch { commands: vec![publish("acme", 2)] }).await.expect("committed");
    let first = epoch_of(&store, "acme").await;
    store.close();
    SERVER.psql("postgres", &format!("CREATE DATABASE \"{name}_copy\" TEMPLATE \"{name}\""));
    let again = open(PostgresConfig::new(&url)).await;
    assert_eq!(epoch_of(&again, "acme").await, first, "starting again is no restore");
    let copy = open(PostgresConfig::new(SERVER.url_at(SERVER.addr(), &format!("{name}_copy")))).await;
    let renewed = epoch_of(&copy, "acme").await;
    assert_ne!(renewed, first);
    let next = copy.commit(0, &Batch { commands: vec![publish("acme", 1)] }).await.expect("committed");
    assert_eq!(next.events[0].seq, Seq::new(3), "the log goes on");
    let reopened = open(PostgresConfig::new(SERVER.url_at(SERVER.addr(), &format!("{name}_copy")))).await;
    assert_eq!(epoch_of(&reopened, "acme").await, renewed, "once");
    assert_eq!(PostgresStore::renew_epochs(&PostgresConfig::new(&url)).await.expect("renewed"), 1);
    assert_ne!(epoch_of(&again, "acme").await, first);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_fail_over_only_what_fell_gets_a_new_name() {
    let (name, url) = named_database();
    let store = open(PostgresConfig::new(&url)).await;
    let both = || vec![publish("fell", 2), publish("kept", 2)];
    store.commit(0, &Batch { commands: both() }).await.expect("committed");
    let (fell, kept) = (epoch_of(&store, "fell").await, epoch_of(&store, "kept").await);
    // What a node knows that wrote to a server which is gone: two more events, on that server's timeline.
    let history = &store.0.history;
    history.reached(&tenant_id("fell"), fell.clone(), Seq::new(4));
    history.pretend(99);
    SERVER.psql(&name, "UPDATE tidings.meta SET timeline = 99");
    store.commit(0, &Batch { commands: both() }).await.expect("committed, once the node has compared");
    assert_ne!(epoch_of(&store, "fell").await, fell);
    assert_eq!(epoch_of(&store, "kept").await, kept);
    for tenant in ["fell", "kept"] {
        let seqs: Vec<_> = log_of(&store, tenant).await.iter().map(|event| event.seq.get()).collect();
        assert_eq!(seqs, [1, 2, 3, 4]);
    }
}
