//! Rules on inventories.

use grove_wire::Uuid;
use grove_wire::rule::{AddRule, Rule, TestRule, Trial};
use reqwest::Method;

use crate::{Client, Error, Pages};

impl Client {
    /// The rules, in the order in which they act.
    pub fn rules(&self) -> Pages<Rule> {
        Pages::new(self, "rules", &()).in_one_piece()
    }

    /// One rule.
    pub async fn rule(&self, id: Uuid) -> Result<Rule, Error> {
        self.v2(Method::GET, &["rules", &id.hyphenated().to_string()]).json().await
    }

    /// Adds a rule, which acts after all others.
    pub async fn add_rule(&self, body: &AddRule) -> Result<Rule, Error> {
        self.v2(Method::POST, &["rules"]).body(body).json().await
    }

    /// Removes a rule; what it concluded stays until the next introspection.
    pub async fn remove_rule(&self, id: Uuid, expected: Option<u64>) -> Result<(), Error> {
        self.v2(Method::DELETE, &["rules", &id.hyphenated().to_string()]).expecting(expected).done().await
    }

    /// Removes every rule.
    pub async fn remove_rules(&self) -> Result<(), Error> {
        self.v2(Method::DELETE, &["rules"]).done().await
    }

    /// What a rule would do on what is stored of a worker; nothing changes.
    pub async fn test_rule(&self, body: &TestRule) -> Result<Trial, Error> {
        self.v2(Method::POST, &["rules", "test"]).body(body).json().await
    }
}
