//! The plugin machine, place by place and event by event.

use std::sync::Arc;

use grove_domain::moment::SignedDuration;
use grove_domain::plugin::{
    Context, Digest, Effect, Event, Happening, NotADigest, Origin, Plugin, PluginKind, PluginVersion,
    Probation, Refusal, Rules, Transition, step,
};

use crate::fixtures::{at, worker_id};

pub(crate) fn digest(letter: char) -> Digest {
    Digest::new([letter as u8; Digest::BYTES])
}

pub(crate) fn version(letter: char) -> Arc<PluginVersion> {
    Arc::new(PluginVersion {
        name: "ssh".to_owned(),
        digest: digest(letter),
        kind: PluginKind::Driver,
        version: format!("1.{}", letter as u32 - 'A' as u32),
        manifest: format!("version = {letter:?}"),
        origin: Origin::Installed,
        installed: at(i64::from(letter as u32)),
    })
}

pub(crate) fn all_versions() -> Vec<Arc<PluginVersion>> {
    ['A', 'B', 'C'].map(version).to_vec()
}

/// Where a plugin with the versions A, B and C can be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// Nothing has this name.
    Nowhere,
    /// Installed, and never used.
    Fresh,
    /// It uses its first version.
    First,
    /// The same, disabled.
    Off,
    /// B proved itself after A.
    Proved,
    /// B replaced A a moment ago.
    Tried,
    /// The same, disabled.
    TriedOff,
    /// The same: one failure more is too much.
    Shaky,
    /// A cannot be loaded.
    Troubled,
}

pub(crate) const EVERYWHERE: [Place; 9] = [
    Place::Nowhere,
    Place::Fresh,
    Place::First,
    Place::Off,
    Place::Proved,
    Place::Tried,
    Place::TriedOff,
    Place::Shaky,
    Place::Troubled,
];

impl Place {
    pub(crate) fn plugin(self) -> Option<Plugin> {
        let (active, previous) = match self {
            Self::Nowhere => return None,
            Self::Fresh => (None, None),
            Self::First | Self::Off | Self::Troubled => (Some('A'), None),
            Self::Proved | Self::Tried | Self::TriedOff | Self::Shaky => (Some('B'), Some('A')),
        };
        let probation = |outcomes, failures| Probation { until: at(100), outcomes, failures };
        Some(Plugin {
            name: "ssh".to_owned(),
            kind: PluginKind::Driver,
            enabled: !matches!(self, Self::Fresh | Self::Off | Self::TriedOff),
            active: active.map(digest),
            previous: previous.map(digest),
            since: at(10),
            probation: match self {
                Self::Tried | Self::TriedOff => Some(probation(0, 0)),
                Self::Shaky => Some(probation(3, 2)),
                _ => None,
            },
            trouble: (self == Self::Troubled).then(|| "it cannot be loaded".to_owned()),
            revision: 9,
        })
    }
}

fn outcome(letter: char, failed: bool) -> Event {
    Event::Outcome { digest: digest(letter), failed, reason: "no answer".to_owned() }
}

pub(crate) fn events() -> Vec<(&'static str, Event)> {
    let install = |letter, activate| Event::Install { version: version(letter), activate };
    let load_failed =
        |letter| Event::LoadFailed { digest: digest(letter), reason: "no such import".to_owned() };
    vec![
        ("install C, which is there", install('C', false)),
        ("install D", install('D', false)),
        ("install and use A", install('A', true)),
        ("install and use D", install('D', true)),
        ("swap to A", Event::Swap { to: digest('A') }),
        ("swap to B", Event::Swap { to: digest('B') }),
        ("swap to C", Event::Swap { to: digest('C') }),
        ("swap to E, which is not there", Event::Swap { to: digest('E') }),
        ("enable", Event::Enable),
        ("disable", Event::Disable),
        ("remove A", Event::Remove { digest: digest('A') }),
        ("remove B", Event::Remove { digest: digest('B') }),
        ("remove C", Event::Remove { digest: digest('C') }),
        ("remove E, which is not there", Event::Remove { digest: digest('E') }),
        ("good end on A", outcome('A', false)),
        ("failure on A", outcome('A', true)),
        ("good end on B", outcome('B', false)),
        ("failure on B", outcome('B', true)),
        ("A cannot be loaded", load_failed('A')),
        ("B cannot be loaded", load_failed('B')),
        ("probation due", Event::ProbationDue),
    ]
}

pub(crate) fn stepped(plugin: Option<&Plugin>, event: Event) -> Result<Transition, Refusal> {
    step(plugin, event, context(&all_versions(), &Rules::default()))
}

pub(crate) fn context<'a>(versions: &'a [Arc<PluginVersion>], rules: &'a Rules) -> Context<'a> {
    Context { now: at(100), rules, versions, policy: None, pinned: &[], users: &[] }
}

/// `B<A?`: B is used, A was before, B is on probation; `~` disabled, `!` in trouble, `0` none.
fn shown(plugin: &Plugin) -> String {
    let letter = |digest: Digest| char::from(digest.as_bytes()[0]).to_string();
    let mut text = plugin.active.map_or_else(|| "0".to_owned(), letter);
    text += &plugin.previous.map(|previous| format!("<{}", letter(previous))).unwrap_or_default();
    for (mark, is) in
        [("?", plugin.probation.is_some()), ("~", !plugin.enabled), ("!", plugin.trouble.is_some())]
    {
        text += if is { mark } else { "" };
    }
    text
}

/// What follows: `=` nothing changed, `+` only what is counted did, `x` refused.
const NEXT: &str = "
                              | none  fresh first off   proved tried  triedoff shaky  troubled
install C, which is there     | 0~    =     =     =     =      =      =        =      =
install D                     | 0~    =     =     =     =      =      =        =      =
install and use A             | A     A~    =     =     A<B?   A      A~       A      A
install and use D             | D     D~    D<A?  D<A?~ D<B?   D<A?   D<A?~    D<A?   D<A?
swap to A                     | x     A~    =     =     A<B?   A      A~       A      A
swap to B                     | x     B~    B<A?  B<A?~ =      =      =        =      B<A?
swap to C                     | x     C~    C<A?  C<A?~ C<B?   C<A?   C<A?~    C<A?   C<A?
swap to E, which is not there | x     x     x     x     x      x      x        x      x
enable                        | x     C     =     A     =      =      B<A?     =      A
disable                       | x     =     A~    =     B<A~   B<A?~  =        B<A?~  A~!
remove A                      | x     =     x     x     B      x      x        x      x
remove B                      | x     =     =     =     x      x      x        x      =
remove C                      | x     =     =     =     =      =      =        =      =
remove E, which is not there  | x     x     x     x     x      x      x        x      x
good end on A                 | x     x     x     x     x      x      x        x      x
failure on A                  | x     x     x     x     x      x      x        x      x
good end on B                 | x     x     x     x     x      +      x        +      x
failure on B                  | x     x     x     x     x      +      x        A!     x
A cannot be loaded            | x     x     A!    A~!   x      x      x        x      +
B cannot be loaded            | x     x     x     x     B<A!   A!     A~!      A!     x
probation due                 | x     x     x     x     x      B<A    x        B<A    x
";

#[test]
fn every_event_in_every_place_leads_where_the_table_says() {
    let mut rows: Vec<_> = NEXT.lines().filter(|line| !line.trim().is_empty()).collect();
    rows.remove(0);
    let events = events();
    assert_eq!(rows.len(), events.len(), "one row for each event");
    for (row, (name, event)) in rows.into_iter().zip(events) {
        let (said, cells) = row.split_once('|').unwrap();
        assert_eq!(said.trim(), name);
        let cells: Vec<_> = cells.split_whitespace().collect();
        assert_eq!(cells.len(), EVERYWHERE.len(), "{name}");
        for (expected, place) in cells.into_iter().zip(EVERYWHERE) {
            let before = place.plugin();
            let found = match stepped(before.as_ref(), event.clone()) {
                Err(_) => "x".to_owned(),
                Ok(next) if before.as_ref() == Some(&next.plugin) => "=".to_owned(),
                Ok(next) if before.as_ref().map(shown) == Some(shown(&next.plugin)) => "+".to_owned(),
                Ok(next) => shown(&next.plugin),
            };
            assert_eq!(found, expected, "{name} at {place:?}");
        }
    }
}

type Told<'a> = (Happening, Option<&'a str>, Option<&'a str>, Option<&'a str>);

fn told(transition: &Transition) -> Vec<Told<'_>> {
    let tells = transition.effects.iter().filter_map(|effect| match effect {
        Effect::Tell { what, before, after, note } => {
            Some((*what, before.as_deref(), after.as_deref(), note.as_deref()))
        }
        _ => None,
    });
    tells.collect()
}

#[test]
fn what_happened_is_told_with_versions() {
    let (a, b, c) = (version('A').label(), version('B').label(), version('C').label());
    assert_eq!(a, "1.0 (414141414141)");
    let tell = |place: Place, event| stepped(place.plugin().as_ref(), event).unwrap();

    let first = tell(Place::Nowhere, Event::Install { version: version('A'), activate: true });
    assert_eq!(first.effects[0], Effect::Keep(version('A')));
    let expected =
        [(Happening::Installed, None, Some(&*a), None), (Happening::Enabled, None, Some(&*a), None)];
    assert_eq!(told(&first), expected);
    assert_eq!(first.plugin.revision, 1);

    let swapped = tell(Place::First, Event::Swap { to: digest('B') });
    assert_eq!(told(&swapped), [(Happening::Swapped, Some(&*a), Some(&*b), None)]);
    let until = at(400);
    assert_eq!(swapped.plugin.probation, Some(Probation { until, outcomes: 0, failures: 0 }));
    assert_eq!((swapped.plugin.since, swapped.plugin.revision), (at(100), 10));

    let off = tell(Place::Proved, Event::Disable);
    assert_eq!(told(&off), [(Happening::Disabled, Some(&*b), None, None)]);
    let removed = tell(Place::First, Event::Remove { digest: digest('C') });
    assert_eq!(removed.effects[0], Effect::Drop(digest('C')));
    assert_eq!(told(&removed), [(Happening::Removed, Some(&*c), None, None)]);

    let back = tell(Place::Shaky, outcome('B', true));
    let note = "version 1.1 (424242424242) was rolled back: 3 of 4 failed, the last: no answer";
    assert_eq!(told(&back), [(Happening::RolledBack, Some(&*b), Some(&*a), Some(note))]);
    assert_eq!(back.plugin.trouble.as_deref(), Some(note));

    let failing = tell(Place::First, Event::LoadFailed { digest: digest('A'), reason: "gone".to_owned() });
    let note = "version 1.0 (414141414141) fails: it cannot be loaded: gone";
    assert_eq!(told(&failing), [(Happening::Failing, None, Some(&*a), Some(note))]);
    let again = step(
        Some(&failing.plugin),
        Event::LoadFailed { digest: digest('A'), reason: "gone".to_owned() },
        context(&all_versions(), &Rules::default()),
    );
    assert_eq!(again.unwrap(), Transition { plugin: failing.plugin, effects: vec![] }, "it is told once");
}

#[test]
fn a_version_goes_back_when_enough_and_often_enough_failed() {
    let rules = Rules { failures: 3, percent: 50, ..Rules::default() };
    let cases = [
        ("fff", Some(3)),
        ("ff", None),
        ("gggfff", Some(6)),
        ("ggggfff", None),
        ("ggggffff", Some(8)),
        ("gfgfgf", Some(6)),
        ("gggggggg", None),
    ];
    for (ends, back_after) in cases {
        let mut plugin = Place::Tried.plugin().unwrap();
        let mut back = None;
        for (nth, end) in ends.chars().enumerate() {
            let next =
                step(Some(&plugin), outcome('B', end == 'f'), context(&all_versions(), &rules)).unwrap();
            plugin = next.plugin;
            if plugin.active == Some(digest('A')) {
                back = Some(nth + 1);
                break;
            }
        }
        assert_eq!(back, back_after, "{ends}");
    }
}

#[test]
fn a_disabled_plugins_probation_begins_when_it_is_enabled() {
    let on = stepped(Place::TriedOff.plugin().as_ref(), Event::Enable).unwrap().plugin;
    assert_eq!(on.probation_ends(), Some(at(400)));
    assert_eq!(Place::TriedOff.plugin().unwrap().probation_ends(), None);
    assert_eq!(Place::TriedOff.plugin().unwrap().in_use(), None);
}

#[test]
fn one_policy_at_most_is_enabled() {
    let policy = |letter| {
        Arc::new(PluginVersion { kind: PluginKind::Policy, ..PluginVersion::clone(&version(letter)) })
    };
    let rules = Rules::default();
    let versions = [policy('A')];
    for (other, stepping_down) in [(None, false), (Some("ssh"), false), (Some("fair"), true)] {
        let context = Context { policy: other, ..context(&versions, &rules) };
        let off = Plugin { kind: PluginKind::Policy, ..Place::Off.plugin().unwrap() };
        let install = Event::Install { version: policy('A'), activate: true };
        for next in [step(Some(&off), Event::Enable, context), step(None, install, context)] {
            let disables = next.unwrap().effects.contains(&Effect::Disable("fair".to_owned()));
            assert_eq!(disables, stepping_down, "{other:?}");
        }
    }
}

#[test]
fn refusals_say_what_to_do() {
    let rules = Rules::default();
    let versions = all_versions();
    let only = [version('A')];
    let workers = [worker_id(1), worker_id(2)];
    let remove = |letter| Event::Remove { digest: digest(letter) };
    let proved = Place::Proved.plugin();
    let refused =
        |plugin: &Option<Plugin>, event, context| step(plugin.as_ref(), event, context).unwrap_err();
    let plain = context(&versions, &rules);

    let pinned = Context { pinned: &workers, ..plain };
    let answer = refused(&proved, remove('C'), pinned);
    assert_eq!(answer, Refusal::Pinned { workers: 2, first: worker_id(1) });
    assert!(answer.to_string().contains("take their pins away first"), "{answer}");

    let used = Context { users: &workers, ..context(&only, &rules) };
    let answer = refused(&Place::Off.plugin(), remove('A'), used);
    assert_eq!(answer, Refusal::Used { workers: 2, first: worker_id(1) });
    assert_eq!(refused(&Place::First.plugin(), remove('A'), used), Refusal::Active(digest('A')));
    let gone = step(Place::Off.plugin().as_ref(), remove('A'), context(&only, &rules)).unwrap();
    assert!(gone.effects.contains(&Effect::Removed), "the last version takes the plugin with it");

    let answer = refused(&Place::Tried.plugin(), remove('A'), plain);
    assert_eq!(answer, Refusal::MayBeNeeded(digest('A')));
    assert_eq!(refused(&proved, Event::Swap { to: digest('E') }, plain), Refusal::NoSuchVersion(digest('E')));
    let other = |change: fn(&mut PluginVersion)| {
        let mut version = PluginVersion::clone(&version('A'));
        change(&mut version);
        Event::Install { version: Arc::new(version), activate: true }
    };
    let policy = other(|version| version.kind = PluginKind::Policy);
    assert_eq!(refused(&proved, policy, plain), Refusal::OtherKind(PluginKind::Driver));
    let rewritten = other(|version| version.manifest.clear());
    assert_eq!(refused(&proved, rewritten, plain), Refusal::OtherManifest(digest('A')));
    assert_eq!(refused(&None, Event::Enable, plain), Refusal::Unknown);
}

#[test]
fn rules_are_the_admins() {
    let rules = Rules { probation: SignedDuration::from_secs(7), failures: 1, percent: 100 };
    let next = step(
        Place::First.plugin().as_ref(),
        Event::Swap { to: digest('B') },
        context(&all_versions(), &rules),
    );
    let plugin = next.unwrap().plugin;
    assert_eq!(plugin.probation_ends(), Some(at(107)));
    let next = step(Some(&plugin), outcome('B', true), context(&all_versions(), &rules)).unwrap();
    assert_eq!(next.plugin.active, Some(digest('A')));
}

#[test]
fn digests_and_words_are_read_back() {
    let text = "0123456789abcdef".repeat(4);
    let digest: Digest = text.parse().unwrap();
    assert_eq!((digest.to_string(), digest.short()), (text.clone(), "0123456789ab".to_owned()));
    for wrong in ["", "0", &text[1..], &format!("{text}0"), &text.to_uppercase(), &text.replace('0', "g")] {
        assert_eq!(wrong.parse::<Digest>(), Err(NotADigest(wrong.to_owned())));
    }
    assert!("é".repeat(32).parse::<Digest>().is_err());
    for kind in PluginKind::ALL {
        assert_eq!(PluginKind::from_name(kind.name()), Some(kind));
    }
    for origin in Origin::ALL {
        assert_eq!(Origin::from_name(origin.name()), Some(origin));
    }
    assert_eq!((PluginKind::from_name("POLICY"), Origin::from_name("")), (None, None));
}
