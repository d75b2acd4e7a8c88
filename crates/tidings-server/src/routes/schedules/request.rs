use serde::Deserialize;
use tidings_core::{
    Principal, ScheduleName, ScheduleSpec, Timestamp,
    schedule::{Cron, Overlap, Timing, Zone},
};

use crate::{
    body::invalid, config::Limits, object::Object, problem::Problem, routes::jobs::ScheduledJobRequest,
};

/// A schedule to be made or replaced.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ScheduleRequest)]
pub(crate) struct ScheduleRequest {
    /// `[a-z0-9][a-z0-9._-]{0,62}`, once in a tenant; where the path has it, it may be left out.
    #[schema(value_type = Option<String>, example = "reports.nightly")]
    name: Option<ScheduleName>,
    /// Five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
    #[schema(example = "30 2 * * MON-FRI", max_length = 255)]
    cron: String,
    /// Of the IANA database; UTC where absent.
    #[schema(example = "Europe/Berlin")]
    zone: Option<String>,
    /// `allow` (where absent) or `skip`: what happens while the job of an earlier time is not finished.
    overlap: Option<String>,
    /// What is enqueued at each time.
    #[schema(value_type = ScheduledJobRequest)]
    job: Object<ScheduledJobRequest>,
}

impl ScheduleRequest {
    /// What it asks for; `named` is the name in the path.
    pub(super) fn into_spec(
        self,
        named: Option<ScheduleName>,
        principal: &Principal,
        limits: &Limits,
        now: Timestamp,
    ) -> Result<ScheduleSpec, Problem> {
        let name = match (self.name, named) {
            (Some(given), Some(named)) if given != named => {
                return Err(invalid("$.name", "it is not the name in the path"));
            }
            (given, named) => named.or(given).ok_or_else(|| invalid("$.name", "missing field `name`"))?,
        };
        let cron: Cron = self.cron.parse().map_err(|e| invalid("$.cron", e))?;
        let zone = match self.zone {
            Some(zone) => zone.parse().map_err(|e| invalid("$.zone", e))?,
            None => Zone::utc(),
        };
        let timing = Timing { cron, zone };
        timing.validate(now).map_err(|e| invalid("$.cron", e))?;
        let overlap = match self.overlap {
            Some(text) => {
                Overlap::parse(&text).ok_or_else(|| invalid("$.overlap", "it is \"allow\" or \"skip\""))?
            }
            None => Overlap::default(),
        };
        let Object(job) = self.job;
        Ok(ScheduleSpec { name, timing, overlap, job: job.into_spec("$.job", principal, limits)? })
    }
}
