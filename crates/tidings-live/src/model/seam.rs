//! Between the store and the ring: whatever happens in whatever order, each subscriber's byte stream
//! is the log's matches after its cursor, once each, in order, or says that something is gone.

use std::time::Duration;

use proptest::{collection::vec, prelude::*};

use super::{
    reader::{Reader, Step},
    world::{News, World, from, run, settle, small},
};
use crate::{Batcher, Start, testing::MemoryStore};

#[derive(Debug, Clone)]
enum Op {
    Commit {
        events: usize,
        news: News,
    },
    TellDelayed(usize),
    Retain {
        tell: bool,
    },
    Subscribe {
        which: usize,
        back: Option<u64>,
    },
    /// From a cursor ahead of the feed, or of the store as well.
    SubscribeAhead {
        which: usize,
        by: u64,
    },
    Step {
        who: usize,
        max_bytes: usize,
        written: usize,
    },
    Drop(usize),
    LetIn,
    LetOut,
    Fail,
    Pass(u64),
    ClearBatcher,
}

fn op() -> impl Strategy<Value = Op> {
    let news = prop_oneof![
        6 => Just(News::Told),
        1 => Just(News::ToldTwice),
        2 => Just(News::Delayed),
        1 => Just(News::Lost),
    ];
    let written = prop_oneof![3 => Just(1_000_usize), 2 => 0..1_000_usize];
    let step = (any::<usize>(), 200..4_000_usize, written);
    prop_oneof![
        6 => (1..5_usize, news).prop_map(|(events, news)| Op::Commit { events, news }),
        2 => any::<usize>().prop_map(Op::TellDelayed),
        1 => any::<bool>().prop_map(|tell| Op::Retain { tell }),
        2 => (any::<usize>(), proptest::option::of(0..30_u64)).prop_map(|(which, back)| Op::Subscribe { which, back }),
        1 => (any::<usize>(), 1..5_u64).prop_map(|(which, by)| Op::SubscribeAhead { which, by }),
        16 => step.prop_map(|(who, max_bytes, written)| Op::Step { who, max_bytes, written }),
        1 => any::<usize>().prop_map(Op::Drop),
        3 => Just(Op::LetIn),
        3 => Just(Op::LetOut),
        1 => Just(Op::Fail),
        2 => (1..40_u64).prop_map(Op::Pass),
        2 => Just(Op::ClearBatcher),
    ]
}

struct Schedule {
    world: World,
    readers: Vec<Reader>,
    batcher: Batcher,
}

impl Schedule {
    async fn apply(&mut self, op: &Op) {
        let count = self.readers.len();
        match *op {
            Op::Commit { events, news } => self.world.commit(events, news),
            Op::TellDelayed(pick) => self.world.tell_delayed(pick),
            Op::Retain { tell } => self.world.retain(tell).await,
            Op::Subscribe { which, back } => {
                let head = self.world.feed.head().get();
                let start = back.map_or(Start::Now, |back| from(head.saturating_sub(back)));
                self.readers.push(Reader::new(&self.world, which, start));
            }
            Op::SubscribeAhead { which, by } => {
                let ahead = self.world.feed.head().get() + by;
                self.readers.push(Reader::new(&self.world, which, from(ahead)));
            }
            Op::Step { who, max_bytes, written } if count > 0 => {
                self.readers[who % count].step(&self.world, &mut self.batcher, max_bytes, written);
            }
            Op::Drop(who) if count > 2 => drop(self.readers.swap_remove(who % count)),
            Op::Step { .. } | Op::Drop(_) => {}
            Op::LetIn => self.world.store.let_in(1),
            Op::LetOut => self.world.store.let_out(1),
            Op::Fail => self.world.store.fail(1),
            Op::Pass(ms) => tokio::time::advance(Duration::from_millis(ms)).await,
            Op::ClearBatcher => self.batcher.clear(),
        }
        settle().await;
        for reader in &self.readers {
            reader.check_cursor(&self.world);
        }
    }

    /// The store answers again, and one more commit is told: then everybody gets everything.
    async fn finish(mut self) {
        self.world.store.let_in(1_000_000);
        self.world.store.let_out(1_000_000);
        self.world.commit(1, News::Told);
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(self.world.feed.head().get(), self.world.head(), "the feed finds every event");
        self.batcher.clear();
        for reader in &mut self.readers {
            assert_eq!(reader.drain(&self.world, &mut self.batcher).await, Step::Idle);
            reader.check_complete(&self.world);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn every_stream_is_the_log_after_its_cursor(history in 0..40_u64, ops in vec(op(), 1..120)) {
        run(async {
            let world = World::new(MemoryStore::gated(), small(), history).await;
            let mut schedule = Schedule { world, readers: Vec::new(), batcher: Batcher::new() };
            for op in &ops {
                schedule.apply(op).await;
            }
            schedule.finish().await;
        });
    }
}
