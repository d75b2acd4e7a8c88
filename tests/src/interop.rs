//! Peers of other makers, in the virtual environment that `make test` prepares.

use std::{
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
};

/// A program of `target/peers/bin`.
///
/// # Panics
/// When it is not installed, with the command that installs it.
pub fn peer(program: &str) -> Command {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let path = root.join("target/peers/bin").join(program);
    assert!(path.exists(), "{} is missing; run: scripts/prepare test", path.display());
    Command::new(path)
}

/// A script of `tests/peers`, run by the environment's Python.
pub fn script(name: &str) -> Command {
    let mut command = peer("python");
    command.arg(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("peers").join(name));
    command
}

/// A TCP proxy that puts a credential into the head of each connection's first request, for peers that
/// can send none.
#[derive(Debug)]
pub struct CredentialProxy {
    pub addr: SocketAddr,
    ending: Arc<AtomicBool>,
    accepting: Option<JoinHandle<()>>,
}

impl CredentialProxy {
    pub fn start(server: SocketAddr, token: &str) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let (ending, header) =
            (Arc::new(AtomicBool::new(false)), format!("\r\nAuthorization: Bearer {token}"));
        let told = Arc::clone(&ending);
        let accepting = thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if told.load(Ordering::Relaxed) {
                    return;
                }
                let header = header.clone();
                // It ends with its connection: either side's end is passed on to the other.
                thread::spawn(move || relay(client, server, &header));
            }
        });
        Ok(Self { addr, ending, accepting: Some(accepting) })
    }
}

impl Drop for CredentialProxy {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.addr);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// The header goes behind the request line, whichever piece of the head has its end.
fn relay(mut client: TcpStream, server: SocketAddr, header: &str) -> io::Result<()> {
    let mut upstream = TcpStream::connect(server)?;
    upstream.set_nodelay(true)?;
    client.set_nodelay(true)?;
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r") {
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    head.pop();
    head.extend_from_slice(header.as_bytes());
    head.push(b'\r');
    upstream.write_all(&head)?;
    let (mut up_read, mut down_write) = (upstream.try_clone()?, client.try_clone()?);
    let down = thread::spawn(move || {
        let _ = io::copy(&mut up_read, &mut down_write);
        let _ = down_write.shutdown(Shutdown::Write);
    });
    let _ = io::copy(&mut client, &mut upstream);
    let _ = upstream.shutdown(Shutdown::Write);
    let _ = down.join();
    Ok(())
}
