use std::{
    io::Write as _,
    net::{TcpListener, TcpStream},
    process::Command,
    thread,
};

use tidings_testkit::{socket, wait};

#[test]
fn a_read_goes_on_when_the_process_was_stopped() {
    const STOPS: usize = 10;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    near.set_read_timeout(Some(wait::LONG)).unwrap();
    let mut far = listener.accept().unwrap().0;
    let mut read = [0; 16];
    thread::scope(|scope| {
        let reader = scope.spawn(|| socket::read(&mut near, &mut read));
        for _ in 0..STOPS {
            // A child of this process stops it and has it continue.
            let stopped = Command::new("sh").args(["-c", "kill -STOP $PPID && kill -CONT $PPID"]).status();
            assert!(stopped.unwrap().success());
        }
        far.write_all(b"still here").unwrap();
        assert_eq!(reader.join().unwrap().unwrap(), 10);
    });
    assert_eq!(&read[..10], b"still here");
    // Nothing else came.
    drop(far);
    assert_eq!(socket::read(&mut near, &mut read).unwrap(), 0);
}
