//! The places that live connections have on all nodes, counted in Redis: a hash for each holder, with a field for each
//! node: how many it has, and until when that counts. A node that is gone says nothing more, and its field runs out.

use std::time::Duration;

use redis::{Cmd, ErrorKind, FromRedisValue as _, RedisError};
use tidings_store::{Holder, PlacesAsked, PlacesGiven};

use super::{RedisBus, Shared, link::Link};

/// One holder's question. Redis runs it alone, so that nodes that ask at once are answered one after the other.
const TAKE: &str = "
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local node, kept, asked, limit, hold = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local elsewhere = 0
local fields = redis.call('HGETALL', KEYS[1])
for i = 1, #fields, 2 do
    if fields[i] ~= node then
        local taken, till = string.match(fields[i + 1], '^(%d+) (%d+)$')
        if till and tonumber(till) > now then
            elsewhere = elsewhere + tonumber(taken)
        else
            redis.call('HDEL', KEYS[1], fields[i])
        end
    end
end
local given = asked
if limit >= 0 then
    given = math.max(0, math.min(asked, limit - elsewhere - kept))
end
if kept + given > 0 then
    redis.call('HSET', KEYS[1], node, string.format('%d %.0f', kept + given, now + hold))
    if redis.call('PTTL', KEYS[1]) < hold then
        redis.call('PEXPIRE', KEYS[1], hold)
    end
else
    redis.call('HDEL', KEYS[1], node)
end
return {given, elsewhere}
";

/// Why places were not counted. They may be asked for again.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    #[error("Redis is out of reach")]
    Unreachable,
    #[error("Redis answered: {0}")]
    Redis(#[from] RedisError),
}

impl RedisBus {
    /// Says how many live connections of some holders this node has, and takes places for more: one answer for
    /// each, in their order. What is said counts for `hold`: it is to be said again well before. One call at a
    /// time.
    pub async fn places(
        &self,
        asked: &[PlacesAsked],
        hold: Duration,
    ) -> Result<Vec<PlacesGiven>, PlacesError> {
        let link = self.shared.link.lock().clone().ok_or(PlacesError::Unreachable)?;
        let commands = asked.iter().map(|asked| self.shared.take(asked, hold)).collect();
        let answers = link.run(commands).await.inspect_err(|error| {
            if is_answer(error) {
                self.shared.note_counts(Some(error));
            }
        })?;
        self.shared.note_counts(None);
        let read = |answer| {
            let (given, elsewhere) = <(u32, u32)>::from_redis_value(answer).map_err(RedisError::from)?;
            Ok(PlacesGiven { given, elsewhere })
        };
        answers.into_iter().map(read).collect()
    }
}

/// Redis was reached and said no, in one of its own words or in a general one.
fn is_answer(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
}

impl Shared {
    /// Takes and gives back a place that nobody has. An answer that refuses is noted; silence is an error.
    pub(super) async fn try_counting(&self, link: &Link) -> Result<(), RedisError> {
        let node = format!("{:032x}", u128::from_be_bytes(self.node));
        let of = |asked: u32| {
            let mut command = redis::cmd("EVAL");
            command.arg(TAKE).arg(1).arg(self.check()).arg(&node).arg(0).arg(asked).arg(-1).arg(1_000);
            command
        };
        match link.run(vec![of(1), of(0)]).await {
            Err(error) if !is_answer(&error) => Err(error),
            answered => {
                self.note_counts(answered.err().as_ref());
                Ok(())
            }
        }
    }

    fn take(&self, asked: &PlacesAsked, hold: Duration) -> Cmd {
        let PlacesAsked { holder, kept, asked, limit } = asked;
        let node = format!("{:032x}", u128::from_be_bytes(self.node));
        let mut command = redis::cmd("EVAL");
        command.arg(TAKE).arg(1).arg(self.key(holder)).arg(node).arg(*kept).arg(*asked);
        command.arg(limit.map_or(-1, i64::from)).arg(hold.as_millis() as u64);
        command
    }

    /// The braces make the tenant alone decide which shard of a cluster has the key.
    fn key(&self, holder: &Holder) -> String {
        let Holder { tenant, user } = holder;
        let of_tenant = format!("tidings:{}:places:{{{tenant}}}", self.config.cluster);
        user.as_ref().map_or(of_tenant.clone(), |user| format!("{of_tenant}:{user}"))
    }
}

#[cfg(test)]
mod tests;
