//! `grove farm`.

mod backup;
mod mode;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use grove_client::wire::farm::{FarmImport, MissingComponent};
use grove_client::{Client, ExportQuery, ImportQuery};
use serde::Deserialize;

use crate::cli::failure::Hinted;
use crate::cli::output::Output;
use crate::cli::progress::Progress;

/// Bytes of the longest last line of an export.
const TAIL: usize = 64 << 10;

/// The farm as a whole
#[derive(Debug, Subcommand)]
pub(crate) enum Farm {
    /// Show whether the farm is in maintenance, or change that
    Mode(mode::Args),
    /// Write everything of the farm to a file; it holds keys of running jobs
    Export(Export),
    /// Replace everything of the farm by an export
    Import(Import),
    /// Copy everything of the farm into a folder; on the controller's machine, also while it runs
    Backup(backup::Args),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Export {
    /// Where to; - is stdout
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Also where the file exists
    #[arg(long)]
    force: bool,
    /// Also when the farm has lost components of plugins, which are then not in it
    #[arg(long)]
    incomplete: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Import {
    /// The export
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Only say what would change
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(farm: &Client, out: &Output, command: Farm) -> anyhow::Result<()> {
    match command {
        Farm::Mode(args) => mode::run(farm, out, args).await,
        Farm::Export(args) => export(farm, out, &args).await,
        Farm::Import(args) => import(farm, out, args).await,
        Farm::Backup(args) => backup::run(out, &args),
    }
}

/// The last line of an export.
#[derive(Deserialize)]
struct Trailer {
    end: bool,
    rows: std::collections::BTreeMap<String, u64>,
    components: u64,
    #[serde(default)]
    missing: Vec<MissingComponent>,
}

async fn export(farm: &Client, out: &Output, args: &Export) -> anyhow::Result<()> {
    let query = ExportQuery { incomplete: args.incomplete };
    if args.file == Path::new("-") {
        let mut stdout = out.raw("an export, which holds keys,")?;
        let trailer = receive(farm, out, &mut stdout, query).await?;
        stdout.flush()?;
        return whole(out, args, &trailer);
    }
    if args.file.exists() && !args.force {
        let what = format!("{} exists", args.file.display());
        return Err(Hinted::new(what, "name another file, or say --force").into());
    }
    let part = Part::new(&args.file)?;
    let mut file = part.open()?;
    let trailer = receive(farm, out, &mut file, query).await?;
    whole(out, args, &trailer)?;
    file.sync_all()
        .and_then(|()| part.rename(&args.file))
        .with_context(|| format!("failed to write {}", args.file.display()))?;
    let rows: u64 = trailer.rows.values().sum();
    let components = trailer.components;
    out.remark(&format!("{}: {rows} rows, {components} components", args.file.display()));
    Ok(())
}

/// What was lost while it was sent, or by a farm of an earlier version.
fn whole(out: &Output, args: &Export, trailer: &Trailer) -> anyhow::Result<()> {
    warn_of(out, &trailer.missing);
    if trailer.missing.is_empty() || args.incomplete {
        return Ok(());
    }
    let hint = "do what the warnings say, or say --incomplete";
    Err(Hinted::new("the export lacks components of plugins", hint).into())
}

/// What an export lacks is said to whoever makes it, and to whoever takes it in.
fn warn_of(out: &Output, missing: &[MissingComponent]) {
    for MissingComponent { plugin, version, digest } in missing {
        let short = digest.get(..12).unwrap_or(digest);
        out.warning(&format!(
            "the component of {plugin} {version} ({short}) is not in the export: the farm has lost it; install that version \
             again, or remove it with `grove plugin remove {plugin} {short}`, then export again"
        ));
    }
}

/// Writes all of it; only a whole one is none to be thrown away.
async fn receive(
    farm: &Client,
    out: &Output,
    to: &mut dyn Write,
    query: ExportQuery,
) -> anyhow::Result<Trailer> {
    // Lines for every MiB are nobody's.
    let mut progress = out.may_animate().then(|| Progress::new(out));
    let mut export = farm.export_farm(query).await?;
    let (mut tail, mut length) = (Vec::new(), 0_usize);
    while let Some(chunk) = export.chunk().await? {
        to.write_all(&chunk)?;
        length += chunk.len();
        tail.extend_from_slice(chunk.get(chunk.len().saturating_sub(TAIL)..).unwrap_or_default());
        tail.drain(..tail.len().saturating_sub(TAIL));
        if let Some(progress) = &mut progress {
            progress.say(format!("{} MiB", length >> 20));
        }
    }
    let last = tail.strip_suffix(b"\n").and_then(|tail| tail.rsplit(|byte| *byte == b'\n').next());
    match last.and_then(|last| serde_json::from_slice::<Trailer>(last).ok()) {
        Some(trailer) if trailer.end => Ok(trailer),
        _ => bail!("the export has no end: it is not whole"),
    }
}

/// A file in the making; gone unless it is renamed.
struct Part(PathBuf);

impl Part {
    fn new(file: &Path) -> anyhow::Result<Self> {
        let name = file.file_name().context("the export needs the name of a file")?;
        let mut name = name.to_owned();
        name.push(".part");
        Ok(Self(file.with_file_name(name)))
    }

    /// It holds keys: for its owner alone, also where an older one is in its place.
    fn open(&self) -> anyhow::Result<File> {
        let _ = fs::remove_file(&self.0);
        let mut options = OpenOptions::new();
        let file = options.write(true).create_new(true).mode(0o600).open(&self.0);
        file.with_context(|| format!("failed to make {}", self.0.display()))
    }

    fn rename(self, file: &Path) -> io::Result<()> {
        fs::rename(&self.0, file)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // Renamed, it is not there any more.
        let _ = fs::remove_file(&self.0);
    }
}

async fn import(farm: &Client, out: &Output, args: Import) -> anyhow::Result<()> {
    if !args.dry_run && !args.yes {
        if !io::stdin().is_terminal() {
            let what = format!("this replaces everything of the farm at {}", farm.base_url());
            return Err(Hinted::new(what, "say --yes if that is meant, or look first with --dry-run").into());
        }
        let query = ImportQuery { dry_run: true };
        let would = send(farm, out, &args.file, query).await?;
        out.remark(&changes(&would));
        if !agreed(&format!("Replace everything of the farm at {}? [y/N] ", farm.base_url()))? {
            bail!("nothing was changed");
        }
    }
    let query = ImportQuery { dry_run: args.dry_run };
    let done = send(farm, out, &args.file, query).await?;
    if out.is_json() {
        return Ok(out.json(&done)?);
    }
    let row = |(name, table): (&String, &grove_client::wire::farm::TableImport)| {
        [name.clone(), table.added.to_string(), table.removed.to_string(), table.changed.to_string()]
    };
    let rows = done.tables.iter().map(row).collect();
    out.table(["TABLE", "ADDED", "REMOVED", "CHANGED"], rows, "no tables")?;
    out.remark(&changes(&done));
    warn_of(out, &done.missing);
    Ok(())
}

async fn send(farm: &Client, out: &Output, path: &Path, query: ImportQuery) -> anyhow::Result<FarmImport> {
    let mut progress = out.may_animate().then(|| Progress::new(out));
    if let Some(progress) = &mut progress {
        progress.say(if query.dry_run { "comparing".to_owned() } else { "importing".to_owned() });
    }
    let file = tokio::fs::File::open(path).await;
    let file = file.with_context(|| format!("failed to open {}", path.display()))?;
    Ok(farm.import_farm(file, query).await?)
}

fn changes(import: &FarmImport) -> String {
    let sum = |count: fn(&grove_client::wire::farm::TableImport) -> u64| -> u64 {
        import.tables.values().map(count).sum()
    };
    let (added, removed) = (sum(|table| table.added), sum(|table| table.removed));
    let changed = sum(|table| table.changed);
    let ended = &import.ended;
    let verb = if import.dry_run { "would be" } else { "were" };
    format!(
        "{added} rows {verb} added, {removed} removed, {changed} changed; of what went on when it was made, {} tasks, {} \
         requests and {} workers {verb} ended",
        ended.tasks, ended.requests, ended.workers
    )
}

fn agreed(question: &str) -> io::Result<bool> {
    let mut err = io::stderr().lock();
    write!(err, "{question}")?;
    err.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
