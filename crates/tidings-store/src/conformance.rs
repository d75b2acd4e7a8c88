//! What every store must do, as one suite: give it a [`Fixture`] and call [`run`].
//!
//! Each case gets an empty store and a clock that stands still until the case moves it.

mod claims;
mod jobs;
mod keys;
mod log;
mod moving;
mod retention;
mod schedules;
mod tenants;
mod webhook_reports;
mod webhook_retention;
mod webhooks;
mod world;

use std::{collections::HashMap, pin::Pin, sync::Arc};

use async_trait::async_trait;
use tidings_core::{Clock, JobType};

use crate::Store;
pub use moving::{
    a_running_job_moves_with_the_rest_of_its_lease, an_import_goes_on_where_an_outage_moved_leases,
    tenants_move_with_their_numbers,
};
#[cfg(test)]
pub(crate) use webhook_reports::{attempt, retrying};
#[cfg(test)]
pub(crate) use webhooks::new_endpoint;
#[cfg(test)]
pub(crate) use world::{LEASE, claim, event, in_tenant, job_id, one, tenant_id, work};
pub use world::{ManualClock, World};

/// Makes stores to be tried.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// An empty store that reads `clock` and lets at most so many jobs of a type run in a tenant.
    async fn open(&self, clock: Arc<dyn Clock>, concurrency: HashMap<JobType, u32>) -> Arc<dyn Store>;
}

/// One thing that a store must do.
#[derive(Clone, Copy)]
pub struct Case {
    pub name: &'static str,
    run: fn(World) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl std::fmt::Debug for Case {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Case").field("name", &self.name).finish_non_exhaustive()
    }
}

macro_rules! cases {
    ($($module:ident :: { $($case:ident),+ $(,)? })+) => {
        &[$($(Case {
            name: concat!(stringify!($module), "::", stringify!($case)),
            run: |world| Box::pin($module::$case(world)),
        }),+),+]
    };
}

pub const CASES: &[Case] = cases! {
    log::{
        a_new_log_is_empty,
        seqs_have_no_gaps_and_follow_commit_order,
        concurrent_submitters_leave_no_gap,
        time_never_falls_within_a_tenant,
        an_event_reads_back_as_it_was_committed,
        pages_end_at_events_or_bytes_and_say_how_far_they_looked,
        a_jobs_events_are_read_apart,
        a_repeat_under_an_idempotency_key_changes_nothing,
        an_idempotency_key_belongs_to_tenant_route_and_body,
        an_idempotency_key_is_forgotten_after_a_day,
        a_command_that_fails_leaves_the_rest_of_its_batch,
    }
    jobs::{
        a_job_reads_back_in_every_state,
        a_late_report_changes_nothing,
        repeating_a_report_returns_the_first_outcome,
        pending_progress_goes_before_the_terminal_event,
        a_failure_is_retried_after_its_delay_until_attempts_end,
        an_expired_lease_is_rescued,
        a_heartbeat_keeps_a_lease_and_tells_of_cancellation,
        a_release_spends_no_attempt,
        cancelling_ends_a_waiting_job_and_asks_a_running_one,
        a_retry_is_a_new_job,
        a_unique_key_holds_until_its_job_is_terminal,
        a_repeated_enqueue_answers_the_first_jobs,
        lists_are_newest_first_and_filtered,
        queues_are_counted,
    }
    claims::{
        priority_comes_before_age,
        jobs_of_one_moment_are_leased_in_the_order_they_came,
        a_job_is_not_leased_before_its_time,
        tenants_take_turns,
        claims_of_few_tenants_do_not_turn_others_back,
        a_claim_reaches_its_tenants_and_types_alone,
        limited_types_run_no_more_than_allowed,
        limits_of_types_change_while_jobs_run,
        no_job_is_leased_twice,
        claims_of_one_batch_share_what_there_is,
        claims_of_one_batch_keep_to_limits_and_states,
        as_many_claims_as_there_are_in_one_batch_get_what_is_ready,
        claims_of_several_kinds_in_one_batch_get_what_is_ready,
        a_suspended_tenants_jobs_stay,
        a_job_can_be_leased_in_the_commit_that_makes_it,
        a_job_leased_as_it_is_made_counts_against_its_types_limit,
    }
    tenants::{
        another_tenants_ids_are_unknown,
        a_tenant_is_made_only_where_that_is_asked,
        a_refused_command_makes_no_tenant,
        a_suspended_tenant_takes_no_writes,
        a_tenant_made_again_has_another_history,
        renewing_an_epoch_keeps_the_log,
        tenants_are_listed_in_order,
    }
    keys::{
        a_key_reads_back_and_is_revoked_once,
        an_operators_key_belongs_to_no_tenant,
        revocations_are_numbered_in_order,
        a_deleted_tenants_keys_are_gone,
        a_ticket_is_taken_once,
    }
    schedules::{
        a_schedule_reads_back,
        a_name_belongs_to_one_schedule,
        a_replaced_schedule_goes_on,
        a_fire_is_one_commit_and_happens_once,
        missed_runs_collapse_into_one,
        a_fire_time_has_one_job_also_by_a_clock_that_was_set_back,
        a_paused_schedule_does_not_fire,
        a_suspended_tenants_schedules_wait,
        a_deleted_tenants_schedules_go,
        a_run_that_would_overlap_is_skipped,
        many_schedules_fire_in_pieces,
        schedules_are_listed_by_name,
        a_tenant_has_so_many_schedules,
        another_tenants_schedules_are_unknown,
    }
    retention::{
        a_log_is_cut_by_count,
        a_log_is_cut_by_age,
        the_floor_moves_before_the_rows_go,
        finished_jobs_go_with_age,
        a_deleted_tenants_rows_go_in_pieces,
    }
    webhooks::{
        an_endpoint_reads_back,
        endpoints_are_listed_by_id,
        an_endpoint_changes_and_is_paused_and_enabled,
        secrets_overlap_and_expire,
        another_tenants_endpoints_are_unknown,
        a_deleted_endpoint_is_gone_and_heard_of,
        a_tenant_has_so_many_endpoints,
        dispatchers_hear_of_changes_in_order,
        a_revoked_users_endpoints_are_paused,
        a_receiver_that_is_back_enables_only_what_was_seen,
        a_range_is_replayed_beside_what_is_new,
        dead_letters_are_sent_again,
    }
    webhook_reports::{
        a_report_is_one_commit,
        a_page_of_deliveries_is_bounded_in_bytes,
        a_page_of_attempts_is_bounded_in_bytes,
        what_a_receiver_asked_for_is_kept,
        many_reports_go_in_one_batch,
        an_older_generation_moves_no_cursor,
        disabling_is_published_in_the_same_commit,
        attempts_are_read_by_endpoint_and_by_event,
        a_backlog_says_how_old_it_is,
    }
    webhook_retention::{
        the_log_waits_for_endpoints,
        a_disabled_endpoint_holds_the_log_and_a_deleted_one_does_not,
        what_waited_too_long_is_a_gap,
        what_the_log_would_keep_anyway_is_no_gap,
        attempts_are_forgotten_by_count_and_age,
        dead_letters_are_forgotten_by_age,
        dead_letters_are_forgotten_by_number,
        a_deleted_tenants_webhooks_go,
    }
};

/// Runs every case on a store of its own and panics with the names of those that failed.
pub async fn run(fixture: &dyn Fixture) {
    let mut failed = Vec::new();
    for case in CASES {
        let world = World::open(fixture).await;
        // A task of its own, so that one failure does not hide the others.
        if tokio::spawn((case.run)(world)).await.is_ok() {
            println!("conformance {} ... ok", case.name);
        } else {
            println!("conformance {} ... FAILED", case.name);
            failed.push(case.name);
        }
    }
    assert!(failed.is_empty(), "{} of {} cases failed: {failed:?}", failed.len(), CASES.len());
}
