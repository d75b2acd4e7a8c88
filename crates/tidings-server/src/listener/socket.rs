use std::{io, net::SocketAddr};

use socket2::{Domain, SockFilter, SockRef, Socket, Type};

use super::{Listener, ListenerConfig};

/// Connections that wait in the kernel until they are accepted.
pub(super) const BACKLOG: i32 = 4_096;

/// A socket with an address, before it takes connections.
#[derive(Debug)]
pub(crate) struct BoundSocket {
    socket: Socket,
    owner: Owner,
    config: ListenerConfig,
}

/// Whose port it is, which decides how to leave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owner {
    /// This process alone.
    Process,
    /// Every process that binds it with `SO_REUSEPORT`: the kernel spreads connections over those that listen.
    Processes,
    /// Whoever passed it on, and passes it on again: what waits in its backlog is for the process that comes next.
    Parent,
}

impl BoundSocket {
    /// Binds `addr`. Where the port is this process' alone, connections wait in the backlog from now on.
    pub(crate) fn bind(addr: SocketAddr, owner: Owner, config: ListenerConfig) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        // A restart must not wait for the last connections of its predecessor to be forgotten.
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(owner == Owner::Processes)?;
        socket.bind(&addr.into())?;
        if owner == Owner::Process {
            socket.listen(BACKLOG)?;
        }
        Ok(Self { socket, owner, config })
    }

    /// Takes over a socket that listens already.
    pub(crate) fn adopt(listening: std::net::TcpListener, config: ListenerConfig) -> Self {
        Self { socket: listening.into(), owner: Owner::Parent, config }
    }

    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::Unsupported.into())
    }

    /// To be called on a tokio runtime. A shared port is listened on only from now on: its connections would wait here for a
    /// process that is not ready, while another is.
    pub(crate) fn listen(self) -> io::Result<Listener> {
        if self.owner == Owner::Processes {
            self.socket.listen(BACKLOG)?;
        }
        self.socket.set_nonblocking(true)?;
        let tcp = tokio::net::TcpListener::from_std(self.socket.into())?;
        Ok(Listener { tcp, owner: self.owner, config: self.config })
    }
}

/// Has the kernel drop the first packet of every new connection to `listener`, whose client sends it again a second later. What
/// is closed with a handshake or a connection in its queue resets them; nothing new can come into either from now on.
/// Accepted connections have the filter too, and never see such a packet.
pub(super) fn turn_away(listener: &tokio::net::TcpListener) -> io::Result<()> {
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    let load_flags = (libc::BPF_LD | libc::BPF_B | libc::BPF_ABS) as u16;
    let if_any_set = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
    let verdict = (libc::BPF_RET | libc::BPF_K) as u16;
    SockRef::from(listener).attach_filter(&[
        SockFilter::new(load_flags, 0, 0, FLAGS),
        SockFilter::new(if_any_set, 0, 1, SYN),
        SockFilter::new(verdict, 0, 0, 0),
        SockFilter::new(verdict, 0, 0, u32::MAX),
    ])
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read as _, Write as _},
        net::{Ipv4Addr, TcpStream},
        time::Duration,
    };

    use super::*;

    #[tokio::test]
    async fn a_listener_that_turns_away_keeps_what_has_connected_and_takes_nothing_new() {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let bound = BoundSocket::bind(address, Owner::Process, ListenerConfig::default()).expect("binds");
        let address = bound.local_addr().expect("has an address");
        let listener = bound.listen().expect("listens").tcp;
        let mut queued = TcpStream::connect(address).expect("connects");
        turn_away(&listener).expect("attaches");
        let refused =
            TcpStream::connect_timeout(&address, Duration::from_millis(200)).expect_err("no answer");
        assert_eq!(refused.kind(), io::ErrorKind::TimedOut, "{refused}");
        let (accepted, _) = listener.accept().await.expect("it had connected");
        let mut accepted = accepted.into_std().expect("ours");
        accepted.set_nonblocking(false).expect("blocks");
        drop(listener);
        queued.write_all(b"ping").expect("sends");
        let mut read = [0; 4];
        accepted.read_exact(&mut read).expect("arrives");
        accepted.write_all(&read).expect("sends");
        queued.read_exact(&mut read).expect("comes back");
        assert_eq!(&read, b"ping");
    }
}
