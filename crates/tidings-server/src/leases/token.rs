use std::{fmt, str::FromStr};

use tidings_core::{Job, JobId, TenantId, job::LeaseNo};

/// A lease's name: `<tenant>~<job id>~<lease number>`. It is no secret: the credential decides.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct LeaseToken {
    pub(crate) tenant: TenantId,
    pub(crate) job: JobId,
    pub(crate) lease_no: LeaseNo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NoLease;

impl LeaseToken {
    pub(crate) fn of(job: &Job) -> Self {
        Self { tenant: job.tenant.clone(), job: job.id, lease_no: job.lease_no }
    }
}

impl fmt::Display for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}~{}~{}", self.tenant, self.job, self.lease_no)
    }
}

impl FromStr for LeaseToken {
    type Err = NoLease;

    fn from_str(text: &str) -> Result<Self, NoLease> {
        let mut parts = text.split('~');
        let (Some(tenant), Some(job), Some(no), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(NoLease);
        };
        // One spelling only: no sign, no leading zero, no lease 0, and what a store's integer holds.
        if no.starts_with('0') || no.len() > 18 || !no.bytes().all(|b| b.is_ascii_digit()) {
            return Err(NoLease);
        }
        Ok(Self {
            tenant: tenant.parse().map_err(|_| NoLease)?,
            job: job.parse().map_err(|_| NoLease)?,
            lease_no: no.parse().map_err(|_| NoLease)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_has_one_spelling() {
        let text = "acme~019ab0c4-0000-7000-8000-000000000000~3";
        assert_eq!(text.parse::<LeaseToken>().expect("valid").to_string(), text);
        for bad in [
            "",
            "acme~3",
            "acme~x~3",
            &text.replace("~3", "~03"),
            &text.replace("~3", "~+3"),
            &text.replace("~3", "~0"),
            &format!("{text}~"),
            &text.replace("~3", "~99999999999999999999"),
        ] {
            assert_eq!(bad.parse::<LeaseToken>(), Err(NoLease), "{bad}");
        }
    }
}
