//! Several nodes that believe to lead at once: a fire time has one job, and the log no gap.

use std::{sync::Arc, time::Duration};

use tidings_core::{
    Clock as _, JobId, Schedule, ScheduleId, ScheduleName, ScheduleSpec, TenantId,
    schedule::{Overlap, Timing},
};

use super::{PostgresConfig, SERVER, StoreClock, open};
use crate::{
    Batch, Command, JobQuery, Maintain, Operation, Outcome, Store,
    conformance::{ManualClock, World, in_tenant, tenant_id, work},
};

const NODES: usize = 4;
const TENANTS: [&str; 4] = ["a", "b", "c", "d"];
const SCHEDULES: usize = 6;
const MINUTES: u32 = 4;
const MINUTE: Duration = Duration::from_mins(1);

fn put(tenant: usize, n: usize) -> Command {
    let id = ScheduleId::from_bytes([(tenant * SCHEDULES + n + 1) as u8; 16]);
    let timing = Timing { cron: "* * * * *".parse().expect("valid"), zone: "UTC".parse().expect("known") };
    let name = ScheduleName::new(format!("n{n}")).expect("valid");
    let spec = Box::new(ScheduleSpec { name, timing, overlap: Overlap::Allow, job: work().spec });
    in_tenant(TENANTS[tenant], Operation::PutSchedule { id, spec, replaces: None })
}

/// Fires until there is nothing more, as a leader does.
async fn fire_all(node: Arc<dyn Store>) {
    let fire = Command::Maintain(Maintain::Fire { limit: 5 });
    for _ in 0..100 {
        let committed = node.commit(0, &Batch { commands: vec![fire.clone()] }).await.expect("commits");
        match &committed.outcomes[0] {
            Ok(Outcome::Swept(swept)) if swept.rows == 0 && !swept.more => return,
            Ok(Outcome::Swept(_)) => {}
            other => panic!("firing answered {other:?}"),
        }
    }
    panic!("it goes on firing");
}

/// Changes what is being fired: each change may lose a race and looks again.
async fn touch_all(node: Arc<dyn Store>, schedules: Vec<Schedule>) {
    for schedule in schedules {
        let spec = Box::new(schedule.spec.clone());
        let operation = Operation::PutSchedule { id: schedule.id, spec, replaces: Some(schedule.id) };
        let command = Command::Tenant { tenant: schedule.tenant, create: false, operation };
        let committed = node.commit(0, &Batch { commands: vec![command] }).await.expect("commits");
        assert!(matches!(&committed.outcomes[0], Ok(Outcome::Schedule(_))), "{:?}", committed.outcomes[0]);
    }
}

async fn schedules(node: &dyn Store, tenant: &TenantId) -> Vec<Schedule> {
    node.schedules(tenant, None, 100).await.expect("reads")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_fire_at_once_make_each_job_once() {
    let (url, clock) = (SERVER.fresh_database(), Arc::<ManualClock>::default());
    let mut nodes: Vec<Arc<dyn Store>> = Vec::new();
    for _ in 0..NODES {
        let clock = StoreClock::Injected(Arc::<ManualClock>::clone(&clock));
        let config = PostgresConfig { clock, connections: 4, ..PostgresConfig::new(url.clone()) };
        nodes.push(Arc::new(open(config).await));
    }
    for tenant in 0..TENANTS.len() {
        let commands = (0..SCHEDULES).map(|n| put(tenant, n)).collect();
        let committed = nodes[0].commit(0, &Batch { commands }).await.expect("commits");
        assert!(committed.outcomes.iter().all(Result::is_ok), "{:?}", committed.outcomes);
    }
    let start = clock.now();
    for _ in 0..MINUTES {
        clock.advance(MINUTE);
        let mut all = Vec::new();
        for tenant in TENANTS {
            all.extend(schedules(&*nodes[0], &tenant_id(tenant)).await);
        }
        let mut tasks: Vec<_> =
            nodes[1..].iter().map(|node| tokio::spawn(fire_all(Arc::clone(node)))).collect();
        tasks.push(tokio::spawn(touch_all(Arc::clone(&nodes[0]), all)));
        for task in tasks {
            task.await.expect("ends");
        }
    }
    let world = World { store: Arc::clone(&nodes[0]), clock: Arc::clone(&clock) };
    for tenant in TENANTS {
        let id = tenant_id(tenant);
        let mut expected: Vec<JobId> = Vec::new();
        for schedule in schedules(&*nodes[0], &id).await {
            assert_eq!(schedule.last_fire.map(|(at, _)| at), Some(start + MINUTE * MINUTES));
            expected.extend((1..=MINUTES).map(|n| JobId::of_fire(schedule.id, start + MINUTE * n)));
        }
        let query = JobQuery { limit: 1_000, ..JobQuery::default() };
        let mut made: Vec<_> =
            world.store.jobs(&id, &query).await.expect("reads").jobs.iter().map(|j| j.id).collect();
        expected.sort_unstable();
        made.sort_unstable();
        assert_eq!(made, expected);
        let log = world.log(tenant).await;
        assert!(log.iter().zip(1..).all(|(event, seq)| event.seq.get() == seq), "no gap");
        assert_eq!(log.len(), expected.len(), "one event for each job");
    }
}
