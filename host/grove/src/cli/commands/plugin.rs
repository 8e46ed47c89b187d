//! `grove plugin`.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use grove_client::Client;
use grove_client::wire::limits;
use grove_client::wire::plugin::{
    Plugin as Shown, PluginKind, PluginState, PluginVersion, Probation, VersionChoice,
};

use crate::cli::args::wire_word;
use crate::cli::clock;
use crate::cli::failure::Hinted;
use crate::cli::human::{or_dash, relative, short};
use crate::cli::output::Output;

/// Name of a manifest.
const MANIFEST: &str = "plugin.toml";

/// Policies, drivers and inspectors
#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Show the plugins that the farm knows
    List,
    /// Show one plugin and its versions
    Show(Name),
    /// Take a plugin in, or another version of one, and use it
    Install(Install),
    /// Use it; a policy becomes the farm's
    Enable(Name),
    /// Use nothing of it for new work
    Disable(Name),
    /// Use another version of it
    Swap(Swap),
    /// Take a version of it, or all, out of the farm
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
pub(crate) struct Name {
    /// Name of the plugin
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Install {
    /// Folder with a plugin.toml and the component that it names, or that plugin.toml
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// Only take it in: what is used now stays in use
    #[arg(long)]
    no_activate: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Swap {
    #[command(flatten)]
    name: Name,
    /// Which version: its digest, 6 characters or more of that, or its number
    #[arg(value_name = "VERSION")]
    to: VersionChoice,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Remove {
    #[command(flatten)]
    name: Name,
    /// Which version: its digest, 6 characters or more of that, or its number [default: all]
    #[arg(value_name = "VERSION")]
    which: Option<VersionChoice>,
}

pub(crate) async fn run(farm: &Client, out: &Output, command: Plugin) -> anyhow::Result<()> {
    match command {
        Plugin::List => list(farm, out).await,
        Plugin::Show(args) => show(farm, out, &args).await,
        Plugin::Install(args) => install(farm, out, &args).await,
        Plugin::Enable(args) => changed(out, &farm.enable_plugin(&args.name, None).await?),
        Plugin::Disable(args) => changed(out, &farm.disable_plugin(&args.name, None).await?),
        Plugin::Swap(args) => changed(out, &farm.swap_plugin(&args.name.name, args.to, None).await?),
        Plugin::Remove(args) => {
            farm.remove_plugin(&args.name.name, args.which.as_ref(), None).await?;
            let version = args.which.map_or_else(String::new, |version| format!(" {version}"));
            out.remark(&format!("plugin {}{version} is removed", args.name.name));
            Ok(())
        }
    }
}

async fn list(farm: &Client, out: &Output) -> anyhow::Result<()> {
    let plugins = farm.plugins().all().await?;
    if out.is_json() {
        return Ok(out.items(&plugins)?);
    }
    let row = |plugin: &Shown| {
        [
            plugin.name.clone(),
            wire_word(&plugin.kind),
            wire_word(&plugin.state),
            plugin.version.clone(),
            or_dash(plugin.digest.as_deref().map(short)),
            plugin.versions.len().max(1).to_string(),
            or_dash(plugin.trouble.as_deref().or(Some(&plugin.summary))),
        ]
    };
    let rows = plugins.iter().map(row).collect();
    let header = ["NAME", "KIND", "STATE", "VERSION", "DIGEST", "VERSIONS", "SUMMARY"];
    Ok(out.table(header, rows, "no plugins")?)
}

async fn show(farm: &Client, out: &Output, args: &Name) -> anyhow::Result<()> {
    let plugin = farm.plugin(&args.name).await?;
    if out.is_json() {
        return Ok(out.json(&plugin)?);
    }
    let now = clock::now();
    let previous = plugin.previous.as_ref();
    out.fields([
        ("plugin", plugin.name.clone()),
        ("kind", wire_word(&plugin.kind)),
        ("state", wire_word(&plugin.state)),
        ("since", relative(plugin.since, now)),
        ("version", label(&plugin.version, plugin.digest.as_deref())),
        ("probation", plugin.probation.as_ref().map(probation).unwrap_or_default()),
        ("before", previous.map(|it| label(&it.version, Some(&it.digest))).unwrap_or_default()),
        ("trouble", plugin.trouble.clone().unwrap_or_default()),
        ("summary", plugin.summary.clone()),
        ("world", plugin.world.clone()),
        ("wants", plugin.wants.join("\n")),
        ("grants", plugin.grants.join("\n")),
    ])?;
    if plugin.versions.is_empty() {
        return Ok(());
    }
    out.line("")?;
    let row = |version: &PluginVersion| {
        [
            version.version.clone(),
            short(&version.digest).to_owned(),
            if version.active { "active" } else { "-" }.to_owned(),
            if version.pinned_workers == 0 { "-".to_owned() } else { version.pinned_workers.to_string() },
            wire_word(&version.origin).replace('_', " "),
            relative(version.installed, now),
            or_dash(version.trouble.as_deref()),
        ]
    };
    let rows = plugin.versions.iter().map(row).collect();
    let header = ["VERSION", "DIGEST", "USE", "PINNED", "ORIGIN", "INSTALLED", "TROUBLE"];
    out.table(header, rows, "no versions")?;
    if let Some(remark) = same_number(&plugin) {
        out.remark(&remark);
    }
    Ok(())
}

fn probation(probation: &Probation) -> String {
    let until = relative(probation.until, clock::now());
    format!("ends {until}: {} of {} failed so far", probation.failures, probation.outcomes)
}

/// A version for people: its number and the beginning of its digest.
fn label(version: &str, digest: Option<&str>) -> String {
    digest.map_or_else(|| version.to_owned(), |digest| format!("{version} ({})", short(digest)))
}

async fn install(farm: &Client, out: &Output, args: &Install) -> anyhow::Result<()> {
    let (manifest, component) = read(&args.path)?;
    let (plugin, new) = farm.install_plugin(manifest, component, !args.no_activate, None).await?;
    if out.is_json() {
        return Ok(out.json(&plugin)?);
    }
    if !new {
        out.remark("this version was there");
    }
    if let Some(remark) = same_number(&plugin) {
        out.remark(&remark);
    }
    out.line(&sentence(&plugin))?;
    if args.no_activate {
        let newest = plugin.versions.first().filter(|version| new && !version.active);
        if let Some(version) = newest {
            let (name, digest) = (&plugin.name, short(&version.digest));
            out.remark(&format!("`grove plugin swap {name} {digest}` uses the new version"));
        }
    }
    Ok(())
}

/// That several components call themselves the same version, which then only digests tell apart.
fn same_number(plugin: &Shown) -> Option<String> {
    let number = |version: &&PluginVersion| version.version == plugin.version;
    let digests: Vec<_> =
        plugin.versions.iter().filter(number).map(|version| short(&version.digest)).collect();
    (digests.len() > 1).then(|| {
        let (name, version) = (&plugin.name, &plugin.version);
        format!(
            "{} different components are {name} {version}: {}; name them by digest, and give the next one a number of its own",
            digests.len(),
            digests.join(", ")
        )
    })
}

/// The manifest's text, and the component that it names.
fn read(path: &Path) -> anyhow::Result<(String, Vec<u8>)> {
    let file = if path.is_dir() { path.join(MANIFEST) } else { path.to_owned() };
    let shown = file.display();
    let text = std::fs::read_to_string(&file).map_err(|error| {
        let hint = "a plugin is a folder with a plugin.toml and the component that it names";
        Hinted::new(format!("cannot read {shown}: {error}"), hint)
    })?;
    let broken = |what: &str| Hinted::new(format!("{shown}: {what}"), "correct the manifest");
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| broken(error.message()))?;
    let name = table.get("plugin").and_then(|plugin| plugin.get("component")).and_then(toml::Value::as_str);
    let name = name.ok_or_else(|| broken("plugin.component does not name a file"))?;
    let component = file.with_file_name(name);
    let wrong = |what: String, hint: &str| Hinted::new(format!("{}: {what}", component.display()), hint);
    let bytes = std::fs::read(&component).map_err(|error| {
        wrong(error.to_string(), "build the component, and put it where its plugin.toml says")
    })?;
    if bytes.len() > limits::COMPONENT {
        let most = limits::COMPONENT >> 20;
        let what = format!("it is larger than {most} MiB");
        return Err(wrong(what, "build it for release, and without debug information").into());
    }
    Ok((text, bytes))
}

fn changed(out: &Output, plugin: &Shown) -> anyhow::Result<()> {
    if out.is_json() {
        return Ok(out.json(plugin)?);
    }
    Ok(out.line(&sentence(plugin))?)
}

fn sentence(plugin: &Shown) -> String {
    let (kind, name) = (wire_word(&plugin.kind), &plugin.name);
    let version = label(&plugin.version, plugin.digest.as_deref());
    let state = match (plugin.state, plugin.kind) {
        (PluginState::Active, PluginKind::Policy) => "decides".to_owned(),
        (PluginState::Active, _) => "is in use".to_owned(),
        (PluginState::Disabled, _) => "is not in use".to_owned(),
        (PluginState::Loading, _) => "is being loaded".to_owned(),
        (PluginState::Failed, _) => {
            let trouble = plugin.trouble.as_deref();
            format!("failed{}", trouble.map(|trouble| format!(": {trouble}")).unwrap_or_default())
        }
    };
    let until = plugin.probation.map(|probation| relative(probation.until, clock::now()));
    let probation = until.map_or_else(String::new, |until| format!("; its probation ends {until}"));
    format!("{kind} {name} {version} {state}{probation}")
}
