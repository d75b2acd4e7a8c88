//! Many nodes on one database.

use std::collections::HashSet;

use rand::{RngExt as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use tidings_core::{Tenants, WorkerName};

use super::*;
use crate::{
    Claim, Command, Operation, Outcome, Seen,
    conformance::{LEASE, in_tenant, tenant_id, work},
};

async fn nodes(count: usize, url: &str) -> Vec<PostgresStore> {
    let mut nodes = Vec::new();
    for _ in 0..count {
        nodes.push(open(PostgresConfig { connections: 6, lanes: 2, ..PostgresConfig::new(url) }).await);
    }
    nodes
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_of_the_same_tenants_in_any_order_never_deadlock() {
    let (name, url) = named_database();
    let mut tasks = Vec::new();
    for (seed, node) in (0..).zip(nodes(2, &url).await) {
        for lane in 0..2 {
            let node = node.clone();
            tasks.push(tokio::spawn(async move {
                let mut random = StdRng::seed_from_u64(seed * 2 + lane as u64);
                let mut tenants: Vec<usize> = (0..100).collect();
                for _ in 0..15 {
                    tenants.shuffle(&mut random);
                    let commands = tenants.iter().map(|tenant| publish(&format!("t{tenant}"), 1)).collect();
                    let committed = node.commit(lane, &Batch { commands }).await.expect("committed");
                    assert!(committed.outcomes.iter().all(Result::is_ok));
                }
            }));
        }
    }
    let stores = nodes(1, &url).await;
    for task in tasks {
        task.await.expect("ends well");
    }
    for tenant in 0..100 {
        let seqs: Vec<_> =
            log_of(&stores[0], &format!("t{tenant}")).await.iter().map(|e| e.seq.get()).collect();
        assert_eq!(seqs, (1..=60).collect::<Vec<_>>());
    }
    let log = SERVER.psql(&name, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()");
    assert_eq!(log.trim(), "0");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_node_is_told_the_one_sequence() {
    let url = SERVER.fresh_database();
    let stores = nodes(3, &url).await;
    let mut tasks = Vec::new();
    for (seed, node) in (0..).zip(&stores) {
        for lane in 0..2 {
            let node = node.clone();
            tasks.push(tokio::spawn(async move {
                let mut random = StdRng::seed_from_u64(seed * 2 + lane as u64);
                let mut told = Vec::new();
                for _ in 0..40 {
                    let commands = (0..random.random_range(1..6))
                        .map(|_| {
                            publish(
                                ["acme", "b", "c"][random.random_range(0..3_usize)],
                                random.random_range(1..4),
                            )
                        })
                        .collect();
                    let committed = node.commit(lane, &Batch { commands }).await.expect("committed");
                    told.extend(committed.events);
                }
                told
            }));
        }
    }
    let mut told = Vec::new();
    for task in tasks {
        told.extend(task.await.expect("ends well"));
    }
    for tenant in ["acme", "b", "c"] {
        let mut of_tenant: Vec<_> =
            told.iter().filter(|e| e.tenant.as_str() == tenant).map(|e| (**e).clone()).collect();
        of_tenant.sort_by_key(|event| event.seq);
        let kept = log_of(&stores[0], tenant).await;
        assert_eq!(
            kept.iter().map(|e| e.seq.get()).collect::<Vec<_>>(),
            (1..=kept.len() as u64).collect::<Vec<_>>()
        );
        assert!(kept.is_sorted_by_key(|event| event.time));
        assert_eq!(of_tenant, kept, "what was told is what is stored");
    }
}

fn claim(types: &[&str], max: usize) -> Command {
    Command::Claim(Claim {
        tenants: Tenants::All,
        worker: WorkerName::new("w").expect("valid"),
        types: types.iter().map(|t| JobType::new(*t).expect("valid")).collect(),
        max,
        length: LEASE,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_nodes_lease_one_job_nor_more_than_may_run() {
    let url = SERVER.fresh_database();
    let limit = 5;
    let mut stores = Vec::new();
    for _ in 0..3 {
        let concurrency = [(JobType::new("limited").expect("valid"), limit)].into();
        let config = PostgresConfig { connections: 6, lanes: 2, concurrency, ..PostgresConfig::new(&url) };
        stores.push(open(config).await);
    }
    for tenant in ["acme", "b"] {
        let mut jobs: Vec<_> = (0..100).map(|_| work()).collect();
        jobs.extend((0..30).map(|_| of_type("limited")));
        let enqueue = in_tenant(tenant, Operation::Enqueue { jobs, idempotency: None });
        stores[0].commit(0, &Batch { commands: vec![enqueue] }).await.expect("enqueued");
    }
    let mut tasks = Vec::new();
    for node in &stores {
        for lane in 0..2 {
            let node = node.clone();
            tasks.push(tokio::spawn(async move {
                let mut leased = Vec::new();
                let mut idle = 0;
                while idle < 3 {
                    let batch = Batch { commands: vec![claim(&["work", "limited"], 7), claim(&["work"], 3)] };
                    let before = leased.len();
                    for outcome in node.commit(lane, &batch).await.expect("committed").outcomes {
                        let Ok(Outcome::Claimed(claimed)) = outcome else { panic!("answered {outcome:?}") };
                        leased.extend(claimed.leases.into_iter().map(|lease| lease.job));
                    }
                    idle = if leased.len() == before { idle + 1 } else { 0 };
                }
                leased
            }));
        }
    }
    let mut leased = Vec::new();
    for task in tasks {
        leased.extend(task.await.expect("ends well"));
    }
    let distinct: HashSet<_> = leased.iter().map(|job| job.id).collect();
    assert_eq!(distinct.len(), leased.len(), "a job was leased twice");
    for tenant in ["acme", "b"] {
        let of = |job_type: &str| {
            leased
                .iter()
                .filter(|j| j.tenant.as_str() == tenant && j.spec.job_type.as_str() == job_type)
                .count()
        };
        assert_eq!((of("work"), of("limited")), (100, limit as usize));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_misses_no_batch_of_any_writer() {
    let url = SERVER.fresh_database();
    let stores = nodes(2, &url).await;
    let watcher = nodes(1, &url).await.remove(0);
    let cluster = watcher.cluster().expect("it is one");
    let mut seen = Seen::default();
    assert!(!cluster.moves(&mut seen).await.expect("looks").complete, "the first look finds no moves");
    let writers: Vec<_> = stores
        .iter()
        .flat_map(|node| (0..2).map(move |lane| (node.clone(), lane)))
        .enumerate()
        .map(|(n, (node, lane))| {
            tokio::spawn(async move {
                for round in 0..30 {
                    let commands = vec![publish(&format!("t{}", (n + round) % 5), 1), publish("all", 1)];
                    node.commit(lane, &Batch { commands }).await.expect("committed");
                }
            })
        })
        .collect();
    let mut heads = HashMap::new();
    loop {
        let done = writers.iter().all(tokio::task::JoinHandle::is_finished);
        let moves = cluster.moves(&mut seen).await.expect("looks");
        assert!(moves.complete);
        for (tenant, _, head) in moves.heads {
            let known = heads.entry(tenant).or_insert(head);
            *known = head.max(*known);
        }
        if done {
            break;
        }
        tokio::task::yield_now().await;
    }
    for (tenant, record) in
        watcher.tenants(None, 100).await.expect("reads").into_iter().map(|t| (t.id.clone(), t))
    {
        assert_eq!(heads.get(&tenant), Some(&record.log.head), "{tenant}");
    }
    assert_eq!(heads[&tenant_id("all")].get(), 120);
}
