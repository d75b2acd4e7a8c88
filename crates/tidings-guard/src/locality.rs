use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};

/// Whether `address` is one of this machine's own, now.
///
/// The kernel is asked which source it would use: for an address of its own that is the address itself. Connecting a
/// UDP socket sends nothing.
pub(crate) fn is_local(address: IpAddr) -> bool {
    if address.is_loopback() || address.is_unspecified() {
        return true;
    }
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = || {
        let socket = UdpSocket::bind((any, 0))?;
        socket.connect((address, 9))?;
        socket.local_addr()
    };
    source().is_ok_and(|source| source.ip() == address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_ours_and_the_internet_is_not() {
        assert!(is_local("127.9.9.9".parse().unwrap()));
        assert!(is_local("::1".parse().unwrap()));
        assert!(!is_local("93.184.216.34".parse().unwrap()));
    }
}
