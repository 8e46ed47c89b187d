//! `grove events`.

use std::io;

use grove_client::wire::event::Event;
use grove_client::{Client, EventsQuery, Order};

use super::newest;
use crate::cli::output::Output;

/// Show what happened, and what happens
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Go on with what happens from now, until Ctrl-C
    #[arg(short, long)]
    follow: bool,
    /// Only events after this place in the sequence
    #[arg(long, value_name = "SEQ")]
    after: Option<u64>,
    /// Only about worker/UUID, request/NUMBER, task/UUID, plugin/NAME or farm
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Only of this kind, like worker.state or request.created
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// How many of the newest, without --follow
    #[arg(long, value_name = "N", default_value_t = 1000)]
    limit: usize,
    /// Every one that is kept
    #[arg(long, conflicts_with_all = ["limit", "follow"])]
    all: bool,
}

pub(crate) async fn run(farm: &Client, out: &Output, args: Args) -> anyhow::Result<()> {
    let Args { follow: follows, after, subject, kind, limit, all } = args;
    let mut query = EventsQuery { after, subject, kind, order: None };
    if follows {
        return follow(farm, out, query).await;
    }
    query.order = Some(Order::Descending);
    let mut events = newest(out, farm.past_events(&query), limit, all).await?;
    // As they happened.
    events.reverse();
    if out.is_json() {
        return Ok(out.items(&events)?);
    }
    if events.is_empty() {
        out.remark("no events");
    }
    for event in &events {
        out.line(&line(event))?;
    }
    Ok(())
}

async fn follow(farm: &Client, out: &Output, query: EventsQuery) -> anyhow::Result<()> {
    let mut events = farm.events(query).await?;
    let mut connections = events.connections();
    loop {
        let event = events.next().await?;
        if events.connections() != connections {
            connections = events.connections();
            out.remark("the connection was lost, and is back");
        }
        show(out, &event)?;
    }
}

fn show(out: &Output, event: &Event) -> io::Result<()> {
    if out.is_json() { out.json_line(event) } else { out.line(&line(event)) }
}

/// One event in one line; its time is written out, since lines are kept and compared.
fn line(event: &Event) -> String {
    let mut line = format!("{:>6}  {:.3}  {}  {}", event.seq, event.at, event.kind, event.subject);
    match (&event.before, &event.after) {
        (Some(before), Some(after)) => line.push_str(&format!("  {before} -> {after}")),
        (None, Some(after)) => line.push_str(&format!("  {after}")),
        (Some(before), None) => line.push_str(&format!("  {before} ->")),
        (None, None) => {}
    }
    line.push_str(&format!("  by {}", event.actor));
    if let Some(note) = &event.note {
        line.push_str(&format!(": {note}"));
    }
    line
}
