//! A transaction as data: the rows that one decision writes, and the events that say so.

use std::sync::Arc;

use crate::event::Event;
use crate::id::{IntrospectionId, RequestId, RuleId, TaskId, WorkerId};
use crate::instance::Instance;
use crate::introspection::{Findings, Introspection, Kind};
use crate::limit::Limit;
use crate::mode::FarmMode;
use crate::plugin::{Digest, Plugin, PluginVersion};
use crate::request::Request;
use crate::rule::Rule;
use crate::task::Task;
use crate::worker::Worker;

/// One row to write. A put of revision r replaces the stored revision r - 1 (none for r = 1), and nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// Write this worker.
    PutWorker(Arc<Worker>),
    /// Remove this worker. Its introspections go with it.
    RemoveWorker(WorkerId),
    /// Write this request and its job.
    PutRequest(Arc<Request>),
    /// Remove an ended request whose time of being kept is over.
    RemoveRequest(RequestId),
    /// Write this task.
    PutTask(Arc<Task>),
    /// Remove an ended task whose time of being kept is over.
    RemoveTask(TaskId),
    /// Write this plugin.
    PutPlugin(Arc<Plugin>),
    /// Remove this plugin, whose last version goes with it.
    RemovePlugin(String),
    /// Write this version of a plugin, once.
    PutPluginVersion(Arc<PluginVersion>),
    /// Remove this version of a plugin.
    RemovePluginVersion(String, Digest),
    /// Write this run of introspection.
    PutIntrospection(Arc<Introspection>),
    /// Write what is kept of the inventory of a run, over what was.
    PutInventory(IntrospectionId, Kind, Arc<str>),
    /// Write what was found in a run, over what was.
    PutFindings(IntrospectionId, Arc<Findings>),
    /// Write this rule, once.
    PutRule(Arc<Rule>),
    /// Remove this rule.
    RemoveRule(RuleId),
    /// Write this limit.
    PutLimit(Arc<Limit>),
    /// Write the farm's mode.
    PutMode(Arc<FarmMode>),
    /// Write the times of this instance, which has loaded before.
    PutInstance(Arc<Instance>),
    /// The controller stops, and no live task has begun: the next load says so, once.
    Stopped,
}

/// What is committed as one.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// The load that the decisions were taken on; a batch of an older load is refused.
    pub epoch: u64,
    /// Rows, in the order in which they were written.
    pub changes: Vec<Change>,
    /// Events, in sequence.
    pub events: Vec<Event>,
}

/// Everything that drives a controller again after a start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Loaded {
    /// The epoch that begins with this load.
    pub epoch: u64,
    /// Every worker, by id.
    pub workers: Vec<Worker>,
    /// Every kept request, by id.
    pub requests: Vec<Request>,
    /// Tasks that have not ended.
    pub live_tasks: Vec<Task>,
    /// Every plugin, by name.
    pub plugins: Vec<Plugin>,
    /// Every installed version, by name and digest.
    pub plugin_versions: Vec<PluginVersion>,
    /// Runs of introspection that have not ended; and of each worker the newest one, the newest with an inventory, and the
    /// newest with a processed one. By id.
    pub introspections: Vec<Introspection>,
    /// Every rule, by place.
    pub rules: Vec<Rule>,
    /// Every limit that was ever set, by scope.
    pub limits: Vec<Limit>,
    /// The farm's mode.
    pub mode: FarmMode,
    /// The instances that are remembered, by incarnation; the last is who loads.
    pub instances: Vec<Instance>,
    /// Who took over from the instance that loads: nothing was loaded then, and no epoch begins.
    pub superseded_by: Option<Instance>,
    /// The controller before stopped by itself: none of the live tasks has begun.
    pub stopped: bool,
    /// The highest request number ever given; 0 = none.
    pub last_request: u64,
    /// The highest place in a queue ever given; 0 = none.
    pub last_place: u64,
    /// The last event; 0 = none.
    pub last_event: u64,
}
