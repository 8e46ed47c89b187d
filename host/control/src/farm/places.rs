//! Places among those that want the same boards.

use std::cell::OnceCell;
use std::collections::HashMap;

use grove_domain::group::OwnerGroups;
use grove_domain::id::RequestId;
use grove_domain::request::Request;
use grove_domain::wants::Wants;

use super::Farm;

/// Requests are not tried with workers more often than this for one answer: beyond, everybody in the queue counts.
const TRIES: usize = 50_000;

/// Who is ahead of whom, for one answer.
#[derive(Debug)]
pub struct Places<'a> {
    farm: &'a Farm,
    /// Found when it is first asked for; none when there is too much of it.
    queue: OnceCell<Option<Queue>>,
}

/// What the requests of the queue want, and the queue in its order.
#[derive(Debug)]
struct Queue {
    /// Workers that each wish could have, by their places in the list of all.
    reached: Vec<Vec<usize>>,
    /// Requests with the numbers of their wishes.
    order: Vec<(RequestId, usize)>,
}

impl Farm {
    /// Places in the queue as it is now.
    pub fn places(&self) -> Places<'_> {
        Places { farm: self, queue: OnceCell::new() }
    }
}

impl Queue {
    fn of(farm: &Farm) -> Self {
        let mut wishes: HashMap<(&OwnerGroups, &Wants), usize> = HashMap::new();
        let (mut reached, mut order) = (Vec::new(), Vec::new());
        for (_, id) in farm.queue.iter().flatten() {
            let Some(request) = farm.request(*id) else { continue };
            let (groups, wants) = (&request.spec.owner.groups, &request.spec.wants);
            let wish = *wishes.entry((groups, wants)).or_insert_with(|| {
                let fits = farm.workers.values().enumerate().filter(|(_, worker)| {
                    groups.may_use(worker.groups()) && wants.matches(worker.capabilities.effective())
                });
                reached.push(fits.map(|(place, _)| place).collect());
                reached.len() - 1
            });
            order.push((*id, wish));
        }
        Self { reached, order }
    }

    /// Whether two wishes are the same, or a worker could serve both.
    fn compete(&self, one: usize, other: usize) -> bool {
        let (Some(first), Some(second)) = (self.reached.get(one), self.reached.get(other)) else {
            return false;
        };
        one == other || first.iter().any(|worker| second.binary_search(worker).is_ok())
    }
}

impl Places<'_> {
    fn queue(&self) -> Option<&Queue> {
        let find = || {
            let tries = self.farm.waiting().saturating_mul(self.farm.workers.len());
            (tries <= TRIES).then(|| Queue::of(self.farm))
        };
        self.queue.get_or_init(find).as_ref()
    }

    /// Place of a request, from 1, among those that want boards that it wants too; none when it does not wait.
    pub fn of(&self, request: &Request) -> Option<usize> {
        let position = self.farm.position(request)?;
        Some(if self.queue().is_some() { self.ahead(request).len() + 1 } else { position })
    }

    /// Those that come before it, in order. Of a queue that is too long, everybody.
    pub fn ahead(&self, request: &Request) -> Vec<RequestId> {
        let Some(queue) = self.queue() else {
            let before = self.farm.position(request).unwrap_or(1) - 1;
            return self.farm.queue.iter().flatten().take(before).map(|(_, id)| *id).collect();
        };
        let Some(place) = queue.order.iter().position(|(id, _)| *id == request.id) else { return Vec::new() };
        let Some((_, wish)) = queue.order.get(place) else { return Vec::new() };
        let mut known = HashMap::new();
        let before = queue.order.iter().take(place);
        before
            .filter(|(_, other)| *known.entry(*other).or_insert_with(|| queue.compete(*wish, *other)))
            .map(|(id, _)| *id)
            .collect()
    }
}
