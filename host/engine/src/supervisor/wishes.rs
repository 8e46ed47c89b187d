//! What others want: services that come, go, and change.

use super::Supervisor;
use crate::engine::Refused;
use crate::key::Name;
use crate::record::{Answer, Record};
use crate::service::Service;

impl Supervisor {
    pub(super) fn install(&mut self, service: Service, answer: Answer) {
        let name = service.name.clone();
        let result = self.may_install(&service);
        if result.is_ok() {
            self.put(service);
        }
        self.answer(&name, answer, result);
    }

    fn may_install(&self, service: &Service) -> Result<(), Refused> {
        if self.is_ending() {
            return Err(Refused::ShuttingDown);
        }
        if self.records.contains_key(&service.name) {
            return Err(Refused::AlreadyInstalled);
        }
        if self.records.len() >= self.config.max_services {
            return Err(Refused::Full(self.config.max_services));
        }
        Ok(self.graph.check(&service.name, &service.inputs)?)
    }

    /// Puts a service in that was checked, and begins its first attempt.
    fn put(&mut self, service: Service) {
        let name = service.name.clone();
        self.graph.insert(&name, &service.inputs);
        let record = |name: &Name| self.records.get(name);
        let counted = |name: &&Name| record(name).is_some_and(|record| record.counted);
        let draining = |name: &&Name| {
            record(name).and_then(|record| record.attempt.as_ref()).is_some_and(|attempt| attempt.draining)
        };
        let stopping_dependents = self.graph.dependents(&name).filter(counted).count();
        let draining_inputs = service.inputs.iter().filter(draining).count();
        let record = Record { stopping_dependents, draining_inputs, ..Record::new(service) };
        self.records.insert(name.clone(), record);
        self.launch(&name);
    }

    pub(super) fn uninstall(&mut self, name: &Name, answer: Answer) {
        if self.is_ending() {
            return self.answer(name, answer, Err(Refused::ShuttingDown));
        }
        let Some(record) = self.records.get_mut(name) else {
            return self.answer(name, answer, Err(Refused::NotInstalled));
        };
        record.leaving.get_or_insert_default().push(answer);
        self.vacate(name);
    }

    pub(super) fn replace(&mut self, service: Service, answer: Answer) {
        let name = service.name.clone();
        if let Err(refused) = self.may_replace(&service) {
            return self.answer(&name, answer, Err(refused));
        }
        let Some(record) = self.records.get_mut(&name) else { return };
        if let Some((_, earlier)) = record.replacement.replace((service, answer)) {
            self.answer(&name, earlier, Err(Refused::Superseded));
        }
        self.vacate(&name);
    }

    fn may_replace(&self, service: &Service) -> Result<(), Refused> {
        if self.is_ending() {
            return Err(Refused::ShuttingDown);
        }
        if self.installed(&service.name).is_none() {
            return Err(Refused::NotInstalled);
        }
        Ok(self.graph.check(&service.name, &service.inputs)?)
    }

    /// The last step of a replacement, when the old service has stopped.
    pub(super) fn swap(&mut self, service: Service, answer: Answer) {
        let name = service.name.clone();
        // Others may have come since this was first checked.
        let result = self.graph.check(&name, &service.inputs).map_err(Refused::from);
        if result.is_ok() {
            self.put(service);
        } else {
            self.launch(&name);
        }
        self.answer(&name, answer, result);
    }

    pub(super) fn bounce(&mut self, name: &Name, answer: Answer) {
        if self.is_ending() {
            return self.answer(name, answer, Err(Refused::ShuttingDown));
        }
        let Some(record) = self.installed(name) else {
            return self.answer(name, answer, Err(Refused::NotInstalled));
        };
        if record.attempt.is_some() {
            self.ask(name);
        } else {
            self.clear_start(name);
            self.launch(name);
        }
        self.answer(name, answer, Ok(()));
    }

    /// A service that is there to stay.
    fn installed(&self, name: &Name) -> Option<&Record> {
        self.records.get(name).filter(|record| record.leaving.is_none())
    }

    /// Makes a service end that is not to begin again as it is.
    fn vacate(&mut self, name: &Name) {
        self.clear_start(name);
        self.ask(name);
        self.quiet(name);
    }

    /// Takes a service out that has ended.
    pub(super) fn remove(&mut self, name: &Name) {
        self.clear_start(name);
        self.graph.remove(name);
        let Some(record) = self.records.remove(name) else { return };
        for answer in record.leaving.into_iter().flatten() {
            self.answer(name, answer, Ok(()));
        }
        if let Some((_, answer)) = record.replacement {
            self.answer(name, answer, Err(Refused::NotInstalled));
        }
    }

    fn is_ending(&self) -> bool {
        // Whoever asked for the end and then for something else is refused that, whatever we heard first.
        self.dying || self.kill.is_cancelled()
    }

    fn answer(&self, name: &Name, answer: Answer, result: Result<(), Refused>) {
        if let Err(refused) = &result {
            self.environment.observer.refused(name, refused);
        }
        // Whoever wished may have gone.
        answer.send(result).ok();
    }
}
