use std::path::PathBuf;

use anyhow::Context as _;
use tidings_core::Cursor;

/// A cursor that outlives the process. It is written after what it stands for was printed: after a
/// crash an event may be printed again, never left out.
#[derive(Debug)]
pub(super) struct CursorFile {
    path: PathBuf,
    cursor: Option<Cursor>,
    written: Option<Cursor>,
}

impl CursorFile {
    /// An absent or empty file is no cursor yet; anything else must be one.
    pub(super) fn open(path: PathBuf) -> anyhow::Result<Self> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error).with_context(|| format!("reading {}", path.display())),
        };
        let cursor = match text.trim() {
            "" => None,
            text => {
                Some(text.parse::<Cursor>().with_context(|| format!("{} holds no cursor", path.display()))?)
            }
        };
        Ok(Self { path, written: cursor.clone(), cursor })
    }

    pub(super) const fn cursor(&self) -> Option<&Cursor> {
        self.cursor.as_ref()
    }

    pub(super) fn set(&mut self, cursor: &Cursor) {
        self.cursor = Some(cursor.clone());
    }

    /// Whole or not at all; nothing where nothing changed.
    pub(super) fn write(&mut self) -> anyhow::Result<()> {
        if self.cursor == self.written {
            return Ok(());
        }
        if let Some(cursor) = &self.cursor {
            let mut draft = self.path.clone().into_os_string();
            draft.push(".new");
            std::fs::write(&draft, format!("{cursor}\n"))
                .and_then(|()| std::fs::rename(&draft, &self.path))
                .with_context(|| format!("writing {}", self.path.display()))?;
        }
        self.written.clone_from(&self.cursor);
        Ok(())
    }
}
