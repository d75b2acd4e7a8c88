//! By TLS, where HTTP/2 is negotiated and where it is not.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use tidings_core::webhook::AttemptFailure;
use tidings_testkit::Certificates;
use tidings_webhooks::sender::SenderConfig;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::{TlsAcceptor, server::TlsStream};

use crate::{
    receiver::OK,
    site::{BODY, PATIENT, SHORT, Site},
};

type Tls = TlsStream<tokio::net::TcpStream>;

fn acceptor(certificates: &Certificates, protocols: &[&str]) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![CertificateDer::from_pem_file(certificates.certificate()).unwrap()],
            PrivateKeyDer::from_pem_file(certificates.key()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsAcceptor::from(Arc::new(config))
}

/// Hands over each connection once TLS stands.
fn accept<F: Future<Output = ()> + Send + 'static>(
    acceptor: TlsAcceptor,
    serve: impl Fn(Tls) -> F + Send + 'static,
) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let addr = listener.local_addr().unwrap();
    let listener = tokio::net::TcpListener::from_std(listener).unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            if let Ok(tls) = acceptor.accept(tcp).await {
                tokio::spawn(serve(tls));
            }
        }
    });
    addr
}

/// Says OK in HTTP/1.1 to whatever comes.
pub(crate) fn serve(certificates: &Certificates, protocols: &[&str]) -> SocketAddr {
    accept(acceptor(certificates, protocols), |mut tls| async move {
        let mut buffer = [0; 4096];
        while let Ok(1..) = tls.read(&mut buffer).await {
            tls.write_all(OK.as_bytes()).await.unwrap();
        }
    })
}

#[derive(Default)]
struct Seen {
    connections: AtomicUsize,
    requests: Mutex<Vec<(http::request::Parts, Vec<u8>)>>,
}

/// What to do with a request by HTTP/2.
#[derive(Clone, Copy)]
enum Does {
    Answer(u16, usize),
    Hang,
    /// Answers the first and hangs at the others, one at a time on a connection.
    HangOneByOne,
    Reset(h2::Reason),
    /// Says that it goes away after this many, and takes no more.
    GoAway(usize),
}

fn http2(certificates: &Certificates, does: Does) -> (SocketAddr, Arc<Seen>) {
    let seen = Arc::<Seen>::default();
    let told = Arc::clone(&seen);
    let addr = accept(acceptor(certificates, &["h2"]), move |tls| {
        told.connections.fetch_add(1, Ordering::SeqCst);
        connection(tls, does, Arc::clone(&told))
    });
    (addr, seen)
}

async fn connection(tls: Tls, does: Does, seen: Arc<Seen>) {
    let mut settings = h2::server::Builder::new();
    if matches!(does, Does::HangOneByOne) {
        settings.max_concurrent_streams(1);
    }
    let Ok(mut connection) = settings.handshake(tls).await else { return };
    let mut taken = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        taken += 1;
        tokio::spawn(answer(request, respond, does, Arc::clone(&seen)));
        if let Does::GoAway(max) = does
            && taken == max
        {
            connection.graceful_shutdown();
        }
    }
}

async fn answer(
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Bytes>,
    does: Does,
    seen: Arc<Seen>,
) {
    let (parts, mut stream) = request.into_parts();
    let mut body = Vec::new();
    while let Some(Ok(data)) = stream.data().await {
        body.extend_from_slice(&data);
        let _ = stream.flow_control().release_capacity(data.len());
    }
    let count = {
        let mut requests = seen.requests.lock().unwrap();
        requests.push((parts, body));
        requests.len()
    };
    let (status, length) = match does {
        Does::Answer(status, length) => (status, length),
        Does::GoAway(_) => (200, 2),
        Does::Reset(reason) => return respond.send_reset(reason),
        Does::HangOneByOne if count == 1 => (200, 0),
        Does::Hang | Does::HangOneByOne => std::future::pending().await,
    };
    let head = http::Response::builder().status(status).body(()).unwrap();
    let Ok(mut sending) = respond.send_response(head, false) else { return };
    let _ = sending.send_data(vec![b'x'; length].into(), true);
    // Until the other side has taken it or will not.
    let _ = std::future::poll_fn(|cx| sending.poll_reset(cx)).await;
}

fn site(certificates: &Certificates) -> Site {
    Site::with(SenderConfig::default(), Some(&certificates.authority()))
}

#[tokio::test]
async fn a_receiver_that_knows_http_1_only_gets_http_1() {
    let certificates = Certificates::new("IP:127.0.0.1");
    for protocols in [&["http/1.1"][..], &[]] {
        let addr = serve(&certificates, protocols);
        let site = site(&certificates);
        for _ in 0..3 {
            let attempt = site.send(&format!("https://{addr}/"), PATIENT).await;
            assert_eq!((attempt.status, attempt.failure), (Some(200), None));
        }
        assert_eq!(site.sender.connections(), 1);
    }
}

#[tokio::test]
async fn many_messages_go_by_one_connection_at_a_time() {
    let certificates = Certificates::new("IP:127.0.0.1");
    let (addr, seen) = http2(&certificates, Does::Answer(200, 2));
    let (site, url) = (site(&certificates), format!("https://{addr}/hook?a=b"));
    site.send(&url, PATIENT).await;
    let sends = (0..50).map(|_| site.send(&url, PATIENT));
    for attempt in futures_join(sends).await {
        assert_eq!((attempt.status, attempt.failure, &attempt.answer[..]), (Some(200), None, &b"xx"[..]));
    }
    let requests = seen.requests.lock().unwrap();
    assert_eq!((seen.connections.load(Ordering::SeqCst), requests.len()), (1, 51));
    let (parts, body) = &requests[50];
    assert_eq!((parts.method.as_str(), parts.uri.to_string()), ("POST", url));
    assert_eq!(
        (&body[..], &parts.headers["webhook-id"], &parts.headers["content-length"]),
        (BODY, &"evt_7".parse().unwrap(), &"9".parse().unwrap())
    );
    assert!(!parts.headers.contains_key("host") && !parts.headers.contains_key("connection"));
}

#[tokio::test]
async fn those_that_set_out_at_once_end_up_on_one_connection() {
    let certificates = Certificates::new("IP:127.0.0.1");
    let (addr, seen) = http2(&certificates, Does::Answer(200, 2));
    let (site, url) = (site(&certificates), format!("https://{addr}/"));
    let attempts = futures_join((0..20).map(|_| site.send(&url, PATIENT))).await;
    assert!(attempts.iter().all(|attempt| attempt.failure.is_none()));
    assert_eq!(seen.requests.lock().unwrap().len(), 20);
    let before = seen.connections.load(Ordering::SeqCst);
    assert!(site.sender.connections() < before, "{} of {before} are kept", site.sender.connections());
    futures_join((0..20).map(|_| site.send(&url, PATIENT))).await;
    assert_eq!(seen.connections.load(Ordering::SeqCst), before, "none was opened anew");
}

/// Without a runtime's help: all are polled by this task.
async fn futures_join<T>(futures: impl Iterator<Item = impl Future<Output = T>>) -> Vec<T> {
    let mut pending: Vec<_> = futures.map(|future| (Box::pin(future), None)).collect();
    std::future::poll_fn(|cx| {
        for (future, done) in pending.iter_mut().filter(|(_, done)| done.is_none()) {
            if let std::task::Poll::Ready(value) = future.as_mut().poll(cx) {
                *done = Some(value);
            }
        }
        let all = pending.iter().all(|(_, done)| done.is_some());
        if all { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    pending.into_iter().filter_map(|(_, done)| done).collect()
}

#[tokio::test]
async fn an_answer_is_read_to_its_bound_and_the_connection_kept() {
    let certificates = Certificates::new("IP:127.0.0.1");
    let (addr, seen) = http2(&certificates, Does::Answer(500, 1 << 20));
    let (site, url) = (site(&certificates), format!("https://{addr}/"));
    for _ in 0..3 {
        let attempt = site.send(&url, PATIENT).await;
        assert_eq!((attempt.failure, attempt.answer.len()), (Some(AttemptFailure::Status), 4096));
        assert!(attempt.answer_bytes <= 32 * 1024);
    }
    assert_eq!(seen.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_large_message_waits_for_the_receivers_window() {
    let certificates = Certificates::new("IP:127.0.0.1");
    let (addr, seen) = http2(&certificates, Does::Answer(200, 0));
    let body: &'static [u8] = Box::leak(vec![b'y'; 1 << 20].into_boxed_slice());
    let attempt = site(&certificates).try_send(&format!("https://{addr}/"), body, PATIENT).await.unwrap();
    assert_eq!(attempt.failure, None);
    assert_eq!(seen.requests.lock().unwrap()[0].1, body);
}

#[tokio::test]
async fn what_a_receiver_does_not_answer_fails_and_is_not_asked_by_that_connection_again() {
    let certificates = Certificates::new("IP:127.0.0.1");
    let (addr, seen) = http2(&certificates, Does::Hang);
    let (site, url) = (site(&certificates), format!("https://{addr}/"));
    for connections in 1..=2 {
        assert_eq!(site.send(&url, SHORT).await.failure, Some(AttemptFailure::Timeout));
        assert_eq!(seen.connections.load(Ordering::SeqCst), connections);
    }
}

#[tokio::test]
async fn where_the_receiver_takes_no_more_at_a_time_another_connection_does() {
    let certificates = Certificates::new("IP:127.0.0.1");
    let (addr, seen) = http2(&certificates, Does::HangOneByOne);
    let (site, url) = (site(&certificates), format!("https://{addr}/"));
    assert_eq!(site.send(&url, PATIENT).await.failure, None);
    let came = || seen.requests.lock().unwrap().len();
    let second = async {
        while came() < 2 {
            tokio::task::yield_now().await;
        }
        let hanging = site.send(&url, PATIENT);
        let heard = async {
            while came() < 3 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            attempt = hanging => panic!("{attempt:?}"),
            () = heard => {}
        }
    };
    tokio::select! {
        attempt = site.send(&url, PATIENT) => panic!("it waited behind the first: {attempt:?}"),
        () = second => {}
    }
    assert_eq!(seen.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a_new_host_takes_the_place_of_a_connection_that_nobody_uses() {
    let certificates = Certificates::new("IP:127.0.0.1");
    let config = SenderConfig { connections_max: 1, ..SenderConfig::default() };
    let site = Site::with(config, Some(&certificates.authority()));
    let hosts = [http2(&certificates, Does::Answer(200, 2)), http2(&certificates, Does::Answer(200, 2))];
    for (addr, _) in hosts.iter().cycle().take(4) {
        assert_eq!(site.send(&format!("https://{addr}/"), PATIENT).await.failure, None);
        assert_eq!(site.sender.connections(), 1);
    }
}

#[tokio::test]
async fn a_reset_is_a_failure() {
    let certificates = Certificates::new("IP:127.0.0.1");
    let (addr, _) = http2(&certificates, Does::Reset(h2::Reason::INTERNAL_ERROR));
    let attempt = site(&certificates).send(&format!("https://{addr}/"), PATIENT).await;
    assert_eq!((attempt.status, attempt.failure), (None, Some(AttemptFailure::Closed)));
}

#[tokio::test]
async fn a_receiver_that_goes_away_is_met_again_on_a_new_connection() {
    let certificates = Certificates::new("IP:127.0.0.1");
    let (addr, seen) = http2(&certificates, Does::GoAway(1));
    let (site, url) = (site(&certificates), format!("https://{addr}/"));
    for _ in 0..3 {
        assert_eq!(site.send(&url, PATIENT).await.failure, None);
    }
    assert_eq!(seen.requests.lock().unwrap().len(), 3);
    assert!(seen.connections.load(Ordering::SeqCst) >= 2);
}
