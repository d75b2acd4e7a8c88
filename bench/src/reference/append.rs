//! The floor under every durable log: append a batch to a file, `fdatasync`.

use std::{fs::File, io::Write as _, path::Path};

/// A file that only grows.
#[derive(Debug)]
pub(crate) struct Append(File);

impl Append {
    pub(crate) fn create(folder: &Path) -> anyhow::Result<Self> {
        Ok(Self(File::create(folder.join("append"))?))
    }

    /// Writes `count` records of `record` and returns once they are on stable storage.
    pub(crate) fn commit(&mut self, record: &[u8], count: usize) -> anyhow::Result<()> {
        self.0.write_all(&record.repeat(count))?;
        self.0.sync_data()?;
        Ok(())
    }
}
