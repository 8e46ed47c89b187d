//! Who needs whom.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use crate::key::Name;

/// Services that would need themselves: each needs the next, the last is the first again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a cycle: {}", .0.join(" needs "))]
pub struct Cycle(pub Vec<String>);

/// Checks that services with these inputs could be installed together; inputs that are not among them are fine.
///
/// # Errors
/// The first cycle found.
pub fn validate<N: AsRef<str>, I: AsRef<str>>(services: &[(N, Vec<I>)]) -> Result<(), Cycle> {
    let mut graph = Graph::default();
    for (name, inputs) in services {
        let name: Name = name.as_ref().into();
        let mut all = graph.inputs(&name).to_vec();
        all.extend(inputs.iter().map(|input| Name::from(input.as_ref())));
        graph.check(&name, &all)?;
        graph.insert(&name, &all);
    }
    Ok(())
}

/// The edges between services, in both directions, without cycles. Inputs need not be installed.
#[derive(Default)]
pub(crate) struct Graph {
    inputs: HashMap<Name, Arc<[Name]>>,
    dependents: HashMap<Name, BTreeSet<Name>>,
}

impl Graph {
    /// What a service needs.
    pub(crate) fn inputs(&self, name: &str) -> Arc<[Name]> {
        self.inputs.get(name).cloned().unwrap_or_default()
    }

    /// Who needs this, installed or not, directly.
    pub(crate) fn dependents(&self, name: &str) -> impl Iterator<Item = &Name> {
        self.dependents.get(name).into_iter().flatten()
    }

    /// Puts a service in, or gives it other inputs. To be checked before.
    pub(crate) fn insert(&mut self, name: &Name, inputs: &[Name]) {
        self.remove(name);
        for input in inputs {
            self.dependents.entry(input.clone()).or_default().insert(name.clone());
        }
        self.inputs.insert(name.clone(), inputs.into());
    }

    /// Takes a service out. Those that need it go on needing the name.
    pub(crate) fn remove(&mut self, name: &Name) {
        for input in &*self.inputs.remove(name).unwrap_or_default() {
            if let Some(dependents) = self.dependents.get_mut(input) {
                dependents.remove(name);
                if dependents.is_empty() {
                    self.dependents.remove(input);
                }
            }
        }
    }

    /// Whether a service could have these inputs without needing itself.
    ///
    /// Looks from both ends by turns and stops as soon as either is exhausted: whoever installs in an order, either
    /// way, pays for a step, and not for the whole graph.
    pub(crate) fn check(&self, name: &Name, inputs: &[Name]) -> Result<(), Cycle> {
        let mut below = Search::from(inputs.iter());
        let mut above = Search::from([name].into_iter());
        let wanted: HashSet<&Name> = inputs.iter().collect();
        loop {
            let Some(next) = below.next() else { return Ok(()) };
            if next == name {
                return Err(self.path(name, inputs));
            }
            below.push(self.inputs.get(next).into_iter().flat_map(|inputs| inputs.iter()));
            let Some(next) = above.next() else { return Ok(()) };
            if wanted.contains(next) {
                return Err(self.path(name, inputs));
            }
            above.push(self.dependents(next));
        }
    }

    /// The way from a service through these inputs back to itself.
    fn path(&self, name: &Name, inputs: &[Name]) -> Cycle {
        let mut came_from: HashMap<&Name, &Name> = inputs.iter().map(|input| (input, name)).collect();
        let mut open: Vec<&Name> = inputs.iter().collect();
        while let Some(at) = open.pop() {
            if at == name {
                break;
            }
            for input in self.inputs.get(at).into_iter().flat_map(|inputs| inputs.iter()) {
                if !came_from.contains_key(input) {
                    came_from.insert(input, at);
                    open.push(input);
                }
            }
        }
        let mut path = vec![name.to_string()];
        let mut at = name;
        while let Some(before) = came_from.get(at) {
            path.push(before.to_string());
            at = before;
            if at == name {
                break;
            }
        }
        path.reverse();
        Cycle(path)
    }
}

/// A walk that meets every name once.
struct Search<'a> {
    met: HashSet<&'a Name>,
    open: Vec<&'a Name>,
}

impl<'a> Search<'a> {
    fn from(names: impl Iterator<Item = &'a Name>) -> Self {
        let mut search = Self { met: HashSet::new(), open: Vec::new() };
        search.push(names);
        search
    }

    fn push(&mut self, names: impl Iterator<Item = &'a Name>) {
        for name in names {
            if self.met.insert(name) {
                self.open.push(name);
            }
        }
    }

    fn next(&mut self) -> Option<&'a Name> {
        self.open.pop()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(services: &[(&str, &[&str])]) -> Result<(), Cycle> {
        let services: Vec<_> = services.iter().map(|(name, inputs)| (*name, inputs.to_vec())).collect();
        validate(&services)
    }

    fn cycle(path: &[&str]) -> Result<(), Cycle> {
        Err(Cycle(path.iter().map(|&name| name.to_owned()).collect()))
    }

    #[test]
    fn nothing_is_fine() {
        assert_eq!(check(&[]), Ok(()));
        assert_eq!(check(&[("a", &["nowhere"])]), Ok(()));
    }

    #[test]
    fn nobody_needs_itself() {
        assert_eq!(check(&[("a", &["a"])]), cycle(&["a", "a"]));
        assert_eq!(check(&[("a", &["b"]), ("b", &["a"])]), cycle(&["b", "a", "b"]));
    }

    #[test]
    fn a_tangle_is_fine_until_one_edge_too_many() {
        let mut tangle: Vec<(&str, &[&str])> = vec![
            ("root1", &[]),
            ("root2", &[]),
            ("mid1", &["root1", "root2"]),
            ("mid2", &["mid1", "root1"]),
            ("leaf1", &["mid1", "mid2", "root2"]),
            ("leaf2", &["mid2", "leaf1"]),
        ];
        assert_eq!(check(&tangle), Ok(()));
        tangle.push(("root1", &["leaf2"]));
        let Err(Cycle(path)) = check(&tangle) else { panic!("no cycle found") };
        assert_eq!((path.first(), path.last()), (Some(&"root1".to_owned()), Some(&"root1".to_owned())));
        tangle.reverse();
        assert!(check(&tangle).is_err());
    }

    #[test]
    fn the_text_names_the_way() {
        assert_eq!(Cycle(vec!["a".into(), "b".into(), "a".into()]).to_string(), "a cycle: a needs b needs a");
    }

    proptest! {
        /// Against the plainest rule there is: an edge closes a cycle if its ends are connected the other way round.
        #[test]
        fn finds_exactly_the_cycles(edges in prop::collection::vec((0usize..8, 0usize..8), 0..24)) {
            let name = |number: usize| Name::from(format!("{number}"));
            let mut graph = Graph::default();
            let mut reach = [[false; 8]; 8];
            for (from, to) in edges {
                let closes = from == to || reach[to][from];
                let mut inputs = graph.inputs(&name(from)).to_vec();
                inputs.push(name(to));
                let found = graph.check(&name(from), &inputs);
                prop_assert_eq!(found.is_err(), closes);
                if let Err(Cycle(path)) = found {
                    prop_assert_eq!(path.first(), path.last());
                    for pair in path.windows(2) {
                        let new = pair == [from.to_string(), to.to_string()];
                        prop_assert!(new || graph.inputs(&pair[0]).contains(&Name::from(&*pair[1])));
                    }
                    continue;
                }
                graph.insert(&name(from), &inputs);
                for above in 0..8 {
                    for below in 0..8 {
                        let joins = above == from || reach[above][from];
                        let joined = below == to || reach[to][below];
                        reach[above][below] |= joins && joined;
                    }
                }
            }
        }

        /// Both directions agree whatever comes and goes.
        #[test]
        fn keeps_both_directions(steps in prop::collection::vec((0usize..6, prop::option::of(prop::collection::vec(0usize..6, 0..4))), 0..30)) {
            let name = |number: usize| Name::from(format!("{number}"));
            let mut graph = Graph::default();
            for (number, inputs) in steps {
                match inputs {
                    None => graph.remove(&name(number)),
                    Some(inputs) => {
                        let inputs: Vec<_> = inputs.into_iter().map(name).collect();
                        if graph.check(&name(number), &inputs).is_ok() {
                            graph.insert(&name(number), &inputs);
                        }
                    }
                }
                for from in 0..6 {
                    for to in 0..6 {
                        let down = graph.inputs(&name(from)).contains(&name(to));
                        let up = graph.dependents(&name(to)).any(|dependent| *dependent == name(from));
                        prop_assert_eq!(down, up);
                    }
                }
            }
        }
    }
}
