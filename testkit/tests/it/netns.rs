use std::{
    io::Read as _,
    net::{IpAddr, TcpListener},
    process::{Child, Stdio},
    thread,
};

use tidings_testkit::{Netns, Proxy, wait};

/// Greets whoever comes.
fn greeter() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let target = listener.local_addr().unwrap();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = std::io::Write::write_all(&mut stream, b"hello");
        }
    });
    Proxy::to(target)
}

#[test]
fn what_runs_inside_reaches_a_proxy_and_can_be_cut_off() {
    let (netns, greeter) = (Netns::start(), greeter());
    let proxy = Proxy::between(IpAddr::V4(netns.outside()), greeter.addr());
    let read = |name: &str| read_inside(&netns, &proxy, name);

    assert_eq!(read("before"), "hello");
    netns.cut(proxy.addr());
    assert_eq!(read("cut"), "timed out");
    netns.heal();
    assert_eq!(read("healed"), "hello");
    netns.plug(false);
    assert_ne!(read("unplugged"), "hello");
    netns.plug(true);
    wait::until_true("the link to carry again", wait::LONG, || read("plugged") == "hello");
}

/// Connects and reads inside the namespace.
fn read_inside(netns: &Netns, proxy: &Proxy, name: &str) -> String {
    let addr = proxy.addr();
    let program = format!(
        "import socket\ntry:\n  s = socket.create_connection(('{}', {}), 0.5)\n  print(s.recv(5).decode())\n\
         except TimeoutError:\n  print('timed out')\nexcept OSError as e:\n  print(e)",
        addr.ip(),
        addr.port(),
    );
    let mut child: Child =
        netns.command("python3").args(["-c", &program, name]).stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    child.wait().unwrap();
    text.trim().to_owned()
}
