use tidings_core::{Cursor, Seq};
use tidings_store::LogState;

use crate::problem::{Kind, Problem};

/// Where a reader goes on in this log: the seq that it has. A cursor that has no place is 410.
pub(crate) fn place(since: Option<&Cursor>, log: &LogState) -> Result<Seq, Problem> {
    let before_oldest = log.oldest.prev();
    let Some(cursor) = since else { return Ok(before_oldest) };
    if cursor.epoch.as_ref().is_some_and(|epoch| *epoch != log.epoch) {
        return Err(gone("epoch", "The cursor is of another history of this tenant.", log));
    }
    // A bare 0 asks for all that is kept; `<epoch>:0` is where a reader of an empty log stood.
    if cursor.seq == Seq::ZERO && cursor.epoch.is_none() {
        return Ok(before_oldest);
    }
    if cursor.seq > log.head {
        return Err(gone("ahead", "The cursor is ahead of this tenant's log.", log));
    }
    if cursor.seq < before_oldest {
        return Err(expired(log));
    }
    Ok(cursor.seq)
}

/// Events after the cursor have been removed.
pub(super) fn expired(log: &LogState) -> Problem {
    gone("expired", "Events after the cursor have been removed by retention.", log)
}

fn gone(reason: &'static str, what: &str, log: &LogState) -> Problem {
    let (epoch, oldest) = (log.epoch.as_str(), log.oldest.get());
    let kept = if log.oldest > log.head {
        "none is kept at present".to_owned()
    } else {
        format!("the oldest event kept is {oldest}")
    };
    Problem::new(Kind::CursorGone, format!("{what} Start again with since=0: {kept}."))
        .with("reason", reason)
        .with("epoch", epoch)
        .with("oldest", oldest)
        .with("head", log.head.get())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidings_core::Epoch;

    fn log(head: u64, oldest: u64) -> LogState {
        LogState {
            epoch: Epoch::parse("abc").expect("valid"),
            head: Seq::new(head),
            oldest: Seq::new(oldest),
        }
    }

    fn reason(since: &str, log: &LogState) -> Result<u64, String> {
        let cursor = since.parse().expect("valid");
        place(Some(&cursor), log).map(Seq::get).map_err(|p| {
            let body: serde_json::Value = serde_json::from_slice(&p.to_json(None)).expect("JSON");
            body["reason"].as_str().expect("a reason").to_owned()
        })
    }

    #[test]
    fn an_emptied_log_names_no_event() {
        let problem = place(Some(&"abc:3".parse().expect("valid")), &log(76, 77)).expect_err("it has gone");
        assert!(problem.detail().ends_with("since=0: none is kept at present."), "{}", problem.detail());
    }

    #[test]
    fn a_cursor_that_does_not_fit_is_told_why() {
        let kept = log(20, 10);
        assert_eq!(place(None, &kept).map(Seq::get).ok(), Some(9));
        assert_eq!(reason("0", &kept), Ok(9));
        assert_eq!(reason("9", &kept), Ok(9));
        assert_eq!(reason("abc:20", &kept), Ok(20));
        assert_eq!(reason("8", &kept), Err("expired".into()));
        assert_eq!(reason("abc:0", &kept), Err("expired".into()));
        assert_eq!(reason("21", &kept), Err("ahead".into()));
        assert_eq!(reason("xyz:15", &kept), Err("epoch".into()));
        assert_eq!(reason("abc:0", &log(0, 1)), Ok(0));
    }
}
