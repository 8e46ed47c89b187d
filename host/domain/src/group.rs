//! Groups: who may use a worker. Enforced by the core, never by a policy.

/// Groups of an owner.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum OwnerGroups {
    /// `*`: reaches every worker.
    All,
    /// Reaches workers without groups and those that share one of these.
    Some(Vec<String>),
}

impl OwnerGroups {
    /// Whether an owner with these groups may use a worker with groups `worker`.
    ///
    /// A worker without groups is open to everyone; otherwise the two must intersect; `*` reaches all.
    pub fn may_use(&self, worker: &[String]) -> bool {
        match self {
            _ if worker.is_empty() => true,
            Self::All => true,
            Self::Some(own) => own.iter().any(|group| worker.contains(group)),
        }
    }
}

/// Who asks: from authentication or from the configuration, never from what a body claims.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Owner {
    /// Name shown to people and policies.
    pub name: String,
    /// What the owner may reach.
    pub groups: OwnerGroups,
}
