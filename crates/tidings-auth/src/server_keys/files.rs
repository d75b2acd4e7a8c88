//! Private files that appear whole or not at all, and are never overwritten.

use std::{
    fmt::Write as _,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
};

use tidings_core::Entropy;
use zeroize::Zeroizing;

use crate::error::KeysError;

/// Bytes of a key file: what is longer is something else.
const FILE_MAX: u64 = 64 * 1024;

/// Makes the folder, and those above it, readable to this user alone. One that exists stays as it is:
/// every file in it protects itself.
pub(super) fn make_folder(path: &Path) -> Result<(), KeysError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| KeysError::Io { path: path.to_owned(), source })
}

/// The text of a key file, or `None` where there is none. Refuses one that others may read.
pub(super) fn read(path: &Path) -> Result<Option<Zeroizing<String>>, KeysError> {
    let io = |source| KeysError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(io(error)),
    };
    // Of the open file, so that nobody can exchange it between the look and the reading.
    let metadata = file.metadata().map_err(io)?;
    if !metadata.is_file() {
        return Err(io(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file")));
    }
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(KeysError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::with_capacity(metadata.len().min(FILE_MAX) as usize + 1));
    file.take(FILE_MAX).read_to_string(&mut text).map_err(io)?;
    Ok(Some(text))
}

/// The text of a key file; where there is none it is made with `new`. Of several that make it at once
/// one wins and all read what it wrote.
pub(super) fn read_or_create(
    path: &Path,
    entropy: &dyn Entropy,
    new: impl FnOnce() -> Zeroizing<String>,
) -> Result<Zeroizing<String>, KeysError> {
    if let Some(text) = read(path)? {
        return Ok(text);
    }
    match create(path, entropy, &new()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(KeysError::Io { path: path.to_owned(), source }),
    }
    let missing = || KeysError::Io { path: path.to_owned(), source: io::ErrorKind::NotFound.into() };
    read(path)?.ok_or_else(missing)
}

/// Writes beside the place and then links into it, which fails where something is there already.
fn create(path: &Path, entropy: &dyn Entropy, text: &str) -> io::Result<()> {
    let mut random = [0; 8];
    entropy.fill(&mut random);
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    let mut suffix = String::from(".new-");
    for byte in random {
        write!(suffix, "{byte:02x}").expect("a String takes every write");
    }
    name.push(suffix);
    let draft = path.with_file_name(name);
    let written = write_private(&draft, text).and_then(|()| fs::hard_link(&draft, path));
    let removed = fs::remove_file(&draft);
    written.and(removed)?;
    // The folder too, or a power cut may take the name away again.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
