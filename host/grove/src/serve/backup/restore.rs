//! Making a farm of a backup, in a folder that holds none: whole, or not at all.
//!
//! Everything is first put together in a folder of its own below the state folder; then it is moved to its places, the
//! store last. Until that is there nothing starts, and the next restore throws away what this one left.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use anyhow::{Context, bail};
use grove_control::clock::{Clock, SystemClock};
use grove_store::{About, DATABASE, RESTORING};

use super::{Entry, MANIFEST, Manifest, OBJECTS, PLUGINS, SECRETS, copy, look};

/// Where the store is made.
const STORE: &str = "store";
/// What may be in the state folder before: nothing of it is a farm.
const HARMLESS: [&str; 4] = ["cache", "grove.lock", "lost+found", RESTORING];
/// Most problems that are told at once.
const TOLD: usize = 20;

/// Makes the farm in the folder `state` of the backup in the folder `from`.
pub(crate) fn restore(from: &Path, state: &Path) -> anyhow::Result<()> {
    let manifest = Manifest::read(from)?;
    check(from, &manifest)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state)
        .with_context(|| format!("failed to make the state folder {}", state.display()))?;
    // Nobody begins a farm here meanwhile.
    let _lock = grove_store::lock(state)?;
    let part = state.join(RESTORING);
    let failed = || format!("failed to restore into {}", state.display());
    if !state.join(DATABASE).exists() {
        clear(state, &part).with_context(failed)?;
    }
    holds_no_farm(state, &manifest)?;
    let put = put_together(from, &part, &manifest).and_then(|settled| {
        move_in(state, &part).with_context(failed)?;
        Ok(settled)
    });
    let settled = match put {
        Ok(settled) => settled,
        Err(error) => {
            if !state.join(DATABASE).exists()
                && let Err(error) = clear(state, &part)
            {
                tracing::warn!(%error, "what the restore left could not be removed");
            }
            return Err(error);
        }
    };
    let lost = if manifest.lost.is_empty() {
        String::new()
    } else {
        format!("; it lacks {}", manifest.lost.join(", "))
    };
    tracing::info!(
        "restored {} from the backup of {}: {} files{lost}. It is in maintenance: look at it, then `grove farm mode normal`. Of \
         what went on when it was made, {} tasks, {} requests and {} workers were ended",
        state.display(),
        manifest.created,
        manifest.files.len(),
        settled.tasks,
        settled.requests,
        settled.workers
    );
    if !manifest.secrets {
        tracing::warn!("the backup holds no secrets: put them into {}", state.join(SECRETS).display());
    }
    Ok(())
}

/// Every file is there, and is what it was: each that is not is told.
fn check(from: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for Entry { path, size, sha256 } in &manifest.files {
        let problem = match look(&from.join(path)) {
            Ok((found, digest)) if (found, &digest) == (*size, sha256) => continue,
            Ok((found, _)) if found != *size => {
                format!("{path} is damaged: it has {found} bytes instead of {size}")
            }
            Ok(_) => format!("{path} is damaged: its SHA-256 is another one"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => format!("{path} is missing"),
            Err(error) => format!("{path} cannot be read: {error}"),
        };
        problems.push(problem);
    }
    if problems.is_empty() {
        return Ok(());
    }
    let more = problems.len().saturating_sub(TOLD);
    let mut told = problems.into_iter().take(TOLD).collect::<Vec<_>>().join("; ");
    if more > 0 {
        told += &format!("; and {more} more");
    }
    bail!("the backup {} is not whole: {told}. Take another backup; nothing was restored", from.display())
}

fn holds_no_farm(state: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let failed = || format!("failed to read {}", state.display());
    let entries = fs::read_dir(state).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    let mut entries = entries.with_context(failed)?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        let ours = name == SECRETS && !manifest.secrets;
        let empty = || fs::read_dir(entry.path()).is_ok_and(|mut entries| entries.next().is_none());
        let lost = name == DATABASE && entry.metadata().is_ok_and(|about| about.len() == 0);
        if ours || lost || HARMLESS.iter().any(|harmless| name == *harmless) || empty() {
            continue;
        }
        bail!(
            "{} holds {} already: restore into an empty folder; to go on with the farm that is there, leave out --restore",
            state.display(),
            name.display()
        );
    }
    Ok(())
}

/// Throws away what a restore left that was broken off: its own folder, and what it had moved out of that.
fn clear(state: &Path, part: &Path) -> anyhow::Result<()> {
    if !part.exists() {
        return Ok(());
    }
    if let Ok(manifest) = Manifest::read(part) {
        for entry in manifest.files.iter().filter(|entry| entry.path != DATABASE) {
            match fs::remove_file(state.join(&entry.path)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        for folder in [PLUGINS, SECRETS, OBJECTS] {
            remove_empty(&state.join(folder));
        }
    }
    Ok(fs::remove_dir_all(part)?)
}

/// Removes a folder in which there are nothing but folders.
fn remove_empty(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        remove_empty(&entry.path());
    }
    // One that holds something stays.
    let _ = fs::remove_dir(folder);
}

fn put_together(from: &Path, part: &Path, manifest: &Manifest) -> anyhow::Result<grove_store::Settled> {
    let failed = || format!("failed to write into {}", part.display());
    DirBuilder::new().mode(0o700).create(part).with_context(failed)?;
    // First of all: whoever finds this folder knows what may have been moved out of it.
    manifest.write(part).with_context(failed)?;
    let now = SystemClock.now();
    let about = About {
        created: manifest.created.parse().with_context(|| format!("{MANIFEST} names no instant"))?,
        version: manifest.version.clone(),
    };
    for entry in &manifest.files {
        let path = if entry.path == DATABASE { "copy.db" } else { &entry.path };
        let file = File::open(from.join(&entry.path));
        let copied = file.and_then(|mut file| copy(&mut file, part, path));
        let copied = copied.with_context(|| format!("failed to copy {}", entry.path))?;
        if (copied.size, &copied.sha256) != (entry.size, &entry.sha256) {
            bail!("{} was changed while it was read", entry.path);
        }
    }
    let copy = part.join("copy.db");
    let settled = grove_store::restore(&copy, &part.join(STORE), &about, now)
        .with_context(|| format!("no farm can be made of {}", from.join(DATABASE).display()))?;
    Ok(settled)
}

/// Moves everything to its place, the store last: with it the farm is there.
fn move_in(state: &Path, part: &Path) -> io::Result<()> {
    for folder in [PLUGINS, SECRETS, OBJECTS] {
        let from = part.join(folder);
        if from.exists() {
            // In the place of an empty one.
            fs::rename(&from, state.join(folder))?;
        }
    }
    File::open(state)?.sync_all()?;
    fs::rename(part.join(STORE).join(DATABASE), state.join(DATABASE))?;
    File::open(state)?.sync_all()?;
    fs::remove_dir_all(part)
}
