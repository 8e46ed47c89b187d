//! `grove artifact`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use grove_client::wire::artifact::Artifact as Shown;
use grove_client::{ArtifactsQuery, Body, Client, Download};
use sha2::{Digest, Sha256};

use crate::cli::clock;
use crate::cli::failure::Hinted;
use crate::cli::human::relative;
use crate::cli::output::Output;

/// Files for boards, like images to flash
#[derive(Debug, Subcommand)]
pub(crate) enum Artifact {
    /// Bring a file
    Put(Put),
    /// Read one, into a file or to stdout
    Get(Get),
    /// Show what there is
    List(List),
    /// Have the farm read what it keeps, and hold it against the digests
    Verify(Verify),
    /// Remove one
    Remove(Name),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Name {
    /// Group that may use it
    #[arg(value_name = "GROUP")]
    group: String,
    /// Its name in the group
    #[arg(value_name = "KEY")]
    key: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Put {
    #[command(flatten)]
    name: Name,
    /// The file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Get {
    #[command(flatten)]
    name: Name,
    /// Where to; without it, to stdout
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Verify {
    /// Only those of this group
    #[arg(value_name = "GROUP")]
    group: Option<String>,
    /// Only this one of the group
    #[arg(value_name = "KEY")]
    key: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only those of this group
    #[arg(long, value_name = "GROUP")]
    group: Option<String>,
}

pub(crate) async fn run(farm: &Client, out: &Output, command: Artifact) -> anyhow::Result<()> {
    match command {
        Artifact::Put(args) => put(farm, out, &args).await,
        Artifact::Get(args) => get(farm, out, &args).await,
        Artifact::List(args) => list(farm, out, args).await,
        Artifact::Verify(args) => verify(farm, out, args).await,
        Artifact::Remove(name) => remove(farm, out, &name).await,
    }
}

async fn put(farm: &Client, out: &Output, args: &Put) -> anyhow::Result<()> {
    let Put { name: Name { group, key }, file } = args;
    let failed = || format!("failed to read {}", file.display());
    let open = File::open(file).with_context(failed)?;
    let about = open.metadata().with_context(failed)?;
    if !about.is_file() {
        return Err(Hinted::new(
            format!("{} is no file", file.display()),
            "give a file, not a folder or a pipe",
        )
        .into());
    }
    let body = Body::from(tokio::fs::File::from_std(open));
    let artifact = farm.put_artifact(group, key, about.len(), body, None).await?;
    if out.is_json() {
        return Ok(out.json(&artifact)?);
    }
    Ok(out.line(&format!(
        "{} {}: {} bytes, sha256 {}",
        artifact.group, artifact.key, artifact.size, artifact.sha256
    ))?)
}

async fn get(farm: &Client, out: &Output, args: &Get) -> anyhow::Result<()> {
    let Get { name: Name { group, key }, file } = args;
    let Some(file) = file else {
        let stdout = out.raw("an artifact")?;
        let mut download = farm.get_artifact(group, key).await?;
        copy(&mut download, &mut stdout.lock()).await?;
        return Ok(());
    };
    let mut download = farm.get_artifact(group, key).await?;
    let failed = || format!("failed to write {}", file.display());
    // Beside it, so that nobody sees half of it.
    let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut half = tempfile::NamedTempFile::new_in(folder).with_context(failed)?;
    let size = copy(&mut download, &mut half).await?;
    half.persist(file).with_context(failed)?;
    out.remark(&format!("{size} bytes in {}", file.display()));
    Ok(())
}

/// Copies all of it, and holds it against what the farm says it is.
async fn copy(download: &mut Download, to: &mut impl Write) -> anyhow::Result<u64> {
    let expected = download.sha256().map(str::to_owned);
    let mut hash = Sha256::new();
    let mut size = 0;
    while let Some(bytes) = download.next().await? {
        let bytes = bytes.as_ref();
        hash.update(bytes);
        size += bytes.len() as u64;
        to.write_all(bytes)?;
    }
    to.flush()?;
    let came: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    if expected.is_some_and(|expected| expected != came) {
        return Err(Hinted::new("what came is damaged: its sha256 is another one", "get it again").into());
    }
    Ok(size)
}

async fn list(farm: &Client, out: &Output, args: List) -> anyhow::Result<()> {
    let artifacts = farm.artifacts(&ArtifactsQuery { group: args.group }).all().await?;
    if out.is_json() {
        return Ok(out.items(&artifacts)?);
    }
    let now = clock::now();
    let row = |artifact: &Shown| {
        let digest: String = artifact.sha256.chars().take(12).collect();
        let (created, used) = (relative(artifact.created, now), relative(artifact.used, now));
        [artifact.group.clone(), artifact.key.clone(), artifact.size.to_string(), digest, created, used]
    };
    let rows = artifacts.iter().map(row).collect();
    Ok(out.table(["GROUP", "KEY", "BYTES", "SHA256", "CAME", "USED"], rows, "no artifacts")?)
}

/// One after the other: each is read to its end.
async fn verify(farm: &Client, out: &Output, args: Verify) -> anyhow::Result<()> {
    let mut verified = Vec::new();
    match (&args.group, &args.key) {
        (Some(group), Some(key)) => verified.push(farm.verify_artifact(group, key).await?),
        _ => {
            for artifact in farm.artifacts(&ArtifactsQuery { group: args.group }).all().await? {
                match farm.verify_artifact(&artifact.group, &artifact.key).await {
                    Ok(artifact) => verified.push(artifact),
                    // Removed meanwhile.
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }
    let damaged = verified.iter().filter(|artifact| artifact.damage.is_some()).count();
    if out.is_json() {
        out.items(&verified)?;
    } else {
        let row = |artifact: &Shown| {
            let state = artifact.damage.clone().unwrap_or_else(|| "whole".to_owned());
            [artifact.group.clone(), artifact.key.clone(), artifact.size.to_string(), state]
        };
        out.table(["GROUP", "KEY", "BYTES", "STATE"], verified.iter().map(row).collect(), "no artifacts")?;
    }
    if damaged == 0 {
        return Ok(());
    }
    let hint = "bring the same files again with `grove artifact put`: that mends them";
    Err(Hinted::new(format!("{damaged} artifacts are damaged"), hint).into())
}

async fn remove(farm: &Client, out: &Output, name: &Name) -> anyhow::Result<()> {
    farm.remove_artifact(&name.group, &name.key, None).await?;
    if !out.is_json() {
        out.line(&format!("{} {} is removed", name.group, name.key))?;
    }
    Ok(())
}
