//! Boards at several sites: who asks for `site=berlin` gets a board in Berlin when one is free, and after some
//! patience one anywhere. `--hint patience=0` means: at once.
//!
//! Must never happen here: a clock, randomness or I/O. The same calls must give the same plans.

use grove_plugin::Settings;
use grove_plugin::policy::{Plan, Policy, Request, Round, Score, TimestampMs, Worker, export_policy};
use serde::Deserialize;

/// The capability that is a preference here, not a condition.
const SITE: &str = "site";
/// What a board at the right site is worth: more than any number of capabilities.
const AT_HOME: i64 = 1_000_000;

/// What the admin can set.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Config {
    /// Seconds that a request waits for a board at its site.
    patience_s: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self { patience_s: 60 }
    }
}

/// The policy.
#[derive(Debug, Default)]
pub struct PreferSite {
    config: Config,
    /// The time of the round that is being planned; it came from the controller.
    now: TimestampMs,
}

impl PreferSite {
    /// Until when a request waits for its site.
    fn patient_until(&self, request: &Request) -> TimestampMs {
        let own = request.hint("patience").and_then(|text| text.parse().ok());
        let seconds: u64 = own.unwrap_or(self.config.patience_s);
        request.created.saturating_add(seconds.saturating_mul(1000))
    }
}

/// The site that a request asks for.
fn wanted_site(request: &Request) -> Option<&str> {
    request.wants.iter().find_map(|term| term.strip_prefix("site="))
}

impl Policy for PreferSite {
    fn new(settings: Settings<'_>) -> Result<Self, String> {
        Ok(Self { config: settings.parse()?, now: 0 })
    }

    fn own_keys() -> Vec<String> {
        vec![SITE.to_owned()]
    }

    fn score(&self, request: &Request, worker: &Worker) -> Option<Score> {
        let capable = i64::try_from(worker.capabilities.len()).unwrap_or(AT_HOME);
        match wanted_site(request) {
            None => Some(Score::new(-capable)),
            Some(site) if worker.capability(SITE) == Some(site) => {
                Some(Score::new(AT_HOME - capable).because(format!("it is in {site}")))
            }
            Some(_) if self.now < self.patient_until(request) => None,
            Some(site) => Some(Score::new(-capable).because(format!("none was free in {site} for long"))),
        }
    }

    fn plan(&mut self, round: Round<'_>) -> Plan {
        let (now, farm) = (round.now, round.farm);
        self.now = now;
        let mut plan = round.by_score(self);
        for wait in &mut plan.waits {
            if let Some(request) = farm.request(wait.request)
                && let Some(site) = wanted_site(request)
            {
                let until = self.patient_until(request);
                wait.reason = format!("it waits for a board in {site}, then it takes one elsewhere");
                wait.until = (until > now).then_some(until);
            }
        }
        // Every plan's wake-up takes the place of the last one's, so it must be the earliest of all.
        let asking = farm.requests().filter(|request| wanted_site(request).is_some());
        plan.wake_at = asking.map(|request| self.patient_until(request)).filter(|until| *until > now).min();
        plan
    }
}

export_policy!(PreferSite);

#[cfg(test)]
mod tests {
    use grove_plugin::policy::{Change, Demand, Session};
    use grove_plugin::{Pair, about};

    use super::*;

    fn worker(id: u32, site: &str) -> Change {
        Change::WorkerPut(Worker {
            id,
            uuid: format!("{id:08}-0000-4000-8000-000000000000"),
            capabilities: vec![Pair { key: SITE.into(), value: site.into() }],
            groups: Vec::new(),
            state: "idle".into(),
            driver: "ssh".into(),
        })
    }

    fn request(id: u64, wants: &str) -> Change {
        Change::RequestPut(Request {
            id,
            owner: "me".into(),
            groups: Vec::new(),
            wants: vec![wants.to_owned()],
            priority: 8,
            created: 1_000,
            valid_after: 1_000,
            deadline: u64::MAX,
            hints: Vec::new(),
        })
    }

    /// Workers 0 in Oslo and 1 in Berlin, and one request.
    fn farm(settings: &str, wants: &str) -> Session<PreferSite> {
        let mut session = Session::default();
        session.init(about("policy-prefer-site", "0.1.0", ""), settings).unwrap();
        session.apply(vec![worker(0, "oslo"), worker(1, "berlin"), request(7, wants)]);
        session
    }

    const DEMAND: [Demand; 1] = [Demand { request: 7, candidate_set: 0 }];

    #[test]
    fn a_board_at_the_site_wins() {
        let plan = farm("{}", "site=berlin").plan(2_000, &[vec![0, 1]], &DEMAND);
        assert_eq!((plan.assignments[0].worker, plan.assignments[0].reason.as_str()), (1, "it is in berlin"));
    }

    #[test]
    fn without_one_the_request_waits_as_long_as_it_is_patient() {
        let mut farm = farm(r#"{"patience_s": 5}"#, "site=rome");
        let early = farm.plan(2_000, &[vec![0, 1]], &DEMAND);
        assert!(early.assignments.is_empty());
        assert_eq!((early.waits[0].until, early.wake_at), (Some(6_000), Some(6_000)));
        let late = farm.plan(6_000, &[vec![0, 1]], &DEMAND);
        assert_eq!((late.assignments[0].worker, late.wake_at), (0, None));
    }

    #[test]
    fn who_names_no_site_takes_any() {
        let plan = farm("{}", "camera").plan(2_000, &[vec![0, 1]], &DEMAND);
        assert_eq!((plan.assignments[0].worker, plan.wake_at), (0, None));
    }

    #[test]
    fn a_misspelt_setting_is_refused() {
        let error = PreferSite::new(Settings::new(r#"{"patience": 5}"#)).unwrap_err();
        assert!(error.contains("patience_s"), "{error}");
    }
}
