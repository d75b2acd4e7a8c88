use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering::SeqCst},
    time::Duration,
};

use async_trait::async_trait;
use tidings_store::{PlacesAsked, PlacesGiven};
use tokio::{
    task::{JoinHandle, JoinSet},
    time::sleep,
};

use super::{together::Silence, *};
use crate::config::{Config, Off};

/// What all nodes count in, in memory.
#[derive(Default)]
struct Counted {
    taken: Mutex<HashMap<(usize, Holder), u32>>,
    silent: AtomicBool,
    questions: AtomicUsize,
}

impl Counted {
    fn of(&self, node: usize) -> u32 {
        self.taken.lock().iter().filter(|((at, _), _)| *at == node).map(|(_, taken)| *taken).sum()
    }
}

/// A node's way there.
struct Way {
    node: usize,
    counted: Arc<Counted>,
}

#[async_trait]
impl Together for Way {
    async fn places(&self, asked: &[PlacesAsked]) -> Result<Vec<PlacesGiven>, Silence> {
        self.counted.questions.fetch_add(1, SeqCst);
        // Others ask meanwhile.
        sleep(Duration::from_millis(5)).await;
        if self.counted.silent.load(SeqCst) {
            return Err("out of reach".into());
        }
        let mut taken = self.counted.taken.lock();
        let give = |asked: &PlacesAsked| {
            let others = taken.iter().filter(|((node, of), _)| *node != self.node && *of == asked.holder);
            let elsewhere: u32 = others.map(|(_, taken)| *taken).sum();
            let free = asked.limit.unwrap_or(u32::MAX).saturating_sub(elsewhere + asked.kept);
            let given = asked.asked.min(free);
            taken.insert((self.node, asked.holder.clone()), asked.kept + given);
            PlacesGiven { given, elsewhere }
        };
        Ok(asked.iter().map(give).collect())
    }

    fn again(&self) -> Duration {
        Duration::from_secs(10)
    }
}

struct Node {
    places: Places,
    settings: Settings,
    running: JoinHandle<()>,
}

impl Node {
    fn new(node: usize, counted: Option<&Arc<Counted>>) -> Self {
        let settings = Settings::new(Config::default());
        let way =
            |counted: &Arc<Counted>| Arc::new(Way { node, counted: counted.clone() }) as Arc<dyn Together>;
        let places = Places::new(counted.map(way), settings.clone(), Metrics::new());
        let running = tokio::spawn(places.clone().run());
        Self { places, settings, running }
    }

    async fn take(&self, user: &str) -> Result<(Option<Held>, Held), Full> {
        self.places.take(&tenant(), Some(&user.parse().expect("a user"))).await
    }

    fn limit(&self, per_user: Option<u32>) {
        let mut config = Config::clone(&self.settings.get());
        config.limits.connections_per_user = Off(per_user);
        self.settings.reload(&config);
    }

    /// After everything has been told.
    async fn is_empty(&self) -> bool {
        sleep(Duration::from_secs(2)).await;
        self.places.0.table.lock().is_empty()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.running.abort();
    }
}

fn tenant() -> TenantId {
    "acme".parse().expect("a tenant")
}

const FULL: Full = Full { of: Whose::User, limit: 5 };

#[tokio::test(start_paused = true)]
async fn a_node_alone_counts_each_user_and_forgets_who_has_left() {
    let node = Node::new(0, None);
    let mut held = Vec::new();
    for _ in 0..5 {
        held.push(node.take("ana").await.expect("a place"));
    }
    assert_eq!(node.take("ana").await.err(), Some(FULL));
    let ben = node.take("ben").await.expect("another user");
    let machine = node.places.take(&tenant(), None).await.expect("no user, no limit");
    held.pop();
    held.push(node.take("ana").await.expect("one has left"));
    assert_eq!(node.places.look(&tenant(), Some(&"ana".parse().expect("a user"))).await, Err(FULL));
    drop((held, ben, machine));
    assert!(node.is_empty().await, "{:?}", node.places.0.table.lock());
}

#[tokio::test(start_paused = true)]
async fn a_tenant_has_a_limit_of_its_own() {
    let node = Node::new(0, None);
    let mut config = Config::default();
    config.limits.connections_per_tenant = Off::at(2);
    node.settings.reload(&config);
    let held = (node.take("ana").await.expect("one"), node.places.take(&tenant(), None).await.expect("two"));
    let full = Full { of: Whose::Tenant, limit: 2 };
    assert_eq!(node.take("ben").await.err(), Some(full));
    assert_eq!(node.places.take(&tenant(), None).await.err(), Some(full));
    drop(held);
    assert!(node.is_empty().await, "a refusal by the tenant's limit leaves no place of the user's");
}

#[tokio::test(start_paused = true)]
async fn nodes_together_give_as_many_as_the_limit_however_many_ask_at_once() {
    let counted = Arc::new(Counted::default());
    let nodes = [Node::new(0, Some(&counted)), Node::new(1, Some(&counted))];
    for _ in 0..3 {
        let mut takers = JoinSet::new();
        for n in 0..400 {
            let (places, user) = (nodes[n % 2].places.clone(), format!("user-{}", n % 10));
            takers.spawn(async move { places.take(&tenant(), Some(&user.parse().expect("a user"))).await });
        }
        let all = takers.join_all().await;
        let held: Vec<_> = all.into_iter().flatten().collect();
        assert_eq!(held.len(), 50, "ten users with five each");
        assert_eq!(nodes[0].places.held() + nodes[1].places.held(), 100, "and as many of the tenant's");
        let refused = nodes[1].places.look(&tenant(), Some(&"user-3".parse().expect("a user"))).await;
        assert_eq!(refused, Err(FULL));
        drop(held);
        assert!(nodes[0].is_empty().await && nodes[1].is_empty().await);
        assert_eq!(counted.of(0) + counted.of(1), 0, "all are free again");
    }
    let questions = counted.questions.load(SeqCst);
    assert!(questions < 100, "takers share questions: {questions}");
}

#[tokio::test(start_paused = true)]
async fn out_of_reach_each_node_decides_alone_and_later_tells_what_it_has() {
    let counted = Arc::new(Counted::default());
    let (one, two) = (Node::new(0, Some(&counted)), Node::new(1, Some(&counted)));
    let mut held = vec![one.take("ana").await.expect("a place")];
    counted.silent.store(true, SeqCst);
    for _ in 0..4 {
        held.push(one.take("ana").await.expect("by its own count"));
    }
    assert_eq!(one.take("ana").await.err(), Some(FULL));
    for _ in 0..5 {
        held.push(two.take("ana").await.expect("by its own count"));
    }
    assert!(one.places.0.metrics.places.alone.get() > 0);
    counted.silent.store(false, SeqCst);
    sleep(Duration::from_secs(3)).await;
    assert_eq!((counted.of(0), counted.of(1)), (5, 5), "told, and nobody was sent away");
    // Five of ten go: the user is full still.
    held.drain(..5);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(one.take("ana").await.err(), Some(FULL));
    held.pop();
    sleep(Duration::from_secs(1)).await;
    held.push(one.take("ana").await.expect("four at the other node leave one"));
}

#[tokio::test(start_paused = true)]
async fn a_taker_that_goes_away_while_it_waits_leaves_no_place_behind() {
    let counted = Arc::new(Counted::default());
    let node = Node::new(0, Some(&counted));
    for _ in 0..5 {
        let waiting = tokio::time::timeout(Duration::from_millis(2), node.take("ana"));
        assert!(waiting.await.is_err(), "it had to wait for the answer");
    }
    assert!(node.is_empty().await, "{:?}", node.places.0.table.lock());
    assert_eq!(counted.of(0), 0);
}

#[tokio::test(start_paused = true)]
async fn a_reload_lifts_the_limit_and_sets_it_again_for_those_who_are_there() {
    let counted = Arc::new(Counted::default());
    let (one, two) = (Node::new(0, Some(&counted)), Node::new(1, Some(&counted)));
    one.limit(None);
    let mut held = Vec::new();
    for _ in 0..7 {
        held.push(one.take("ana").await.expect("no limit"));
    }
    one.limit(Some(8));
    // Everything is said again after ten seconds.
    sleep(Duration::from_secs(11)).await;
    assert_eq!(counted.of(0), 7);
    two.limit(Some(8));
    held.push(two.take("ana").await.expect("the eighth"));
    assert_eq!(two.take("ana").await.err(), Some(Full { of: Whose::User, limit: 8 }));
    one.places.leave().await;
    assert_eq!(counted.of(0), 7, "leaving says what there is");
}
