//! Creating requests over v1, each on disk before its answer.

use std::time::Duration;

use anyhow::Result;

use crate::farm::{Farm, NO_KEYS, create, folder};
use crate::http::Load;
use crate::stats::median;
use crate::table::{Goal, Line, Table};
use crate::twin::{Server, Work, group_commit};

const ROUNDS: usize = 5;
const FOR: Duration = Duration::from_secs(2);
const CONNECTIONS: usize = 64;

/// Into an empty farm.
pub(super) fn empty(table: &mut Table) -> Result<()> {
    let (ours, twin) = rounds(|_| Ok(()))?;
    table.line(Line {
        work: "create a request (v1, 64 connections), empty farm",
        unit: "/s",
        ours,
        twin: Some(twin),
        goal: Goal::AtLeast(20_000.0),
        peer: "19,700",
    });
    Ok(())
}

/// Into a farm with much to match, nothing of which does.
pub(super) fn busy(table: &mut Table) -> Result<()> {
    let (ours, twin) = rounds(|farm| {
        farm.register(0..100, "{}")?;
        farm.make_idle(0..100)?;
        let waiting: Vec<_> = (0..10_000).map(|number| create("board", &format!("none{number}"))).collect();
        farm.all(&waiting)
    })?;
    table.line(Line {
        work: "create a request, 10,000 waiting and 100 idle workers",
        unit: "/s",
        ours,
        twin: Some(twin),
        goal: Goal::AtLeast(20_000.0),
        peer: "199",
    });
    Ok(())
}

/// Each round in a new farm, and beside a bare server that stores the same rows with the same fsyncs.
fn rounds(set_up: impl Fn(&Farm) -> Result<()>) -> Result<(f64, f64)> {
    let requests: Vec<_> = (0..100).map(|number| create("board", &format!("none{number}"))).collect();
    let loaded = |to| {
        let mut number = 0;
        Load { to, connections: CONNECTIONS, depth: 1 }.for_a_while(FOR, |out| {
            number = (number + 1) % requests.len();
            out.extend_from_slice(requests.get(number).map_or(&[], Vec::as_slice));
        })
    };
    let (mut ours, mut twins) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let state = folder()?;
        let farm = Farm::start(state.path(), NO_KEYS)?;
        set_up(&farm)?;
        ours.push(loaded(farm.address)?.rate());
        farm.stop()?;
        let state = folder()?;
        let twin = Server::start(13, Work::Store(group_commit(state.path())?))?;
        twins.push(loaded(twin.address)?.rate());
    }
    Ok((median(&ours), median(&twins)))
}
