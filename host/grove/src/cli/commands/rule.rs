//! `grove rule`.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Subcommand;
use grove_client::Client;
use grove_client::wire::Uuid;
use grove_client::wire::rule::{
    Action, AddRule, Change, Condition, Multiple, Rule as Shown, Source, TestRule, Trial, Tried,
};
use serde::Deserialize;

use crate::cli::args::{WorkerId, wire_word};
use crate::cli::human::or_dash;
use crate::cli::output::Output;

/// What is concluded from the inventories of boards
#[derive(Debug, Subcommand)]
pub(crate) enum Rule {
    /// Add rules: they act after those that are there; prints their UUIDs
    Add(File),
    /// Show the rules, in the order in which they act
    List,
    /// Show what a rule would do with what is stored of a worker, and why
    Test(Test),
    /// Remove a rule; what it found stays until the next introspection
    Remove(Remove),
}

#[derive(Debug, clap::Args)]
pub(crate) struct File {
    /// JSON: a rule, or a list of rules; - = stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(crate) struct Test {
    #[command(flatten)]
    file: File,
    #[command(flatten)]
    id: WorkerId,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(false))]
pub(crate) struct Remove {
    /// UUID of the rule
    #[arg(value_name = "RULE", group = "what")]
    rule: Option<Uuid>,
    /// Every rule
    #[arg(long, group = "what")]
    all: bool,
}

pub(crate) async fn run(farm: &Client, out: &Output, command: Rule) -> anyhow::Result<()> {
    match command {
        Rule::Add(file) => add(farm, out, &file).await,
        Rule::List => list(farm, out).await,
        Rule::Test(args) => test(farm, out, &args).await,
        Rule::Remove(Remove { rule: Some(rule), .. }) => {
            farm.remove_rule(rule, None).await?;
            out.remark(&format!("rule {rule} is removed"));
            Ok(())
        }
        Rule::Remove(Remove { rule: None, .. }) => {
            farm.remove_rules().await?;
            out.remark("every rule is removed");
            Ok(())
        }
    }
}

async fn add(farm: &Client, out: &Output, file: &File) -> anyhow::Result<()> {
    let mut added = Vec::new();
    for (place, rule) in read(&file.file)?.iter().enumerate() {
        let rule = farm.add_rule(rule).await.with_context(|| format!("rule {} was not added", place + 1))?;
        if !out.is_json() {
            out.line(&rule.id.to_string())?;
        }
        added.push(rule);
    }
    match added.as_slice() {
        [rule] if out.is_json() => out.json(rule)?,
        rules if out.is_json() => out.items(rules)?,
        rules => {
            let rules = if rules.len() == 1 { "1 rule is" } else { &format!("{} rules are", rules.len()) };
            out.remark(&format!(
                "{rules} there from the next introspection on; `grove introspect reapply --all` applies to what is stored"
            ));
        }
    }
    Ok(())
}

async fn list(farm: &Client, out: &Output) -> anyhow::Result<()> {
    let rules = farm.rules().all().await?;
    if out.is_json() {
        return Ok(out.items(&rules)?);
    }
    let row = |rule: &Shown| {
        [
            rule.id.to_string(),
            or_dash(rule.scope.as_deref()),
            or_dash(Some(&lines(&rule.conditions, condition))),
            lines(&rule.actions, action),
            or_dash(Some(&rule.description)),
        ]
    };
    let rows = rules.iter().map(row).collect();
    Ok(out.table(["RULE", "SCOPE", "CONDITIONS", "ACTIONS", "DESCRIPTION"], rows, "no rules")?)
}

async fn test(farm: &Client, out: &Output, args: &Test) -> anyhow::Result<()> {
    let mut trials = Vec::new();
    for (place, rule) in read(&args.file.file)?.into_iter().enumerate() {
        let body = TestRule { rule, worker: args.id.worker };
        let trial =
            farm.test_rule(&body).await.with_context(|| format!("rule {} was not tried", place + 1))?;
        if !out.is_json() {
            tell(out, &body.rule, &trial)?;
        }
        trials.push(trial);
    }
    match trials.as_slice() {
        [trial] if out.is_json() => out.json(trial)?,
        trials if out.is_json() => out.items(trials)?,
        _ => {}
    }
    Ok(())
}

fn tell(out: &Output, rule: &AddRule, trial: &Trial) -> std::io::Result<()> {
    out.line(&format!("on the inventory of introspection {}:", trial.introspection))?;
    if let (false, Some(scope)) = (trial.in_scope, &rule.scope) {
        out.line(&format!("the worker is not in group {scope}, which the rule is for"))?;
    }
    for (asked, tried) in rule.conditions.iter().zip(&trial.conditions) {
        let holds = if tried.holds { "holds" } else { "does not hold" };
        out.line(&format!("{holds}: {}", condition(asked)))?;
        values(out, tried)?;
    }
    if let Some(error) = &trial.error {
        return out.line(&format!("the introspection would fail: {error}"));
    }
    if !trial.applies {
        return out.line("it would change nothing");
    }
    for change in &trial.changes {
        out.line(&match change {
            Change::SetCapability { key, value } => format!("it would find the capability {key}={value}"),
            Change::UnsetCapability { key } => format!("it would take the capability {key} away"),
            Change::SetLabel { key, value } => format!("it would set the label {key}={value}"),
        })?;
    }
    Ok(())
}

fn values(out: &Output, tried: &Tried) -> std::io::Result<()> {
    if tried.count == 0 {
        return out.line("  nothing is there");
    }
    for value in &tried.values {
        let said = match &value.unfit {
            Some(unfit) => format!("does not hold: it is {unfit}"),
            None if value.holds => "holds".to_owned(),
            None => "does not hold".to_owned(),
        };
        out.line(&format!("  {} {said}", value.value))?;
    }
    let rest = tried.count.saturating_sub(tried.values.len() as u64);
    if rest > 0 { out.line(&format!("  and {rest} more")) } else { Ok(()) }
}

/// A file of rules: what is wrong in it is said with its line.
#[derive(Deserialize)]
#[serde(untagged)]
enum Rules {
    Several(Vec<serde_json::Value>),
    One(serde_json::Value),
}

fn read(file: &Path) -> anyhow::Result<Vec<AddRule>> {
    let (name, text) = if file.as_os_str() == "-" {
        let mut text = String::new();
        ("stdin".to_owned(), std::io::stdin().lock().read_to_string(&mut text).map(|_| text))
    } else {
        (file.display().to_string(), std::fs::read_to_string(file))
    };
    let text = text.with_context(|| format!("failed to read {name}"))?;
    let rules = serde_json::from_str(&text).with_context(|| format!("{name} is not JSON"))?;
    let rules = match rules {
        Rules::Several(rules) => rules,
        Rules::One(rule) => vec![rule],
    };
    let rule = |(place, rule): (usize, serde_json::Value)| {
        serde_json::from_value(rule).with_context(|| format!("rule {} in {name} is not one", place + 1))
    };
    rules.into_iter().enumerate().map(rule).collect()
}

fn lines<T>(items: &[T], show: impl Fn(&T) -> String) -> String {
    items.iter().map(show).collect::<Vec<_>>().join("\n")
}

/// A condition in a line: `not all /disks/*/size ge 100`.
fn condition(condition: &Condition) -> String {
    let mut words = Vec::new();
    if condition.multiple != Multiple::Any {
        words.push(wire_word(&condition.multiple));
    }
    if condition.source != Source::Data {
        words.push(wire_word(&condition.source));
    }
    words.push(if condition.path.is_empty() { "/".to_owned() } else { condition.path.clone() });
    if condition.invert {
        words.push("not".to_owned());
    }
    words.push(wire_word(&condition.op));
    words.extend(condition.value.as_ref().map(ToString::to_string));
    words.join(" ")
}

/// An action in a line.
fn action(action: &Action) -> String {
    match action {
        Action::Fail { message } => format!("fail {message:?}"),
        Action::SetCapability { name, value: Some(value) } => format!("set-capability {name}={value}"),
        Action::SetCapability { name, value: None } => format!("unset {name}"),
        Action::ExtendCapability { name, value } => format!("extend-capability {name} by {value}"),
        Action::SetLabel { name, value } => format!("set-label {name}={value}"),
        Action::AddTrait { name } => format!("add-trait {name}"),
        Action::RemoveTrait { name } => format!("remove-trait {name}"),
    }
}
