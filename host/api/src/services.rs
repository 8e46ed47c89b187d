//! The controller's services, as they are told to those who ask what is missing.

use std::collections::BTreeSet;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use grove_wire::service::{Service, ServiceState};

/// The services that the controller is made of.
pub trait Services: Send + Sync + 'static {
    /// All of them, sorted by name. Must be quick: readiness and refusals are made of it.
    fn report(&self) -> Vec<Service>;

    /// The same with what each of them tells of itself, which may take a moment.
    fn detailed(&self) -> BoxFuture<'static, Vec<Service>> {
        std::future::ready(self.report()).boxed()
    }

    /// The graph of them, in the language of graphviz.
    fn dot(&self) -> String;
}

/// Services named in a refusal; the others are counted.
const NAMED: usize = 3;

/// Those without which no user is served, and with them whatever they need.
const ESSENTIAL: [&str; 5] = ["api", "controller", "http", "runtime", "store"];

/// It is one of them as long as it may be on its way: users of a farm that has a policy were promised its choices, so nobody
/// is sent to a start that does not have it yet. When it has failed, the built-in rule decides, and users are served.
const POLICY: &str = "policy";

/// A line for each service that is not started: what it is doing, and why.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Without these no user is served.
    pub(crate) essential: Vec<String>,
    /// Without these some are served less: a driver, a look into a folder.
    pub(crate) other: Vec<String>,
}

impl Missing {
    pub(crate) fn of(services: &[Service]) -> Self {
        let mut essential: BTreeSet<&str> = BTreeSet::new();
        let mut needed = ESSENTIAL.to_vec();
        let named = |name: &str| services.iter().find(|service| service.name == name);
        let failed = |service: &Service| {
            is_missing(&service) && service.waits_for.is_empty() && service.last_error.is_some()
        };
        let input_failed =
            |policy: &Service| policy.inputs.iter().filter_map(|input| named(&input.name)).any(failed);
        if named(POLICY).is_some_and(|policy| !failed(policy) && !input_failed(policy)) {
            needed.push(POLICY);
        }
        while let Some(name) = needed.pop() {
            if essential.insert(name)
                && let Some(service) = named(name)
            {
                needed.extend(service.inputs.iter().map(|input| input.name.as_str()));
            }
        }
        let mut missing = Self::default();
        for service in services.iter().filter(is_missing) {
            let lines = match essential.contains(service.name.as_str()) {
                true => &mut missing.essential,
                false => &mut missing.other,
            };
            lines.push(line(service, services));
        }
        missing
    }
}

/// Why the farm is not served: the services at the root of it, each as what waits for it. One that nothing needs keeps
/// nothing from being served, so it is told only when there is nothing else.
pub(crate) fn causes(services: &[Service]) -> String {
    // By what they need, not by what they wait for: one that is just being started waits for nothing for a moment.
    let lacks = |service: &Service, input: &str| {
        let mut lacking = service.inputs.iter().filter(|input| input.state != Some(ServiceState::Started));
        lacking.any(|lacking| lacking.name == input)
    };
    let all = || services.iter().filter(is_missing);
    let roots = all().filter(|service| !all().any(|input| lacks(service, &input.name)));
    let waited_for = roots.clone().filter_map(|root| {
        let waiting = all().find(|other| lacks(other, &root.name))?;
        Some(format!("{} waits for {}", waiting.name, awaited(&root.name, services)))
    });
    let mut lines: Vec<String> = waited_for.collect();
    if lines.is_empty() {
        lines = roots.map(|root| line(root, services)).collect();
    }
    if lines.is_empty() {
        // They wait for what there is none of, or in a circle.
        lines = services.iter().filter(is_missing).map(|service| line(service, services)).collect();
    }
    if lines.is_empty() {
        return "its controller is not there yet".to_owned();
    }
    let more = lines.len().saturating_sub(NAMED);
    lines.truncate(NAMED);
    let more = if more == 0 { String::new() } else { format!("; and {more} more") };
    lines.join("; ") + &more
}

fn is_missing(service: &&Service) -> bool {
    service.state != ServiceState::Started
}

fn line(service: &Service, all: &[Service]) -> String {
    let name = &service.name;
    if !service.waits_for.is_empty() {
        let waits_for = service.waits_for.iter().map(|input| awaited(input, all));
        return format!("{name} waits for {}", waits_for.collect::<Vec<_>>().join(", "));
    }
    let next = service.next_start.filter(|_| service.state == ServiceState::Waiting);
    let state = match (service.state, next) {
        (ServiceState::Stopped, _) => "is stopped".to_owned(),
        (ServiceState::Waiting, None) => "waits".to_owned(),
        (ServiceState::Waiting, Some(next)) => format!("starts again at {next:.0}"),
        (ServiceState::Starting, _) => "is starting".to_owned(),
        (ServiceState::Started, _) => "is started".to_owned(),
        (ServiceState::Stopping, _) => "is stopping".to_owned(),
    };
    match &service.last_error {
        Some(error) => format!("{name} {state}: {}", one_line(error)),
        None => format!("{name} {state}"),
    }
}

/// An input with what is wrong with it, where that is not only that it waits itself.
fn awaited(input: &str, all: &[Service]) -> String {
    let Some(service) = all.iter().find(|service| service.name == input) else {
        return format!("{input}, which there is none of");
    };
    match &service.last_error {
        Some(error) if service.waits_for.is_empty() => format!("{input}: {}", one_line(error)),
        _ => input.to_owned(),
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use grove_wire::service::ServiceInput;

    use super::*;

    fn needs(inputs: &[&str]) -> Vec<ServiceInput> {
        inputs.iter().map(|&name| ServiceInput { name: name.to_owned(), state: None }).collect()
    }

    fn service(name: &str, state: ServiceState, waits_for: &[&str], error: Option<&str>) -> Service {
        let input = |&name: &&str| ServiceInput { name: name.to_owned(), state: Some(Waiting) };
        Service {
            name: name.to_owned(),
            state,
            inputs: waits_for.iter().map(input).collect(),
            waits_for: waits_for.iter().map(|&name| name.to_owned()).collect(),
            starts: 0,
            restarts: 0,
            bounces: 0,
            last_error: error.map(str::to_owned),
            last_start: None,
            next_start: None,
            detail: std::collections::BTreeMap::new(),
        }
    }

    use ServiceState::{Started, Starting, Stopped, Waiting};

    #[test]
    fn the_root_is_told_with_its_error() {
        let mut services = vec![
            service("api", Waiting, &["controller", "plugins"], Some("input controller is not running")),
            service("controller", Waiting, &["store"], Some("input store is not running")),
            service("http", Started, &[], Some("long ago")),
            service("plugins", Waiting, &["controller", "runtime"], None),
            service("runtime", Starting, &[], None),
            service("store", Waiting, &[], Some("disk I/O\n  error")),
        ];
        assert_eq!(
            causes(&services),
            "plugins waits for runtime; controller waits for store: disk I/O error"
        );
        // In the moment in which it finds that out.
        services[1].state = Starting;
        services[1].waits_for.clear();
        assert!(causes(&services).contains("controller waits for store: disk I/O error"));
        services[1] = service("controller", Waiting, &["store"], Some("input store is not running"));
        services[5].next_start = Some("2026-01-01T00:00:02.5Z".parse().unwrap());
        insta::assert_snapshot!(Missing::of(&services).essential.join("\n"), @r"
        api waits for controller, plugins
        controller waits for store: disk I/O error
        plugins waits for controller, runtime
        runtime is starting
        store starts again at 2026-01-01T00:00:02Z: disk I/O error
        ");
    }

    #[test]
    fn what_the_essential_ones_need_is_essential() {
        let mut services = [
            Service { inputs: needs(&["controller"]), ..service("api", Started, &[], None) },
            Service { inputs: needs(&["keys"]), ..service("controller", Started, &[], None) },
            service("keys", Starting, &[], None),
            service("objects", Starting, &[], None),
            service("plugin/relay@0123456789ab", Stopped, &[], Some("it traps")),
            service("plugin/spread@0123456789ab", Starting, &[], None),
            service("policy", Waiting, &["plugin/spread@0123456789ab"], None),
        ];
        let missing = Missing::of(&services);
        let policy = "policy waits for plugin/spread@0123456789ab";
        assert_eq!(missing.essential, ["keys is starting", "plugin/spread@0123456789ab is starting", policy]);
        let other = ["objects is starting", "plugin/relay@0123456789ab is stopped: it traps"];
        assert_eq!(missing.other, other);

        // A policy that cannot be had is done without.
        services[5] = service("plugin/spread@0123456789ab", Waiting, &[], Some("it traps"));
        let missing = Missing::of(&services);
        assert_eq!(missing.essential, ["keys is starting"]);
        assert!(missing.other.contains(&format!("{policy}: it traps")), "{missing:?}");
        services[5] = service("plugin/spread@0123456789ab", Started, &[], None);
        services[6] = service("policy", Waiting, &[], Some("no such setting"));
        let missing = Missing::of(&services);
        assert_eq!(missing.essential, ["keys is starting"]);
        assert!(missing.other.contains(&"policy waits: no such setting".to_owned()), "{missing:?}");
    }

    #[test]
    fn what_nothing_waits_for_is_told_when_there_is_nothing_else() {
        let mut services = vec![
            service("api", Waiting, &["plugins"], None),
            service("plugin/ssh@0123456789ab", Starting, &[], None),
            service("plugins", Starting, &[], None),
        ];
        assert_eq!(causes(&services), "api waits for plugins");
        services.truncate(2);
        services[0] = service("api", Started, &[], None);
        assert_eq!(causes(&services), "plugin/ssh@0123456789ab is starting");
    }

    #[test]
    fn there_is_always_something_to_tell() {
        assert_eq!(causes(&[]), "its controller is not there yet");
        assert_eq!(causes(&[service("a", Started, &[], None)]), "its controller is not there yet");
        let circle = [service("a", Waiting, &["b"], None), service("b", Waiting, &["a"], None)];
        assert_eq!(causes(&circle), "a waits for b; b waits for a");
        let lonely = [service("a", Waiting, &["gone"], None)];
        assert_eq!(causes(&lonely), "a waits for gone, which there is none of");
        let many = ["a", "b", "c", "d", "e"].map(|name| service(name, Stopped, &[], None));
        assert_eq!(causes(&many), "a is stopped; b is stopped; c is stopped; and 2 more");
    }
}
