//! `grove why`.

use grove_client::Client;
use grove_client::wire::request::Reason;

use crate::cli::args::RequestId;
use crate::cli::output::Output;
use crate::cli::{clock, human};

/// Say why a request waits, or ended as it did
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    id: RequestId,
}

pub(crate) async fn run(farm: &Client, out: &Output, args: Args) -> anyhow::Result<()> {
    let reasons = farm.why(args.id.request).await?;
    if out.is_json() {
        return Ok(out.json(&reasons)?);
    }
    if reasons.is_empty() {
        out.remark("the farm gives no reason");
    }
    for reason in &reasons {
        out.line(&sentence(reason))?;
    }
    Ok(())
}

fn sentence(reason: &Reason) -> String {
    let mut sentence = reason.text.clone();
    // What the text tells already is not told twice.
    if let Some(worker) = reason.worker
        && !sentence.contains(&worker.to_string())
    {
        sentence.push_str(&format!(" (worker {worker})"));
    }
    if let Some(until) = reason.until {
        if !sentence.contains(&until.to_string()) {
            sentence.push_str(&format!(", until {until:.0}"));
        }
        sentence.push_str(&format!(" ({})", human::relative(until, clock::now())));
    }
    sentence
}
