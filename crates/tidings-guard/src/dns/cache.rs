use foldhash::HashMap;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::resolve::Answer;

/// Answers that still hold. Where it is full, what has expired goes, then any one.
#[derive(Debug)]
pub(super) struct Cache {
    names: Mutex<HashMap<Box<str>, (Answer, Instant)>>,
    max: usize,
}

impl Cache {
    pub(super) fn new(max: usize) -> Self {
        Self { names: Mutex::default(), max }
    }

    pub(super) fn get(&self, name: &str, now: Instant) -> Option<Answer> {
        let names = self.names.lock();
        names.get(name).filter(|(_, until)| now < *until).map(|(answer, _)| answer.clone())
    }

    pub(super) fn put(&self, name: &str, answer: &Answer, now: Instant) {
        if answer.ttl.is_zero() || self.max == 0 {
            return;
        }
        let mut names = self.names.lock();
        if names.len() >= self.max {
            names.retain(|_, (_, until)| now < *until);
        }
        if names.len() >= self.max
            && let Some(any) = names.keys().next().cloned()
        {
            names.remove(&any);
        }
        names.insert(name.into(), (answer.clone(), now + answer.ttl));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn answer(ttl: u64) -> Answer {
        Answer { addresses: vec!["93.184.216.34".parse().unwrap()], ttl: Duration::from_secs(ttl) }
    }

    #[test]
    fn an_answer_holds_as_long_as_it_says() {
        let (cache, now) = (Cache::new(2), Instant::now());
        cache.put("a", &answer(10), now);
        assert_eq!(cache.get("a", now + Duration::from_secs(9)), Some(answer(10)));
        assert_eq!(cache.get("a", now + Duration::from_secs(10)), None);
        cache.put("b", &answer(0), now);
        assert_eq!(cache.get("b", now), None);
    }

    #[test]
    fn it_holds_no_more_than_its_bound() {
        let (cache, now) = (Cache::new(2), Instant::now());
        for name in ["a", "b", "c", "d"] {
            cache.put(name, &answer(10), now);
            assert!(cache.get(name, now).is_some());
        }
        assert_eq!(cache.names.lock().len(), 2);
    }
}
