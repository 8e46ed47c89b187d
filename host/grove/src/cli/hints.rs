//! What to do about a refusal, in the words of this command line: the farm's own hints speak HTTP.

use grove_client::Error;
use grove_client::wire::Code;

/// For the mistakes that only another version of the command line can make.
const VERSIONS: Option<&str> =
    Some("the farm and this command line may be of different versions: use the one that came with the farm");

/// Every code: what to do, or none where the farm's hint is about the case at hand, and names no route.
const HINTS: &[(Code, Option<&str>)] = &[
    (Code::BadJson, VERSIONS),
    (Code::BadUpload, VERSIONS),
    (Code::UnknownField, VERSIONS),
    (Code::InvalidQuery, VERSIONS),
    (Code::InvalidHeader, VERSIONS),
    (Code::InvalidId, VERSIONS),
    (Code::NoRoute, VERSIONS),
    (Code::MethodNotAllowed, VERSIONS),
    (Code::InvalidField, Some("correct what the error names; `--help` says what it takes")),
    (Code::TooLong, Some("shorten it to the limit that the error names")),
    (Code::BadInventory, Some("send one JSON object in UTF-8; the error says what is wrong, and where")),
    (Code::MissingToken, Some("`grove introspect start --push` prints the command with its token")),
    (Code::WrongToken, Some("`grove introspect start --push` begins again, with a new token")),
    (
        Code::EnrolmentOff,
        Some("register the board with `grove worker add`, or set introspection.enrolment_secret on the farm"),
    ),
    (Code::BodyTooLarge, None),
    (Code::BodyTimeout, Some("try again over a faster connection")),
    (Code::WorkerNotFound, Some("`grove worker list` shows the workers there are")),
    (Code::RequestNotFound, Some("`grove request list --all` shows the requests there are")),
    (Code::JobNotFound, Some("`grove request show` says where the request is: it may still wait")),
    (Code::TaskNotFound, Some("`grove task list --all` shows the tasks there are")),
    (Code::IntrospectionNotFound, Some("`grove introspect list --all` shows the introspections there are")),
    (
        Code::NoInventory,
        Some("`grove introspect status` says what is stored; `grove introspect start` begins another run"),
    ),
    (Code::RuleNotFound, Some("`grove rule list` shows the rules there are")),
    (Code::PluginNotFound, Some("`grove plugin list` shows the plugins there are")),
    (Code::PluginVersionNotFound, None),
    (Code::ServiceNotFound, Some("`grove services` shows the services there are")),
    (
        Code::ArtifactNotFound,
        Some("`grove artifact list` shows the artifacts there are; `grove artifact put` brings one"),
    ),
    (Code::GroupDenied, None),
    (Code::ArtifactBusy, None),
    (Code::ArtifactTooLarge, None),
    (
        Code::QuotaReached,
        Some("remove what is no longer needed with `grove artifact remove`, or ask the admin for more"),
    ),
    (Code::ArtifactDigest, Some("it was damaged on its way: send it again")),
    (Code::RangeNotSatisfiable, Some("get it again, from its beginning")),
    (Code::PluginInUse, None),
    (
        Code::WorkerState,
        Some(
            "`grove worker show` says where it is; `grove worker state` changes that, from failed with --force",
        ),
    ),
    (
        Code::IntrospectionState,
        Some("`grove introspect status` says where it is; `grove introspect abort` ends it"),
    ),
    (Code::RuleExists, Some("remove it first with `grove rule remove`, or leave the id out")),
    (Code::WorkerRuns, Some("end the job first with `grove request close`, or say --force, which ends it")),
    (
        Code::ComponentsLost,
        Some("install those versions again, or remove them with `grove plugin remove`; or say --incomplete"),
    ),
    (Code::ArtifactDamaged, Some("bring the same file again with `grove artifact put`: that mends it")),
    (Code::FarmAtWork, Some("put the farm into maintenance first: grove farm mode maintenance")),
    (Code::RequestState, Some("`grove request show` says where it is")),
    (Code::NoJob, Some("`grove request show --wait` waits until its job runs")),
    (Code::ProlongLimit, None),
    (Code::TaskEnded, Some("`grove task show` says how it ended")),
    (Code::RevisionMismatch, Some("it changed at the same time: look at what it is now, and try again")),
    (Code::DeadlinePast, Some("give a later --deadline")),
    (Code::EmptyRange, Some("give a --valid-after that lies before the --deadline")),
    (Code::InvalidPriority, Some("give a --priority from 1 (first) to 16 (last)")),
    (Code::InvalidWant, None),
    (Code::InvalidKey, None),
    (Code::JobShorter, Some("ask for more with --for, or say --shorten: the time counts from now on")),
    (
        Code::JobTooLong,
        Some("ask for less with --for, and prolong the job while it runs: grove request prolong"),
    ),
    (
        Code::UnknownDriver,
        Some("`grove plugin list` shows the drivers there are; `grove plugin install` adds one"),
    ),
    (
        Code::CannotIntrospect,
        Some("have the board send its inventory: `grove introspect start --push` says how"),
    ),
    (Code::DriverConfig, Some("correct --config as the driver says")),
    (Code::BadExport, None),
    (Code::PluginVersionAmbiguous, None),
    (Code::BadManifest, Some("correct plugin.toml as the error says")),
    (Code::PluginCheckFailed, None),
    (Code::IdempotencyMismatch, Some("run the command again")),
    (Code::FarmFull, None),
    (Code::Unavailable, Some("try again later; `grove services` shows what is missing")),
    (Code::FarmMaintenance, Some("`grove farm mode` shows since when, why, and until when")),
    (Code::Stopping, None),
    (Code::Overloaded, Some("try again in a moment")),
    (Code::Internal, None),
    (Code::Unreachable, None),
    (Code::Interrupted, None),
    (Code::NotAFarm, None),
    (Code::InvalidAddress, None),
];

/// What to do about it.
pub(crate) fn hint(error: &Error) -> Option<&str> {
    let known = error.known_code().and_then(|code| HINTS.iter().find(|(one, _)| *one == code));
    known.and_then(|(_, hint)| *hint).or_else(|| error.hint())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The codes that have a page.
    fn documented() -> Vec<String> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors");
        let pages =
            std::fs::read_dir(folder).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap());
        let mut codes: Vec<_> =
            pages.filter_map(|page| page.strip_suffix(".md").map(str::to_owned)).collect();
        codes.retain(|code| code != "README");
        codes.sort();
        codes
    }

    #[test]
    fn every_code_is_spoken_of_once() {
        let mut names: Vec<_> = HINTS.iter().map(|(code, _)| code.name()).collect();
        names.sort_unstable();
        assert_eq!(names, documented(), "HINTS and docs/errors are about the same codes");
    }

    #[test]
    fn hints_name_no_routes() {
        for name in documented() {
            let code = Code::from_name(&name).unwrap();
            // As a farm sends it that has nothing more particular to say.
            let error = Error::new(code, "detail").with_hint(code.remedy());
            let hint = hint(&error).unwrap();
            for http in ["/api", "GET ", "POST ", "header", "If-Match", "Accept", "?", "body"] {
                // What a body may hold at most is also what a file may.
                assert!(code == Code::BodyTooLarge || !hint.contains(http), "{name}: {hint}");
            }
        }
    }

    #[test]
    fn codes_of_newer_farms_keep_their_hint() {
        let problem = serde_json::json!({
            "type": "/errors/new", "title": "New", "status": 409, "code": "new", "detail": "", "hint": "wait",
        });
        let problem: grove_client::wire::Problem = serde_json::from_value(problem).unwrap();
        assert_eq!(hint(&problem.into()), Some("wait"));
    }
}
