use std::time::Duration;

use super::{
    Contender, Options,
    fanout::{MESSAGE_BYTES, SUBSCRIBERS, outcome},
    in_turn,
};
use crate::{
    load::{FanoutLoad, Pace, Processes, Transport, fanout},
    reference::bare::Writes,
    report::{Bound, Check, Outcome, median},
};

const PER_SECOND: f64 = 100.0;
const OVER_BARE: f64 = 2.0;

const CONTENDERS: [Contender; 3] =
    [Contender::Tidings, Contender::Bare(Writes::PerMessage), Contender::Nchan { workers: 1 }];

pub(super) fn run(options: &Options) -> anyhow::Result<Vec<Outcome>> {
    [Transport::WebSocket, Transport::Sse].into_iter().map(|transport| one(options, transport)).collect()
}

fn one(options: &Options, transport: Transport) -> anyhow::Result<Outcome> {
    let name = |contender: Contender| format!("paced, {}, {}", transport.as_str(), contender.name());
    let reports = in_turn(options, &CONTENDERS, name, |contender| {
        let running = contender.start(options)?;
        fanout(&FanoutLoad {
            target: running.target.clone(),
            publish_to: None,
            transport,
            subscribers: SUBSCRIBERS,
            pace: Pace::Paced { per_second: PER_SECOND },
            publishers: 4,
            message_bytes: MESSAGE_BYTES,
            warm_up: Duration::from_secs(1),
            measure: Duration::from_secs(if options.quick { 1 } else { 6 }),
            behind_max: u64::MAX,
            processes: running.processes.clone(),
            beside: Processes::default(),
        })
    })?;
    let cpu = |index: usize| median(reports[index].iter().map(|r| r.cpu_s_per_million));
    let checks = vec![Check::new(
        format!("CPU per delivery over {} ÷ the bare server's", transport.as_str()),
        cpu(0) / cpu(1),
        Bound::AtMost(OVER_BARE),
    )];
    let title = match transport {
        Transport::WebSocket => "fan-out, paced, WebSocket: 100 messages/s of 300 bytes to 1,000 subscribers",
        Transport::Sse => "fan-out, paced, SSE: 100 messages/s of 300 bytes to 1,000 subscribers",
    };
    Ok(outcome(title, &CONTENDERS, &reports, checks))
}
