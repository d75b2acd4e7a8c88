use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use tidings_store::stand_in::{ClusterStandIn, StandIn};

use super::*;

/// Five times as fast as in life.
const QUICK: Pace = Pace {
    every: Duration::from_millis(600),
    held: Duration::from_millis(1_600),
    patience: Duration::from_secs(1),
};

/// How long the store lets a term run.
const TERM: Duration = Duration::from_secs(2);

/// How long anything may take before a test gives up.
const LONG: Duration = Duration::from_secs(20);

/// One database's leadership of one duty.
#[derive(Debug, Default)]
struct Database {
    leads: Mutex<Option<Lead>>,
    terms: AtomicU64,
    /// How often a term was renewed.
    renewals: AtomicUsize,
}

#[derive(Debug, Clone, Copy)]
struct Lead {
    node: usize,
    term: Term,
    until: Instant,
}

/// A node's way to the database.
struct Node {
    number: usize,
    database: Arc<Database>,
    cut: AtomicBool,
    /// Questions are never answered, as when packets vanish.
    silent: AtomicBool,
}

#[async_trait]
impl ClusterStandIn for Node {
    async fn lead(&self, _: Duty) -> Result<Option<Term>, ClusterError> {
        if self.silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        if self.cut.load(Ordering::SeqCst) {
            return Err(ClusterError::Unavailable("cut".into()));
        }
        let (now, mut leads) = (Instant::now(), self.database.leads.lock());
        let term = match *leads {
            Some(lead) if lead.until > now && lead.node != self.number => return Ok(None),
            Some(lead) if lead.node == self.number && lead.until > now => {
                self.database.renewals.fetch_add(1, Ordering::SeqCst);
                lead.term
            }
            _ => self.database.terms.fetch_add(1, Ordering::SeqCst) + 1,
        };
        *leads = Some(Lead { node: self.number, term, until: now + TERM });
        Ok(Some(term))
    }

    async fn resign(&self, _: Duty) -> Result<(), ClusterError> {
        self.database.leads.lock().take_if(|lead| lead.node == self.number);
        Ok(())
    }
}

/// A store that has a cluster, or none, and nothing else.
struct Only(Option<Arc<Node>>);

#[async_trait]
impl StandIn for Only {
    fn cluster(&self) -> Option<&dyn Cluster> {
        self.0.as_deref().map(|node| node as &dyn Cluster)
    }
}

/// Counts who is at work, and how many ever were at once.
#[derive(Debug, Default)]
struct Floor {
    working: [AtomicBool; 2],
    most: AtomicUsize,
    begun: AtomicUsize,
}

struct AtWork(Arc<Floor>, usize);

impl AtWork {
    fn begin(floor: &Arc<Floor>, node: usize) -> Self {
        floor.working[node].store(true, Ordering::SeqCst);
        floor.begun.fetch_add(1, Ordering::SeqCst);
        floor.most.fetch_max(floor.workers().len(), Ordering::SeqCst);
        Self(floor.clone(), node)
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.working[self.1].store(false, Ordering::SeqCst);
    }
}

impl Floor {
    fn workers(&self) -> Vec<usize> {
        (0..2).filter(|n| self.working[*n].load(Ordering::SeqCst)).collect()
    }
}

struct World {
    nodes: [Arc<Node>; 2],
    duties: [Duties; 2],
    tasks: [tokio::task::JoinHandle<()>; 2],
    floor: Arc<Floor>,
}

fn work(
    floor: &Arc<Floor>,
    node: usize,
) -> impl Fn() -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> + use<> {
    let floor = floor.clone();
    move || {
        let at_work = AtWork::begin(&floor, node);
        Box::pin(async move {
            let _at_work = at_work;
            std::future::pending::<()>().await;
        })
    }
}

impl World {
    /// Node 0 leads.
    async fn new() -> Self {
        let (database, floor) = (Arc::new(Database::default()), Arc::new(Floor::default()));
        let nodes = [0, 1].map(|number| {
            let (cut, silent) = (AtomicBool::new(false), AtomicBool::new(false));
            Arc::new(Node { number, database: database.clone(), cut, silent })
        });
        let duties = [0, 1].map(|n| {
            let store = Arc::new(Only(Some(nodes[n].clone())));
            Duties { store, metrics: Metrics::new(), pace: QUICK }
        });
        let tasks = [0, 1].map(|n| tokio::spawn(duties[n].clone().run(Duty::Rescue, work(&floor, n))));
        let world = Self { nodes, duties, tasks, floor };
        world.until("node 0 leads", || world.floor.workers() == [0]).await;
        world
    }

    async fn until(&self, what: &str, is_so: impl Fn() -> bool) {
        let deadline = Instant::now() + LONG;
        while !is_so() {
            assert!(Instant::now() < deadline, "{what} did not come true");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn renewals(&self, more: usize) {
        let renewals = &self.nodes[0].database.renewals;
        let wanted = renewals.load(Ordering::SeqCst) + more;
        self.until("the term is renewed", || renewals.load(Ordering::SeqCst) >= wanted).await;
    }

    fn leads(&self, node: usize) -> bool {
        self.duties[node].metrics.encode().contains("duty_leading{duty=\"rescue\"} 1")
    }

    fn never_two(&self) {
        assert_eq!(self.floor.most.load(Ordering::SeqCst), 1, "two nodes worked at once");
    }
}

#[tokio::test]
async fn one_node_leads_for_as_long_as_it_renews() {
    let world = World::new().await;
    world.renewals(5).await;
    assert_eq!(world.floor.workers(), [0]);
    assert!(world.leads(0) && !world.leads(1));
    assert_eq!(world.nodes[0].database.terms.load(Ordering::SeqCst), 1);
    world.never_two();
}

#[tokio::test]
async fn a_dead_leader_is_replaced() {
    let world = World::new().await;
    world.renewals(1).await;
    world.tasks[0].abort();
    world.until("the other leads", || world.floor.workers() == [1]).await;
    assert!(world.leads(1));
    world.never_two();
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_before_another_starts() {
    for silent in [false, true] {
        let world = World::new().await;
        world.renewals(1).await;
        let cut = if silent { &world.nodes[0].silent } else { &world.nodes[0].cut };
        cut.store(true, Ordering::SeqCst);
        world.until("it stopped by its own clock", || world.floor.workers().is_empty()).await;
        assert!(!world.leads(0));
        world.until("the other leads", || world.floor.workers() == [1]).await;
        cut.store(false, Ordering::SeqCst);
        world.renewals(4).await;
        assert_eq!(world.floor.workers(), [1], "who comes back does not take over");
        world.never_two();
    }
}

#[tokio::test]
async fn a_leader_that_stops_gives_its_duty_back() {
    let world = World::new().await;
    world.tasks[0].abort();
    world.until("it stopped", || world.floor.workers().is_empty()).await;
    world.duties[0].resign().await;
    assert!(world.nodes[0].database.leads.lock().is_none());
    world.until("the other leads", || world.floor.workers() == [1]).await;
    world.never_two();
}

#[tokio::test]
async fn a_term_that_was_lost_unnoticed_gets_work_of_its_own() {
    let world = World::new().await;
    world.tasks[1].abort();
    // The database lost the row, as by a restore; the node gets a new term at its next renewal.
    *world.nodes[0].database.leads.lock() = None;
    let terms = || world.nodes[0].database.terms.load(Ordering::SeqCst);
    world.until("there is a new term", || terms() == 2).await;
    world.renewals(2).await;
    assert_eq!((world.floor.workers(), world.floor.begun.load(Ordering::SeqCst)), (vec![0], 2));
    world.never_two();
}

#[tokio::test]
async fn a_store_of_its_own_leads_everything_at_once() {
    let duties = Duties::new(Arc::new(Only(None)), Metrics::new());
    let floor = Arc::new(Floor::default());
    let task = tokio::spawn(duties.clone().run(Duty::Rescue, work(&floor, 0)));
    tokio::task::yield_now().await;
    assert_eq!(floor.workers(), [0]);
    duties.resign().await;
    task.abort();
}
