use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::ConnectError;
use crate::{Host, Policy, Refusal, Resolve, Target};

/// Resolves the target once and judges every answer: one that is refused refuses the name.
pub(super) async fn judged(
    policy: &Policy,
    resolver: &dyn Resolve,
    target: &Target,
) -> Result<Vec<SocketAddr>, ConnectError> {
    let name = match target.host() {
        Host::Address(ip) => return all(policy, target, &[*ip]).map_err(ConnectError::Refused),
        Host::Name(name) => name,
    };
    if is_localhost(name) {
        return ours(policy, target).map_err(ConnectError::Refused);
    }
    let answer = resolver.resolve(name).await.map_err(ConnectError::Unresolved)?;
    all(policy, target, &answer.addresses).map_err(ConnectError::Refused)
}

fn all(policy: &Policy, target: &Target, answers: &[IpAddr]) -> Result<Vec<SocketAddr>, Refusal> {
    let judged: Vec<_> = answers.iter().map(|ip| policy.judge(target, *ip)).collect::<Result<_, _>>()?;
    if judged.is_empty() { Err(Refusal::Host) } else { Ok(judged) }
}

fn is_localhost(name: &str) -> bool {
    name.strip_suffix("localhost").is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// RFC 6761: nobody is asked what localhost is. Since no stranger answers, the loopback address that is permitted counts,
/// also where the other one is not.
fn ours(policy: &Policy, target: &Target) -> Result<Vec<SocketAddr>, Refusal> {
    let loopback = [IpAddr::V6(Ipv6Addr::LOCALHOST), IpAddr::V4(Ipv4Addr::LOCALHOST)];
    let judged: Vec<_> = loopback.into_iter().filter_map(|ip| policy.judge(target, ip).ok()).collect();
    if judged.is_empty() { Err(Refusal::Name) } else { Ok(judged) }
}
