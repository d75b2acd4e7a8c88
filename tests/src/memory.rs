//! A server's memory over time.

use std::time::Instant;

use crate::Server;

/// One look after another.
#[derive(Debug)]
pub struct Memory {
    start: Instant,
    /// Seconds, bytes.
    looks: Vec<(f64, f64)>,
}

impl Default for Memory {
    fn default() -> Self {
        Self { start: Instant::now(), looks: Vec::new() }
    }
}

impl Memory {
    pub fn look(&mut self, server: &Server) {
        self.looks.push((self.start.elapsed().as_secs_f64(), server.resident() as f64));
    }

    /// Bytes at the last look.
    pub fn last(&self) -> f64 {
        self.looks.last().map_or(0.0, |(_, bytes)| *bytes)
    }

    /// By how many bytes an hour it grew over the last half of the looks, by least squares.
    pub fn slope(&self) -> f64 {
        let last = &self.looks[self.looks.len() / 2..];
        let count = last.len() as f64;
        let mean = |of: fn(&(f64, f64)) -> f64| last.iter().map(of).sum::<f64>() / count;
        let (time, bytes) = (mean(|one| one.0), mean(|one| one.1));
        let (over, under) = last.iter().fold((0.0, 0.0), |(over, under), (t, b)| {
            ((t - time).mul_add(b - bytes, over), (t - time).mul_add(t - time, under))
        });
        if under > 0.0 { over / under * 3_600.0 } else { 0.0 }
    }
}
