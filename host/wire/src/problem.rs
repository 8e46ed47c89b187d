//! Problems: RFC 9457 bodies (`application/problem+json`) with a stable code, and a hint at what to do next.

use serde::{Deserialize, Serialize};

/// Why a request to the API was refused, or could not be carried out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{title}: {detail}")]
pub struct Problem {
    /// Reference to a page about this code on the same server: `/errors/CODE`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The code in a few words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// Stable word for programs; see [`Code`]. Text, since a newer server may know more codes.
    pub code: String,
    /// What was wrong this time.
    pub detail: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The field of the body, the query parameter or the header that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
}

impl Problem {
    /// A problem of this code.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/errors/{}", code.name()),
            title: code.title().to_owned(),
            status: code.status(),
            code: code.name().to_owned(),
            detail: detail.into(),
            hint: None,
            field: None,
        }
    }

    /// The same with a hint at what to do next.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, about this field.
    pub fn field(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }

    /// The code, when this version knows it.
    pub fn known_code(&self) -> Option<Code> {
        Code::from_name(&self.code)
    }
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $variant:ident = $name:literal, $status:literal, $title:literal, $remedy:literal;)+) => {
        /// Every code. Names never change, and a name is never given another meaning.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The stable word.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// The HTTP status that goes with it.
            pub fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)+ }
            }

            /// In a few words.
            pub fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)+ }
            }

            /// What it means.
            pub fn cause(self) -> &'static str {
                match self { $(Self::$variant => concat!($($doc,)+).trim_ascii(),)+ }
            }

            /// What to do about it.
            pub fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)+ }
            }
        }
    };
}

codes! {
    /// The body is not JSON.
    BadJson = "bad_json", 400, "The body is not JSON", "Send one JSON object and nothing after it.";
    /// The body is not a form with files (`multipart/form-data`), or breaks off.
    BadUpload = "bad_upload", 400, "The upload cannot be read", "Send the parts manifest and component as multipart/form-data.";
    /// The body has a field that this resource does not know.
    UnknownField = "unknown_field", 422, "Unknown field", "Remove the field, or correct its name.";
    /// A field is missing, or its value cannot be what it should be.
    InvalidField = "invalid_field", 422, "Invalid field", "Correct the named field.";
    /// A field holds more than the farm takes.
    TooLong = "too_long", 422, "Too long", "Shorten the named field to the limit that the detail tells.";
    /// The body is no inventory: text in UTF-8 that is one JSON object, without names twice and not nested too deep.
    BadInventory = "bad_inventory", 400, "The inventory cannot be read", "Send one JSON object in UTF-8; the detail says what is wrong, and where.";
    /// A query parameter is unknown or its value cannot be what it should be.
    InvalidQuery = "invalid_query", 400, "Invalid query parameter", "Correct the named parameter.";
    /// A header's value cannot be what it should be.
    InvalidHeader = "invalid_header", 400, "Invalid header", "Correct the named header.";
    /// The number or uuid in the path cannot be one.
    InvalidId = "invalid_id", 400, "Invalid id", "Requests and jobs are numbers; workers, tasks, introspections and rules are uuids.";
    /// The call needs a token, and shows none.
    MissingToken = "missing_token", 401, "A token is missing", "Send the header Authorization: Bearer TOKEN.";
    /// The token is not the one of this introspection, or not the farm's enrolment secret.
    WrongToken = "wrong_token", 403, "Not the right token", "Use the token that the start of this introspection answered; start a new one if it is lost.";
    /// Boards that nobody registered are not taken in here.
    EnrolmentOff = "enrolment_off", 403, "Unknown boards are not taken in", "Register the board, or ask the admin to set introspection.enrolment_secret.";
    /// The body is larger than the server takes.
    BodyTooLarge = "body_too_large", 413, "Body too large", "Send less: a body may hold 1 MiB, a plugin's component 64 MiB, an export what limits.import_mib says, an inventory what introspection.inventory_kib says.";
    /// The body did not arrive in time.
    BodyTimeout = "body_timeout", 408, "Body too slow", "Send the whole body without pausing.";
    /// Nothing is at this path.
    NoRoute = "no_route", 404, "Nothing here", "Look at / for what there is.";
    /// There is something at this path, but not for this method.
    MethodNotAllowed = "method_not_allowed", 405, "Method not allowed", "Use one of the methods in the Allow header.";
    /// No worker has this uuid.
    WorkerNotFound = "worker_not_found", 404, "No such worker", "List the workers there are.";
    /// No request has this number, or it ended so long ago that it is no longer kept.
    RequestNotFound = "request_not_found", 404, "No such request", "List the requests there are.";
    /// The request has no job, or is not kept any more.
    JobNotFound = "job_not_found", 404, "No such job", "Look at the request of this number: it may still wait.";
    /// No task has this id, or it is no longer kept.
    TaskNotFound = "task_not_found", 404, "No such task", "List the tasks of the worker.";
    /// No introspection has this id, or it is no longer kept.
    IntrospectionNotFound = "introspection_not_found", 404, "No such introspection", "List the introspections of the worker.";
    /// The introspection has no such inventory, or nothing to compare it with.
    NoInventory = "no_inventory", 404, "No inventory is stored", "Look at its state and has_data; start an introspection that finishes.";
    /// No rule has this id.
    RuleNotFound = "rule_not_found", 404, "No such rule", "List the rules there are.";
    /// No plugin has this name.
    PluginNotFound = "plugin_not_found", 404, "No such plugin", "List the plugins there are.";
    /// The plugin is there, but not in this version.
    PluginVersionNotFound = "plugin_version_not_found", 404, "No such version of the plugin", "Look at the plugin for the versions it has, or install this one.";
    /// No service has this name.
    ServiceNotFound = "service_not_found", 404, "No such service", "List the services there are.";
    /// No artifact has this key in this group, or nobody used it for so long that it is no longer kept.
    ArtifactNotFound = "artifact_not_found", 404, "No such artifact", "List the artifacts there are, or bring it again.";
    /// The owner does not belong to this group.
    GroupDenied = "group_denied", 403, "Not your group", "Use one of your own groups, or ask the admin.";
    /// The artifact is being brought or removed by someone else at this moment.
    ArtifactBusy = "artifact_busy", 409, "The artifact is being changed now", "Try again in a moment.";
    /// The artifact is larger than the farm takes.
    ArtifactTooLarge = "artifact_too_large", 413, "Artifact too large", "Bring less, or ask the admin for a greater objects.artifact.";
    /// The group holds as much as it may.
    QuotaReached = "quota_reached", 429, "The group's quota is reached", "Remove artifacts of the group that are no longer needed, or ask the admin for more.";
    /// What came is not what its digest says.
    ArtifactDigest = "artifact_digest", 422, "The artifact came damaged", "Send it again, with the digest of what is sent.";
    /// The artifact has no bytes there.
    RangeNotSatisfiable = "range_not_satisfiable", 416, "Nothing in that range", "Ask for bytes that are there: Content-Range tells the size.";
    /// The plugin, or this version of it, is still needed.
    PluginInUse = "plugin_in_use", 409, "The plugin is in use", "Take away what the detail names as using it, then try again.";
    /// The worker is not in a state that allows this.
    WorkerState = "worker_state", 409, "The worker's state does not allow this", "Bring the worker into a state that does.";
    /// The introspection is not in a state that allows this, or another one of the worker goes on.
    IntrospectionState = "introspection_state", 409, "The introspection's state does not allow this", "Look at the introspection's state; start a new one if it has ended.";
    /// A rule with this id is there already.
    RuleExists = "rule_exists", 409, "The rule is there already", "Remove it first, or leave the id out.";
    /// A job runs on the worker.
    WorkerRuns = "worker_runs", 409, "The worker is running a job", "Close the request, or use force.";
    /// The farm is not in maintenance, and an import would replace everything under its users; nothing was changed.
    FarmAtWork = "farm_at_work", 409, "The farm is at work", "Put it into maintenance first: grove farm mode maintenance.";
    /// The farm has lost components of plugins that it names, and an export would lack them.
    ComponentsLost = "components_lost", 409, "Components of plugins are lost", "Install those versions again, or remove them; or export without them: incomplete=true, grove farm export --incomplete.";
    /// The artifact's file was changed or removed on disk: it does not hold any more what was brought.
    ArtifactDamaged = "artifact_damaged", 409, "The artifact is damaged", "Bring the same file again: that mends it.";
    /// The request is not in a state that allows this.
    RequestState = "request_state", 409, "The request's state does not allow this", "Look at the request's state.";
    /// The request has no running job.
    NoJob = "no_job", 409, "The request has no running job", "Wait until its state is in_progress.";
    /// The job would end earlier than it does.
    JobShorter = "job_shorter", 409, "Earlier than the job ends", "Ask for more time, or say that the job shall be made shorter.";
    /// The job was prolonged as often as the farm allows.
    ProlongLimit = "prolong_limit", 409, "Prolonged too often", "Make a new request.";
    /// The task has ended, or was superseded.
    TaskEnded = "task_ended", 409, "The task has ended", "Look at the task: nothing is left to stop.";
    /// The resource changed since the caller saw it.
    RevisionMismatch = "revision_mismatch", 412, "It changed meanwhile", "Read it again, and decide on what it is now.";
    /// The deadline lies in the past.
    DeadlinePast = "deadline_past", 422, "Deadline in the past", "Give a later deadline.";
    /// The request becomes valid only after its deadline.
    EmptyRange = "empty_range", 422, "Valid only after the deadline", "Give a valid_after before the deadline.";
    /// Priorities are 1 to 16.
    InvalidPriority = "invalid_priority", 422, "Priority out of bounds", "Give a priority from 1 (highest) to 16.";
    /// A term of the wants cannot be understood.
    InvalidWant = "invalid_want", 422, "A wanted capability cannot be understood", "Write terms like camera, board=rpi4, uart=2.., lab!=berlin.";
    /// A public key cannot be used.
    InvalidKey = "invalid_key", 422, "A public key cannot be used", "Give the line of a .pub file.";
    /// The job would run longer than the farm allows.
    JobTooLong = "job_too_long", 422, "Longer than the farm allows", "Ask for less time, and prolong the job while it runs.";
    /// No driver has this name.
    UnknownDriver = "unknown_driver", 422, "No such driver", "Use one of the drivers that the detail names.";
    /// The worker's driver cannot read what a board is made of.
    CannotIntrospect = "cannot_introspect", 422, "The driver cannot introspect", "Have the board send its inventory: grove introspect start --push.";
    /// The driver does not take this configuration.
    DriverConfig = "driver_config", 422, "The driver refuses this configuration", "Correct driver_config as the driver says.";
    /// The file is no export of a farm, is not whole, or holds what no farm may; nothing was changed.
    BadExport = "bad_export", 422, "The export cannot be imported", "Export again, from the farm itself; the detail says what is wrong, and in which line.";
    /// More than one version of the plugin is named so.
    PluginVersionAmbiguous = "plugin_version_ambiguous", 422, "More than one version is meant", "Name the version by more of its digest.";
    /// The manifest of the plugin cannot be used.
    BadManifest = "bad_manifest", 422, "The manifest cannot be used", "Correct plugin.toml as the detail says.";
    /// The plugin was tried before it is used, and did not pass; nothing was changed.
    PluginCheckFailed = "plugin_check_failed", 422, "The plugin did not pass its check", "Mend the plugin, or grant what it needs; the detail says what failed.";
    /// The idempotency key was used for another body.
    IdempotencyMismatch = "idempotency_mismatch", 422, "The idempotency key belongs to another request", "Use a new key for a new request.";
    /// A cap of the farm is reached.
    FarmFull = "farm_full", 429, "The farm is full", "Try later, or close what is no longer needed.";
    /// The farm cannot store changes now, or what serves it is being started; nothing was changed.
    Unavailable = "unavailable", 503, "The farm is not available now", "Try again later; the admin sees why at /readyz.";
    /// The farm is in maintenance, and takes nothing new; nothing was changed.
    FarmMaintenance = "farm_maintenance", 503, "The farm is in maintenance", "Try again when the maintenance is over; the detail says why it is, and perhaps until when.";
    /// The controller is shutting down; nothing was changed.
    Stopping = "stopping", 503, "The controller is shutting down", "Try again when it is back.";
    /// The server is doing as much of this as it can.
    Overloaded = "overloaded", 503, "Too much at once", "Try again in a moment.";
    /// The server broke; it says so in its log.
    Internal = "internal", 500, "Internal error", "Tell the admin, with the time of this answer.";
    /// No connection to the farm was made, so it did nothing.
    Unreachable = "unreachable", 503, "The farm was not reached", "Look whether it is running, and at its address.";
    /// The connection broke before the answer was complete; whether the farm did it is not known.
    Interrupted = "interrupted", 504, "The answer broke off", "Ask again; what makes something is safe to repeat with an Idempotency-Key.";
    /// What answered does not speak as a farm does.
    NotAFarm = "not_a_farm", 502, "This is no farm", "Look at the address, and whether the farm is of this version.";
    /// The address cannot be one of a farm.
    InvalidAddress = "invalid_address", 400, "Not an address of a farm", "Write it like http://farm.example:8487.";
}

impl Code {
    /// The code of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// Whether a client says it of itself, and no server ever does.
    pub fn is_of_client(self) -> bool {
        matches!(self, Self::Unreachable | Self::Interrupted | Self::NotAFarm | Self::InvalidAddress)
    }
}
