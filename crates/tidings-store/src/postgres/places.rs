//! The places that the nodes' live connections have.

use tokio_postgres::types::Type;

use super::{Inner, codec::Columns, fault::Fault};
use crate::{PlacesAsked, PlacesGiven};

/// What a node has counts until so long after it said that it is alive; it says so every second.
pub(super) const ALIVE_US: i64 = 10_000_000;

impl Inner {
    pub(super) async fn places(&self, asked: &[PlacesAsked]) -> Result<Vec<PlacesGiven>, Fault> {
        // Every node takes them in the same order.
        let mut order: Vec<usize> = (0..asked.len()).collect();
        order.sort_unstable_by(|a, b| asked[*a].holder.cmp(&asked[*b].holder));
        let sorted = || order.iter().map(|at| &asked[*at]);
        let tenants: Vec<&str> = sorted().map(|a| a.holder.tenant.as_str()).collect();
        let users: Vec<&str> = sorted().map(|a| a.holder.user.as_ref().map_or("", |u| u.as_str())).collect();
        let kept: Vec<i32> = sorted().map(|a| number(a.kept)).collect();
        let wanted: Vec<i32> = sorted().map(|a| number(a.asked)).collect();
        let limits: Vec<Option<i32>> = sorted().map(|a| a.limit.map(number)).collect();
        let now = self.time.injected();
        let rows = self
            .work
            .query(
                "SELECT given, elsewhere FROM tidings.take_places($1, $2, $3, $4, $5, $6, $7, $8)",
                &[
                    (&self.node, Type::UUID),
                    (&now, Type::INT8),
                    (&ALIVE_US, Type::INT8),
                    (&tenants, Type::TEXT_ARRAY),
                    (&users, Type::TEXT_ARRAY),
                    (&kept, Type::INT4_ARRAY),
                    (&wanted, Type::INT4_ARRAY),
                    (&limits, Type::INT4_ARRAY),
                ],
            )
            .await?;
        let mut answers = vec![PlacesGiven { given: 0, elsewhere: 0 }; asked.len()];
        for (row, at) in rows.iter().zip(&order) {
            let row = Columns::of(row);
            let (given, elsewhere): (i32, i32) = (row.get(0)?, row.get(1)?);
            answers[*at] = PlacesGiven { given: given as u32, elsewhere: elsewhere as u32 };
        }
        Ok(answers)
    }
}

/// Far beyond what a node can hold.
fn number(count: u32) -> i32 {
    count.min(1_000_000_000) as i32
}
