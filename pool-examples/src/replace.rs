//! A file that is replaced as a whole or not at all.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::sys;

/// Writes the file `path` by `write`: into a new file beside it, which takes its place at the end.
///
/// A file that was there before stays as it is until then, and for good if anything fails. A link stays; what it leads to is replaced.
///
/// # Errors
///
/// Those of `write` and of the system, with the cause in words.
pub fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    // What does not exist yet has no canonical name, but it is no link either.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let beside = beside(&path)?;
    let written = File::create_new(&beside).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.flush()?;
        fs::rename(&beside, &path)
    });
    // Not if it is there already: then it is somebody else's.
    if let Err(error) = &written
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        drop(fs::remove_file(&beside));
    }
    written
}

/// Whether both names lead to one file, by whatever links. A name that leads nowhere is no other's.
pub fn is_same_file(one: &Path, other: &Path) -> bool {
    sys::is_same_file(one, other).unwrap_or(false)
}

/// A hidden name in the same folder, of this process.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.part", std::process::id()));
    Ok(path.with_file_name(hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<OsString> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<OsString> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_write_that_fails_keeps_the_old_file_and_leaves_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.png");
        replace(&path, |file| file.write_all(b"old")).unwrap();
        let error = replace(&path, |file| {
            file.write_all(&[1; 100_000])?;
            Err(io::Error::other("no space"))
        });
        assert_eq!(error.unwrap_err().to_string(), "no space");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(folder.path()), ["a.png"]);
        replace(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(folder.path()), ["a.png"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (file, link) = (folder.path().join("a"), folder.path().join("b"));
        fs::write(&file, "old").unwrap();
        std::os::unix::fs::symlink("a", &link).unwrap();
        assert!(is_same_file(&file, &link));
        replace(&link, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());

        let other = folder.path().join("c");
        assert!(!is_same_file(&file, &other));
        fs::hard_link(&file, &other).unwrap();
        assert!(is_same_file(&file, &other));
    }
}
