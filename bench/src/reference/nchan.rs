use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};

use crate::{child::Child, load::Processes};

const MODULE: &str = "/usr/lib/nginx/modules/ngx_nchan_module.so";

/// A private nginx with nchan, in a folder and on a port of its own.
#[derive(Debug)]
pub(crate) struct Nchan {
    child: Child,
    pub(crate) addr: SocketAddr,
}

impl Nchan {
    /// Starts it with so many worker processes; Debian's default is one per core.
    pub(crate) fn start(folder: &Path, workers: usize) -> anyhow::Result<Self> {
        if !Path::new(MODULE).exists() {
            bail!("{MODULE} is missing: apt-get install nginx libnginx-mod-nchan");
        }
        std::fs::create_dir_all(folder)?;
        // Nginx cannot tell which port it was given, so one is taken and let go.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let conf = folder.join("nginx.conf");
        std::fs::write(&conf, configuration(folder, port, workers))?;
        let mut command = std::process::Command::new("nginx");
        command.arg("-p").arg(folder).arg("-c").arg(&conf);
        let child = Child::spawn(&mut command, &folder.join("nginx.out")).context("starting nginx")?;
        let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let deadline = Instant::now() + Duration::from_secs(10);
        while TcpStream::connect(addr).is_err() || child.descendants()?.len() < workers {
            if Instant::now() > deadline {
                bail!("nginx did not start:\n{}", std::fs::read_to_string(folder.join("nginx.out"))?);
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
        Ok(Self { child, addr })
    }

    /// The master and its workers.
    pub(crate) fn processes(&self) -> anyhow::Result<Processes> {
        let mut all = self.child.descendants()?;
        all.push(self.child.pid());
        Ok(Processes::of(all))
    }
}

fn configuration(folder: &Path, port: u16, workers: usize) -> String {
    let folder = folder.display();
    format!(
        "load_module {MODULE};
user root;
worker_processes {workers};
worker_rlimit_nofile 20000;
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 16000; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  tcp_nodelay on;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  nchan_shared_memory_size 512m;
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location = /publish {{
      nchan_publisher http;
      nchan_channel_id bench;
      nchan_message_buffer_length 8192;
      nchan_message_timeout 1h;
    }}
    location ~ ^/(ws|events)$ {{
      nchan_subscriber websocket eventsource;
      nchan_channel_id bench;
      nchan_subscriber_first_message newest;
    }}
  }}
}}
"
    )
}
